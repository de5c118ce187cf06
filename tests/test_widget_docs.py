"""docs/widget.md and docs/widget-security.md: every command runs, and the lines to embed are those that it prints."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from conftest import ROOT
from fakes_ui import fake_chain
from typer.testing import CliRunner

from ui.access import AccessStore
from ui.cli import sites
from ui.sites import Sites

PAGES = ("widget.md", "widget-security.md")


def commands(page: str) -> list[list[str]]:
    """The words of each ``youju sites`` command on a page, which has no other commands."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / page).read_text("utf-8"), re.DOTALL)
    lines = [shlex.split(line) for block in blocks for line in block.strip().splitlines()]
    assert lines
    assert all(line[:2] == ["youju", "sites"] for line in lines)
    return [line[2:] for line in lines]


@pytest.mark.parametrize("page", PAGES)
def test_the_commands_of_the_page_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_chain(tmp_path).store.close()
    monkeypatch.setenv("YOUJU_KB", str(tmp_path))
    for words in commands(page):
        result = CliRunner().invoke(sites, words)
        assert result.exit_code == 0, result.output
        assert "site_" in result.output
    (site,) = Sites(AccessStore(tmp_path)).all()
    assert (site.name, site.origins) == ("门户", ("https://portal.example",))


def test_the_lines_to_embed_are_what_the_command_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_chain(tmp_path).store.close()
    monkeypatch.setenv("YOUJU_KB", str(tmp_path))
    (words,) = commands("widget.md")
    printed = CliRunner().invoke(sites, words).output
    shown = re.findall(r"```html\n(.*?)```", (ROOT / "docs" / "widget.md").read_text("utf-8"), re.DOTALL)[0]
    for part in ('src="https://', '/widget.js"', 'data-site="site_'):
        assert part in shown
        assert part in printed
