"""A file of questions -> a file of answers, one JSON object a line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from rag.errors import InputError, PathError, QuestionError
from rag.question import as_question
from rag.records import Answer, Question


class Answers(Protocol):
    """What a batch needs of ``rag.chain.Chain``."""

    def invoke(self, question: Question, /) -> Answer: ...


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of a batch."""

    answered: int
    failed: int


def answer_all(
    source: Path,
    target: Path,
    chain: Answers,
    bad_row: Callable[[int, str], None],
    progress: Callable[[int, int], None],
) -> Counts:
    """Answer each row of ``source`` into ``target``, which appears only when all are done.

    A row that cannot be used is told to ``bad_row`` with the number of its line, from 1, and left out.
    Raises PathError if either file cannot be opened.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        lines = source.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
        with temporary.open("w", encoding="utf-8", newline="\n") as out:
            counts = _answer_lines(lines, chain, out.write, bad_row, progress)
        temporary.replace(target)
    except OSError as error:
        raise PathError(
            f"文件不可用 (cannot use): {error.filename or target} ({error.strerror})",
            "检查路径和权限 (check the path)",
        ) from None
    finally:
        temporary.unlink(missing_ok=True)
    return counts


def _answer_lines(
    lines: list[bytes],
    chain: Answers,
    write: Callable[[str], Any],
    bad_row: Callable[[int, str], None],
    progress: Callable[[int, int], None],
) -> Counts:
    answered = failed = 0
    for number, line in enumerate(lines, 1):
        progress(number - 1, len(lines))
        if not line.strip():
            continue
        try:
            key, question = read_row(line)
            answer = chain.invoke(question)
        except InputError as error:
            bad_row(number, str(error))
            failed += 1
            continue
        row = {"id": key, "question": question.text, **answer.as_json()}
        write(json.dumps(row, ensure_ascii=False) + "\n")
        answered += 1
    progress(len(lines), len(lines))
    return Counts(answered, failed)


def read_row(line: bytes) -> tuple[Any, Question]:
    """The id and the question of a row ``{id, question, history?, articles?, within?}``."""
    try:
        row = json.loads(line.decode("utf-8"))
        json.dumps(row, ensure_ascii=False).encode("utf-8")  # an escaped half of a surrogate pair is no text
    except (ValueError, RecursionError):
        raise QuestionError(
            "不是 JSON (not JSON)", "每行写一个 JSON 对象 (write one object a line)"
        ) from None
    question = as_question(row)
    return row.get("id"), question
