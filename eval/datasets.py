"""Public benchmark rows: questions, and the texts that answer them or do not.

CMRC 2018 (Cui et al., arXiv:1810.07366) and DRCD (Shao et al., arXiv:1806.00920) come as two files of JSON
lines: paragraphs ``{id, title?, text}`` and questions ``{id, paragraph, question, answers}``. RGB (Chen et
al., arXiv:2309.01431) comes as one: ``{id, query, answer, positive, negative}``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.errors import InputError, PathError

Alternatives = tuple[str, ...]
Row = dict[str, Any]


class DatasetError(InputError):
    """A file of questions or paragraphs is missing, or a line of it cannot be used."""


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A text to be searched; in the knowledge base a document of one article."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class ParagraphQuestion:
    """A question that its ``paragraph`` answers, in any of the words of ``answers``."""

    id: str
    paragraph: str
    text: str
    answers: Alternatives

    @property
    def blank(self) -> bool:
        return not self.text.strip()


@dataclass(frozen=True, slots=True)
class RgbRow:
    """A question of RGB. A right answer holds one alternative of each of ``answer``.

    ``positive`` has one group of documents, or for the integration protocol one for each part of the answer.
    ``wrong`` holds the positive documents with a false fact in them, ``fake`` that fact; both are empty
    outside of the counterfactual protocol.
    """

    id: str
    query: str
    answer: tuple[Alternatives, ...]
    positive: tuple[tuple[str, ...], ...]
    negative: tuple[str, ...]
    wrong: tuple[str, ...] = ()
    fake: tuple[Alternatives, ...] = ()

    @property
    def integration(self) -> bool:
        return len(self.positive) > 1


# -- readers --------------------------------------------------------------------------------------------------


def read_paragraphs(path: Path) -> list[Paragraph]:
    """The paragraphs of a file. Raises DatasetError that names the line at fault."""
    found: dict[str, Paragraph] = {}
    for place, row in _rows(path):
        paragraph = Paragraph(_text(row, "id", place), _title(row, place), _text(row, "text", place))
        if paragraph.id in found:
            raise _fault(place, f"id 重复 (duplicate): {paragraph.id}", "每段一个 id (one id a paragraph)")
        found[paragraph.id] = paragraph
    return list(found.values())


def read_questions(path: Path, paragraphs: Iterable[Paragraph]) -> list[ParagraphQuestion]:
    """The questions of a file, all on ``paragraphs``; some may be blank (two of CMRC's trial file are).

    Raises DatasetError that names the line at fault.
    """
    known = {paragraph.id for paragraph in paragraphs}
    found: dict[str, ParagraphQuestion] = {}
    for place, row in _rows(path):
        question = ParagraphQuestion(
            id=_text(row, "id", place),
            paragraph=_text(row, "paragraph", place),
            text=_text(row, "question", place, blank=True),
            answers=_texts(row, "answers", place),
        )
        if question.id in found:
            raise _fault(place, f"id 重复 (duplicate): {question.id}", "每题一个 id (one id a question)")
        if question.paragraph not in known:
            raise _fault(
                place, f"没有这一段 (no such paragraph): {question.paragraph}", "改正 paragraph (mend it)"
            )
        found[question.id] = question
    return list(found.values())


def read_rgb(path: Path) -> list[RgbRow]:
    """The rows of a file of RGB. Raises DatasetError that names the line at fault."""
    found: dict[str, RgbRow] = {}
    for place, row in _rows(path):
        wrong = _texts(row, "positive_wrong", place) if "positive_wrong" in row else ()
        positive = _groups(row, place)
        if wrong and (len(positive) > 1 or len(wrong) != len(positive[0])):
            raise _fault(
                place, "positive_wrong 与 positive 数目不同 (of different length)", "一一对应 (pair them)"
            )
        key = row.get("id")
        asked = RgbRow(
            id=str(key) if isinstance(key, int) else _text(row, "id", place),
            query=_text(row, "query", place),
            answer=_answer(row, "answer", place),
            positive=positive,
            negative=_texts(row, "negative", place, empty=True),
            wrong=wrong,
            fake=_answer(row, "fakeanswer", place) if wrong else (),
        )
        if asked.id in found:
            raise _fault(place, f"id 重复 (duplicate): {asked.id}", "每题一个 id (one id a question)")
        found[asked.id] = asked
    return list(found.values())


def sample(questions: Sequence[ParagraphQuestion], limit: int | None) -> list[ParagraphQuestion]:
    """``limit`` of the questions that are not blank, evenly over the file; all without a limit."""
    asked = [question for question in questions if not question.blank]
    if (limit is not None and limit < 1) or not asked:
        raise DatasetError(
            f"没有要问的题 (no question to ask; limit {limit})", "给 1 或更多 (give 1 or more)"
        )
    count = len(asked) if limit is None else min(limit, len(asked))
    return [asked[i * len(asked) // count] for i in range(count)]


def _rows(path: Path) -> Iterator[tuple[str, Row]]:
    """The objects of a file of JSON lines, each with its place for messages."""
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    except OSError as error:
        raise PathError(
            f"文件不可用 (cannot read): {path} ({error.strerror})", "检查路径 (check the path)"
        ) from None
    empty = True
    for number, line in enumerate(lines, 1):
        place = f"{path} 第 {number} 行 (line {number})"
        if not line.strip():
            continue
        empty = False
        try:
            row = json.loads(line.decode("utf-8"))
            json.dumps(row, ensure_ascii=False).encode("utf-8")  # half of a surrogate pair is no text
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise _fault(place, "不是 JSON 对象 (not a JSON object)", "每行写一个对象 (one object a line)")
        yield place, row
    if empty:
        raise DatasetError(f"文件是空的 (empty file): {path}", "检查文件 (check the file)")


def _fault(place: str, problem: str, remedy: str) -> DatasetError:
    return DatasetError(f"{place}: {problem}", remedy)


def _text(row: Row, key: str, place: str, blank: bool = False) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not (blank or value.strip()):
        raise _fault(place, f"{key} 缺失或不是文字 (missing, blank or no text)", f"写上 {key} (give a text)")
    return value


def _title(row: Row, place: str) -> str:
    value = row.get("title") or ""
    if not isinstance(value, str):
        raise _fault(place, "title 不是文字 (no text)", "写文字, 或不写 (give a text, or none)")
    return value


def _texts(row: Row, key: str, place: str, empty: bool = False) -> tuple[str, ...]:
    value = row.get(key)
    fine = isinstance(value, list) and all(isinstance(text, str) and text.strip() for text in value)
    if not fine or not (value or empty):
        raise _fault(place, f"{key} 不是文字的列表 (no list of texts)", f'写成 "{key}": ["…"]')
    assert isinstance(value, list)
    return tuple(value)


def _answer(row: Row, key: str, place: str) -> tuple[Alternatives, ...]:
    """RGB's answers: a text, or a list whose inner lists hold alternatives."""
    value = row.get(key)
    outer = [value] if isinstance(value, str) else value
    if isinstance(outer, list) and outer:
        inner = [[part] if isinstance(part, str) else part for part in outer]
        if all(isinstance(part, list) and part and all(_filled(text) for text in part) for part in inner):
            return tuple(tuple(part) for part in inner)
    raise _fault(place, f"{key} 不对 (neither texts nor lists of texts)", f'写成 "{key}": ["…", ["…", "…"]]')


def _filled(text: Any) -> bool:
    return isinstance(text, str) and bool(text.strip())


def _groups(row: Row, place: str) -> tuple[tuple[str, ...], ...]:
    value = row.get("positive")
    if isinstance(value, list) and value and isinstance(value[0], list):
        return tuple(_texts({"positive": group}, "positive", place) for group in value)
    return (_texts(row, "positive", place),)
