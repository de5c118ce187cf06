"""Keys of programs and people: made, listed, revoked, recognised.

A key is a random secret of 256 bits, and what is kept of it is its SHA-256. A slow hash with a salt guards passwords
because people choose them from a small set that can be tried through. Nobody tries through 2^256, so a fast hash gives
nothing away, and a key is found by it in an index.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from rag.errors import ConfigError
from ui.access import AccessStore

PREFIX = "yj_"
Scope = Literal["read", "ask", "admin"]  # each includes those before it
SCOPES: tuple[Scope, ...] = get_args(Scope)

_NAME = re.compile(r"(?!key_)[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]{0,62}[^\s\x00-\x1f\x7f])?")
_COLUMNS = "id, name, scope, made"


@dataclass(frozen=True, slots=True)
class Key:
    """What is known of a key; the key itself is not."""

    id: str
    name: str
    scope: Scope
    made: str  # ISO 8601, UTC

    def allows(self, scope: Scope) -> bool:
        return SCOPES.index(self.scope) >= SCOPES.index(scope)

    def as_json(self) -> dict[str, Any]:
        return {"id": self.id, "name": self.name, "scope": self.scope, "made": self.made}


class Keys:
    """The keys of a knowledge base."""

    def __init__(self, store: AccessStore) -> None:
        self._store = store

    def add(self, name: str, scope: Scope) -> tuple[Key, str]:
        """A new key and its secret, which nobody can show again. Raises ConfigError for a name that cannot be."""
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"密钥名不可用 (bad name of a key): {name!r}",
                "写 1 至 64 个字符, 不以空格或 key_ 开头 (1 to 64 characters, not beginning with key_)",
            )
        made = datetime.now(UTC).isoformat(timespec="seconds")
        key = Key(f"key_{secrets.token_hex(4)}", name, scope, made)
        secret = PREFIX + secrets.token_urlsafe(32)
        try:
            with self._store.writing() as connection:
                connection.execute(
                    f"INSERT INTO keys ({_COLUMNS}, hash) VALUES (?, ?, ?, ?, ?)",
                    (key.id, key.name, key.scope, key.made, _hash(secret)),
                )
        except sqlite3.IntegrityError:
            raise ConfigError(
                f"已有名为“{name}”的密钥 (a key of this name exists)",
                "换一个名字, 或先 youju keys revoke (use another name, or revoke it first)",
            ) from None
        return key, secret

    def all(self) -> list[Key]:
        """All keys, the oldest first."""
        return [Key(*row) for row in self._store.rows(f"SELECT {_COLUMNS} FROM keys ORDER BY made, rowid")]

    def exist(self) -> bool:
        """Whether there is any key."""
        return bool(self._store.rows("SELECT 1 FROM keys LIMIT 1"))

    def revoke(self, wanted: str) -> Key:
        """Remove a key by its id or name. Raises ConfigError if there is none."""
        found = self._one("id = ? OR name = ?", wanted, wanted)
        if found is None:
            raise ConfigError(
                f"没有这个密钥 (no such key): {wanted}", "见 youju keys list (see youju keys list)"
            )
        with self._store.writing() as connection:
            connection.execute("DELETE FROM keys WHERE id = ?", (found.id,))
        return found

    def of_secret(self, secret: str) -> Key | None:
        """The key that was given, if it is one."""
        return self._one("hash = ?", _hash(secret))

    def of_id(self, key: str) -> Key | None:
        """The key with this id, if it is not revoked."""
        return self._one("id = ?", key)

    def _one(self, condition: str, *values: Any) -> Key | None:
        rows = self._store.rows(f"SELECT {_COLUMNS} FROM keys WHERE {condition}", *values)
        return Key(*rows[0]) if rows else None


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
