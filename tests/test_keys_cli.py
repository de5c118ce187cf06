"""``youju keys``, and whom ``youju serve`` starts for."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from fakes_ui import fake_chain
from typer.testing import CliRunner, Result

from rag.cli import _check_access, app
from rag.config import Settings
from rag.errors import ConfigError
from ui.access import AccessStore
from ui.cli import keys
from ui.keys import Keys


def youju_keys(kb: Path, *arguments: str) -> Result:
    return CliRunner().invoke(keys, [*arguments, "--kb", str(kb)])


def test_a_key_is_made_listed_and_revoked(tmp_path: Path) -> None:
    made = youju_keys(tmp_path, "add", "门户", "--scope", "read")
    assert made.exit_code == 0
    secret = made.stdout.strip()
    key = Keys(AccessStore(tmp_path)).of_secret(secret)
    assert key is not None
    listed = youju_keys(tmp_path, "list").stdout
    assert listed == f"{key.id}  read   {key.made}  门户\n"
    assert json.loads(youju_keys(tmp_path, "list", "--json").stdout) == [key.as_json()]
    assert secret not in listed
    assert youju_keys(tmp_path, "revoke", key.id).stdout == f"已撤销 (revoked): 门户 {key.id}\n"
    assert youju_keys(tmp_path, "list").stdout == ""


def test_a_key_as_json(tmp_path: Path) -> None:
    made = json.loads(youju_keys(tmp_path, "add", "a", "--json").stdout)
    assert made.keys() == {"id", "name", "scope", "made", "key"}
    assert (made["name"], made["scope"], made["key"][:3]) == ("a", "ask", "yj_")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", " a"), "密钥名不可用"),
        (("add", "a", "--scope", "root"), "root"),
        (("revoke", "b"), "没有这个密钥"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    result = youju_keys(tmp_path, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_the_documented_commands_run(tmp_path: Path) -> None:
    shown = (Path(__file__).parent.parent / "docs" / "operations.md").read_text("utf-8")
    commands = re.findall(r"^youju keys (.*) --kb kb", shown, re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["add", "add", "list", "revoke"]
    for command in commands:
        assert youju_keys(tmp_path, *shlex.split(command)).exit_code == 0
    assert [(key.name, key.scope) for key in Keys(AccessStore(tmp_path)).all()] == [("管理员", "admin")]


def test_other_machines_are_served_with_keys_only(tmp_path: Path) -> None:
    fake_chain(tmp_path)
    refused = CliRunner().invoke(app, ["serve", "--kb", str(tmp_path), "--host", "0.0.0.0", "--port", "0"])
    assert refused.exit_code == 2
    assert "youju keys add" in refused.stderr and "--no-keys" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "youju.example"])
def test_an_address_that_others_reach_needs_a_key_or_the_flag(
    tmp_path: Path, host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match="youju keys add"):
        _check_access(Settings(kb=tmp_path, host=host))
    _check_access(Settings(kb=tmp_path, host=host, no_keys=True))
    assert "警告" in capsys.readouterr().err
    Keys(AccessStore(tmp_path)).add("a", "ask")
    _check_access(Settings(kb=tmp_path, host=host))
    assert capsys.readouterr().err == ""
    with pytest.raises(ConfigError, match="撤销全部密钥"):
        _check_access(Settings(kb=tmp_path, host=host, no_keys=True))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_is_served_without(
    tmp_path: Path, host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _check_access(Settings(kb=tmp_path, host=host))
    assert capsys.readouterr().err == ""
