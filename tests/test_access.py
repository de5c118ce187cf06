"""Keys and the file that holds them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from rag.errors import ConfigError, DamagedError, KnowledgeBaseError, LockedError
from ui.access import FILE, AccessStore
from ui.keys import Keys


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(AccessStore(tmp_path / "kb"))


def test_a_key_is_recognised_until_it_is_revoked(keys: Keys, tmp_path: Path) -> None:
    assert (keys.all(), keys.exist(), keys.of_secret("yj_")) == ([], False, None)
    key, secret = keys.add("门户 portal", "ask")
    elsewhere = Keys(AccessStore(tmp_path / "kb"))  # as another process has it
    assert secret.startswith("yj_") and len(secret) == 3 + 43
    assert elsewhere.of_secret(secret) == elsewhere.of_id(key.id) == key
    assert elsewhere.of_secret(secret[:-1]) is elsewhere.of_secret(secret.upper()) is None
    assert (elsewhere.all(), elsewhere.exist()) == ([key], True)
    assert elsewhere.revoke("门户 portal") == key
    assert keys.of_secret(secret) is keys.of_id(key.id) is None
    assert keys.all() == []


def test_the_file_holds_no_key_and_is_its_owners_alone(keys: Keys, tmp_path: Path) -> None:
    _, secret = keys.add("a", "admin")
    path = tmp_path / "kb" / FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert secret.encode() not in path.read_bytes()
    assert secret.removeprefix("yj_").encode() not in path.read_bytes()


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [("read", ["read"]), ("ask", ["read", "ask"]), ("admin", ["read", "ask", "admin"])],
)
def test_a_scope_includes_the_lesser_ones(keys: Keys, scope: str, allowed: list[str]) -> None:
    key, _ = keys.add("a", scope)  # type: ignore[arg-type]
    assert [one for one in ("read", "ask", "admin") if key.allows(one)] == allowed  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", " a", "a ", "a\nb", "x" * 65, "key_12345678"])
def test_a_name_that_cannot_be_shown_is_refused(keys: Keys, name: str) -> None:
    with pytest.raises(ConfigError, match="密钥名不可用"):
        keys.add(name, "read")


def test_a_name_belongs_to_one_key(keys: Keys) -> None:
    keys.add("a", "read")
    with pytest.raises(ConfigError, match="已有名为“a”的密钥"):
        keys.add("a", "ask")
    assert [key.scope for key in keys.all()] == ["read"]


def test_what_is_not_there_cannot_be_revoked(keys: Keys) -> None:
    with pytest.raises(ConfigError, match="没有这个密钥.*: b"):
        keys.revoke("b")


def test_the_secret_stays_the_same(tmp_path: Path) -> None:
    secret = AccessStore(tmp_path).secret()
    assert len(secret) == 32
    assert AccessStore(tmp_path).secret() == secret != AccessStore(tmp_path / "other").secret()


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database" * 100)
    with pytest.raises(DamagedError, match="已损坏"):
        Keys(AccessStore(tmp_path)).exist()


def test_a_file_that_is_just_being_made_holds_no_keys(tmp_path: Path) -> None:
    (tmp_path / FILE).touch()
    assert not Keys(AccessStore(tmp_path)).exist()
    Keys(AccessStore(tmp_path)).add("a", "read")
    assert Keys(AccessStore(tmp_path)).exist()


def test_a_file_in_use_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ui.access._BUSY_SECONDS", 0.05)
    store = AccessStore(tmp_path)
    store.secret()
    with sqlite3.connect(tmp_path / FILE, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(LockedError, match="正被占用"):
            Keys(store).exist()
        other.rollback()


def test_a_file_of_another_version_is_not_written_to(tmp_path: Path) -> None:
    AccessStore(tmp_path).secret()
    with sqlite3.connect(tmp_path / FILE) as other:
        other.execute("PRAGMA user_version = 99")
    with pytest.raises(DamagedError, match="版本是 99"):
        Keys(AccessStore(tmp_path)).add("a", "read")


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KnowledgeBaseError, match="不可用"):
        AccessStore(tmp_path / "file").secret()
