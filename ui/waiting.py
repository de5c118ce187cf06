"""Files that were sent to the page's server and are not stored yet: each under a random token, for an hour."""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ui.errors import ApiError

MOST_FILES = 64
HOURS = 1
LONGEST_NAME = 200  # bytes; file systems allow 255, and temporary names are longer
_INVISIBLE = ("Cc", "Cf", "Cs", "Zl", "Zp")


@dataclass(frozen=True, slots=True)
class WaitingFile:
    """A file's own name, where its bytes are kept, and until when on the clock."""

    name: str
    path: Path
    until: float  # seconds


class Waiting:
    """The files of one server, in a temporary folder that only its user may enter. Safe to share between threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._files: dict[str, WaitingFile] = {}
        self._folder: Path | None = None  # made for the first file

    def add(self, name: str, data: bytes) -> str:
        """Keep a file; its token. Raises ApiError 429 if too many wait already."""
        self.expire()
        with self._lock:
            if len(self._files) >= MOST_FILES:
                raise ApiError(
                    429,
                    "too_many_waiting",
                    f"已有 {MOST_FILES} 个文件等待存入，请先存入或取消一些 (too many files are waiting)",
                )
            self._folder = self._folder or Path(tempfile.mkdtemp(prefix="youju-"))  # of mode 0700
            token = secrets.token_urlsafe(16)
            path = self._folder / token
            path.write_bytes(data)
            self._files[token] = WaitingFile(name, path, self._clock() + HOURS * 3600)
            return token

    def get(self, tokens: Sequence[str]) -> list[WaitingFile]:
        """The files of these tokens. Raises ApiError 404 for one that is not there or not any more."""
        self.expire()
        with self._lock:
            if any(token not in self._files for token in tokens):
                raise ApiError(
                    404,
                    "unknown_file",
                    f"文件已存入、已取消，或等了超过 {HOURS} 小时，请重新选择 (the file is not waiting any more)",
                )
            return [self._files[token] for token in tokens]

    def discard(self, tokens: Iterable[str]) -> None:
        """Forget these files; those that are not there are gone already."""
        with self._lock:
            for token in tokens:
                gone = self._files.pop(token, None)
                if gone:
                    gone.path.unlink(missing_ok=True)

    def expire(self) -> None:
        """Forget the files whose time is over."""
        now = self._clock()
        with self._lock:
            over = [token for token, file in self._files.items() if file.until <= now]
        self.discard(over)

    def close(self) -> None:
        """Forget all files."""
        with self._lock:
            self._files.clear()
            if self._folder:
                shutil.rmtree(self._folder)
                self._folder = None


def checked_name(name: str) -> str:
    """The name of a file that was sent. Raises ApiError 422 for one that cannot be a file's own name."""
    why = _unusable(name)
    if why:
        raise ApiError(422, "bad_name", f"文件名不可用：{why}，请改名再试 (the file's name cannot be used)")
    return name


def _unusable(name: str) -> str:
    if not name.strip() or name.startswith("."):
        return "是空的，或以点开头"
    if any(char in "/\\" or unicodedata.category(char) in _INVISIBLE for char in name):
        return "含有斜杠或看不见的字符"
    if len(name.encode()) > LONGEST_NAME:
        return f"超过 {LONGEST_NAME} 字节"
    return ""
