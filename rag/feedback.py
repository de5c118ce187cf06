"""What readers say of answers: a line of JSON each, in one file of the knowledge base's folder."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Annotated, Any, Literal

from filelock import FileLock, Timeout
from pydantic import BeforeValidator, TypeAdapter, ValidationError

from rag.errors import FormatError, KnowledgeBaseError, LockedError
from rag.records import Answer, Citation, Span, Turn

FILE = "feedback.jsonl"
LOCK = "feedback.lock"
LIMIT = 50_000_000  # bytes of the file
_PATIENCE = 10.0  # seconds that the file may be in use by another
_LOG = logging.getLogger(__name__)

Verdict = Literal["helpful", "wrong", "wrong_source", "missing"]


def _bare(answer: Any) -> Any:
    """An answer's JSON as the fields of its record, without what was retrieved and how long it took."""
    if not isinstance(answer, dict):
        return answer
    return {**answer, "question": answer.get("asked", ""), "retrieved": (), "timings_ms": {}}


GivenAnswer = Annotated[Answer, BeforeValidator(_bare)]  # read by pydantic from an answer's JSON


@dataclass(frozen=True, slots=True)
class Within(Span):
    """A place that a question was restricted to."""

    document: str

    def as_json(self) -> dict[str, Any]:
        return {"document": self.document, "start": self.start, "end": self.end}


@dataclass(frozen=True, slots=True)
class Feedback:
    """A reader's verdict on an answer: what was asked, within what, and the answer without what was retrieved."""

    verdict: Verdict
    time: str  # ISO 8601, UTC
    question: str
    answer: GivenAnswer
    history: tuple[Turn, ...] = ()
    articles: tuple[int | tuple[str, int], ...] = ()
    within: tuple[Within, ...] = ()
    comment: str = ""

    @property
    def restricted(self) -> bool:
        return bool(self.articles or self.within)

    @property
    def id(self) -> str:
        """Ten hexadecimal digits, the same for the same question, restriction and answer."""
        within = [place.as_json() for place in self.within]
        said = [self.question.strip(), self.articles, within, self.answer.text]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()[:10]

    def as_json(self) -> dict[str, Any]:
        return {
            "verdict": self.verdict,
            "time": self.time,
            "comment": self.comment,
            "question": self.question,
            "history": [{"role": turn.role, "content": turn.content} for turn in self.history],
            "articles": list(self.articles),
            "within": [place.as_json() for place in self.within],
            "answer": self.answer.as_json(),
        }


_FEEDBACK = TypeAdapter(Feedback)


def stands(citation: Citation, text: str | None) -> bool:
    """Whether a citation's quote is what its document's text holds there; False where there is no document."""
    span = slice(citation.start, citation.end)
    return text is not None and 0 <= citation.start < citation.end and text[span] == citation.quote


class FeedbackLog:
    """The file of feedback in a knowledge base's folder; any number of threads and processes may share it.

    Its methods raise LockedError if the file stays in use, KnowledgeBaseError if it cannot be read or written.
    """

    def __init__(self, folder: Path, limit: int = LIMIT) -> None:
        self.path = folder / FILE
        self._lock = folder / LOCK
        self._limit = limit

    def append(self, feedback: Feedback) -> None:
        """Add a line, the whole of it or nothing; it is on the disk when this returns.

        Raises KnowledgeBaseError also if the file would grow over its limit.
        """
        line = json.dumps(feedback.as_json(), ensure_ascii=False).encode() + b"\n"
        with self._locked(), self.path.open("a+b", buffering=0) as file:
            end = self._mended(file)
            if end + len(line) > self._limit:
                raise KnowledgeBaseError(
                    f"反馈文件已满, 上限 {self._limit:,} 字节 (the file of feedback is full): {self.path}",
                    "用 youju feedback export 导出后移走它 (export it, then move it away)",
                )
            try:
                if file.write(line) < len(line):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise

    def read(self, report: Callable[[str], None]) -> list[Feedback]:
        """All feedback in the order it came; none where there is no file.

        A last line that a crash cut off is told to ``report`` and left out. Raises FormatError, naming the line,
        for any other that cannot be read.
        """
        if not self.path.exists():
            return []
        with self._locked():
            *lines, last = self.path.read_bytes().split(b"\n")
        found = [self._parsed(number, line) for number, line in enumerate(lines, 1) if line.strip()]
        if _readable(last):
            found.append(_FEEDBACK.validate_json(last))
        elif last:
            number = len(lines) + 1
            report(f"{self.path} 第 {number} 行没有写完, 已跳过 (line {number} was cut off and is left out)")
        return found

    def _parsed(self, number: int, line: bytes) -> Feedback:
        try:
            return _FEEDBACK.validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise FormatError(
                f"{self.path} 第 {number} 行读不了 (line {number} cannot be read): {place} {first['msg']}",
                "改正或删去这一行 (mend this line or take it out)",
            ) from None

    def _mended(self, file: FileIO) -> int:
        """Size of the file once its last line is finished: completed where it can be read, else cut off."""
        size = file.seek(0, os.SEEK_END)
        *_, last = self.path.read_bytes().split(b"\n")
        if not last:
            return size
        if _readable(last):
            return size + (file.write(b"\n") or 0)
        _LOG.warning("%s: %d bytes of a line that was cut off are removed", self.path, len(last))
        return file.truncate(size - len(last))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            with FileLock(self._lock, timeout=_PATIENCE, fallback_to_soft=False):
                yield
        except Timeout:
            raise LockedError(
                f"反馈文件正被占用 (the file of feedback is in use): {self.path}",
                "稍后再试 (try again later)",
            ) from None
        except (OSError, NotImplementedError) as error:
            raise KnowledgeBaseError(
                f"反馈文件不可用 (cannot use the file of feedback: {error}): {self.path}",
                "检查权限和磁盘空间 (check permissions and space)",
            ) from None


def _readable(line: bytes) -> bool:
    try:
        _FEEDBACK.validate_json(line)
    except ValidationError:
        return False
    return True
