"""Who may use a knowledge base: one SQLite file in its folder, which its owner alone may read.

It holds keys, the widget's sites and the secret that signs what browsers bring back. Every question to it opens the file anew (0.1 ms), so
that what another process changes holds at once, and so does a file that was put in its place.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rag.errors import DamagedError, KnowledgeBaseError, LockedError

FILE = "access.sqlite"
SCHEMA_VERSION = 1

_BUSY_SECONDS = 5.0
_SCHEMA = """
CREATE TABLE secret (id INTEGER PRIMARY KEY CHECK (id = 1), value BLOB NOT NULL);
CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    scope TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,  -- SHA-256
    made TEXT NOT NULL          -- ISO 8601, UTC
);
CREATE TABLE sites (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    title TEXT NOT NULL,
    origins TEXT NOT NULL,      -- JSON
    articles TEXT,              -- JSON, or NULL: all
    made TEXT NOT NULL          -- ISO 8601, UTC
);
"""


class AccessStore:
    """The file ``access.sqlite`` of a knowledge base. Safe to share between threads and processes.

    All methods raise DamagedError if the file cannot be read, LockedError if it stays in use, KnowledgeBaseError if it
    cannot be opened or written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE

    def rows(self, sql: str, *values: Any) -> list[sqlite3.Row]:
        """The rows of a query; none where there is no file yet."""
        with self._translated():
            if not self._filled():
                return []
            with closing(self._connect("ro")) as connection:
                return connection.execute(sql, values).fetchall()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection in a transaction of its own, committed at the end; makes the file where there is none."""
        with self._translated():
            self._make_private()
            with closing(self._connect("rw")) as connection:
                connection.execute("BEGIN IMMEDIATE")
                _prepare(connection)
                yield connection
                connection.commit()

    def secret(self) -> bytes:
        """The 32 random bytes that sign sessions, made when they are first asked for."""
        found = self.rows("SELECT value FROM secret")
        if not found:
            with self.writing() as connection:
                connection.execute("INSERT OR IGNORE INTO secret VALUES (1, ?)", (secrets.token_bytes(32),))
            found = self.rows("SELECT value FROM secret")
        return bytes(found[0]["value"])

    def _filled(self) -> bool:
        """Whether there is a file, and more of it than another process that is just making it has made."""
        try:
            return self.path.stat().st_size > 0
        except FileNotFoundError:
            return False

    def _make_private(self) -> None:
        """Make the file readable by its owner alone before anything is in it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch(mode=0o600)
        self.path.chmod(0o600)

    def _connect(self, mode: str) -> sqlite3.Connection:
        address = f"file:{quote(str(self.path.absolute()))}?mode={mode}"
        connection = sqlite3.connect(address, _BUSY_SECONDS, isolation_level=None, uri=True)
        connection.row_factory = sqlite3.Row
        return connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turn errors about the file into ours; what violates a constraint is the caller's affair."""
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise
        except (sqlite3.DatabaseError, OSError) as error:
            raise _told(error, self.path) from None


def _prepare(connection: sqlite3.Connection) -> None:
    """Make the tables in an empty file. Raises DamagedError for the tables of another version."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        for statement in filter(str.strip, _SCHEMA.split(";")):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    elif version != SCHEMA_VERSION:
        raise DamagedError(
            f"{FILE} 的版本是 {version}, 这里要 {SCHEMA_VERSION} (made by another version of youju)",
            "用写它的那个版本 (use the version that made it)",
        )


def _told(error: Exception, path: Path) -> KnowledgeBaseError:
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF  # without its extension
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return LockedError(
            f"访问控制文件正被占用 (the access file is in use): {path}", "稍后再试 (try again later)"
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR):
        return DamagedError(
            f"访问控制文件已损坏 (the access file is damaged: {error}): {path}",
            "删除它并重新建立密钥 (delete it and make the keys anew)",
        )
    return KnowledgeBaseError(
        f"访问控制文件不可用 (cannot use the access file: {error}): {path}",
        "检查权限和磁盘空间 (check permissions and space)",
    )
