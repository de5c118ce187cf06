"""What a run has found so far, in a file that an interrupted run goes on from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rag.errors import PathError


class Journal:
    """Results by key, each computed once; made by :func:`opened`."""

    def __init__(self, file: IO[str] | None, known: Mapping[str, Any], folder: Path | None) -> None:
        self._file = file
        self._known = dict(known)
        self.folder = folder  # where a run may keep what it needs to go on; None: nowhere

    def remembered(self, key: str, compute: Callable[[], Any]) -> Any:
        """What was found for ``key`` by this run or the one that it goes on from, else ``compute()``."""
        if key not in self._known:
            self._known[key] = compute()
            if self._file:
                _append(self._file, key, self._known[key])
        return self._known[key]


@contextmanager
def opened(out: Path | None, settings: Mapping[str, Any]) -> Iterator[Journal]:
    """The journal beside a result ``out``; in memory only where there is none.

    It goes on from one with the same ``settings``, and starts anew from any other. File and folder are removed when
    the run is done, and kept when it is interrupted. Raises PathError if the file cannot be written.
    """
    if out is None:
        yield Journal(None, {}, None)
        return
    path, folder = (out.with_name(out.name + end) for end in (".answers.jsonl", ".kb"))
    head = json.dumps({"settings": settings}, ensure_ascii=False, sort_keys=True)
    known = _resumed(path, head)
    if known is None:
        shutil.rmtree(folder, ignore_errors=True)
    try:
        file = path.open("w", encoding="utf-8", newline="\n")
    except OSError as error:
        raise PathError(
            f"无法写入 (cannot write): {path} ({error.strerror})", "检查路径和权限 (check the path)"
        ) from None
    with file:
        file.write(head + "\n")
        for key, value in (known or {}).items():
            _append(file, key, value)
        yield Journal(file, known or {}, folder)
    path.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _resumed(path: Path, head: str) -> dict[str, Any] | None:
    """The results of an interrupted run with the same settings; a line that was cut off is left out."""
    if not path.is_file():
        return None
    first, *rest = path.read_bytes().split(b"\n")
    if first.decode("utf-8", "replace") != head:
        return None
    known: dict[str, Any] = {}
    for line in rest:
        try:
            row = json.loads(line)
        except ValueError:
            break
        known[row["key"]] = row["value"]
    return known


def _append(file: IO[str], key: str, value: Any) -> None:
    file.write(json.dumps({"key": key, "value": value}, ensure_ascii=False) + "\n")
    file.flush()
