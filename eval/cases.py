"""Gold questions: a JSONL file -> cases whose evidence is known by its place in the documents.

A row is ``{id, type, question, history, articles, evidence, key_points}``. ``articles`` are numbers, or pairs
``[document, number]`` where several documents have that number; ``evidence`` are verbatim pieces of those articles;
of each inner list of ``key_points`` any one must be in a full answer. ``history`` may be left out, and ``draft``
(true: not yet looked at by a person) is allowed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.metrics import Place
from rag.errors import FormatError, PathError

if TYPE_CHECKING:
    from rag.store import Store

ANSWERABLE = ("fact", "list", "why", "locate", "compare", "followup")
TYPES = (*ANSWERABLE, "unanswerable", "false_premise")
REQUIRED = ("id", "type", "question", "articles", "evidence", "key_points")
OPTIONAL = ("history", "draft")
ROLES = ("user", "assistant")

ArticleKey = int | tuple[str, int]


@dataclass(frozen=True, slots=True)
class Case:
    """A row of a file of cases."""

    id: str
    type: str
    question: str
    history: tuple[tuple[str, str], ...]  # (role, content)
    articles: tuple[ArticleKey, ...]
    evidence: tuple[str, ...]
    key_points: tuple[tuple[str, ...], ...]
    draft: bool = False

    @property
    def answerable(self) -> bool:
        return self.type in ANSWERABLE

    def as_question(self) -> dict[str, Any]:
        """What a chain is asked. The gold articles are no part of it."""
        turns = [{"role": role, "content": content} for role, content in self.history]
        return {"question": self.question, "history": turns}


@dataclass(frozen=True, slots=True)
class GoldCase:
    """A case with the places of its evidence and of its articles."""

    case: Case
    evidence: tuple[Place, ...]
    articles: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class GoldArticle:
    """An article that cases may name."""

    number: int
    title: str
    place: Place


@dataclass(frozen=True, slots=True)
class Library:
    """The documents that cases speak of: their texts by name, and their articles."""

    texts: Mapping[str, str]
    articles: tuple[GoldArticle, ...]

    @classmethod
    def of(cls, store: Store) -> Library:
        """All documents of a knowledge base."""
        with store.snapshot():
            articles = tuple(
                GoldArticle(
                    a.article.number, a.article.title, Place(a.document, a.article.start, a.article.end)
                )
                for a in store.articles()
            )
            texts = {d.name: found.text for d in store.documents() if (found := store.document(d.name))}
        return cls(texts, articles)

    def article_at(self, document: str, position: int) -> GoldArticle | None:
        """The article that holds a character."""
        return next(
            (
                a
                for a in self.articles
                if a.place.document == document and a.place.start <= position < a.place.end
            ),
            None,
        )

    def text(self, place: Place) -> str:
        return self.texts[place.document][place.start : place.end]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong with a line of a file of cases; line 0 is the whole file."""

    line: int
    problem: str

    def __str__(self) -> str:
        return f"第 {self.line} 行 (line {self.line}): {self.problem}" if self.line else self.problem


class CasesError(FormatError):
    """A file of cases cannot be used: all its faults, by line."""

    def __init__(self, path: Path, faults: Sequence[Fault]) -> None:
        self.path = path
        self.faults = tuple(sorted(faults, key=lambda fault: fault.line))
        super().__init__(
            f"评测题不可用 (cases cannot be used): {path}, {len(faults)} 处 (faults): "
            + "; ".join(map(str, self.faults)),
            "改正这些行, 再用 youju eval check 检查 (mend these lines)",
        )


def load_cases(path: Path, library: Library) -> list[GoldCase]:
    """The cases of a file, in its order.

    Raises PathError if it cannot be read, CasesError with every fault of it.
    """
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
    except OSError as error:
        raise PathError(
            f"评测题读不到 (cannot read the cases): {path} ({error.strerror})", "检查路径 (check the path)"
        ) from None
    cases, faults = read_cases(lines, library)
    if faults:
        raise CasesError(path, faults)
    return cases


def read_cases(lines: Iterable[bytes], library: Library) -> tuple[list[GoldCase], list[Fault]]:
    """The cases of these lines, and what is wrong with the others."""
    cases: list[GoldCase] = []
    faults: list[Fault] = []
    ids: dict[str, int] = {}
    questions: dict[tuple[str, tuple[tuple[str, str], ...]], int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        case: Case | None
        gold: GoldCase | None
        try:
            case = parse(line)
            gold = resolve(case, library)
        except _Faults as error:
            faults += [Fault(number, problem) for problem in error.problems]
            case, gold = error.case, None
        if case is None:
            continue
        for what, first in (
            (f"id {case.id}", ids.setdefault(case.id, number)),
            ("问题 question", questions.setdefault((case.question.strip(), case.history), number)),
        ):
            if first != number:
                faults.append(Fault(number, f"{what} 与第 {first} 行重复 (duplicate of line {first})"))
                gold = None
        if gold:
            cases.append(gold)
    if not cases and not faults:
        faults.append(Fault(0, "文件是空的 (the file is empty)"))
    return cases, faults


class _Faults(Exception):
    """What is wrong with one row, and the row as far as it could be read."""

    def __init__(self, problems: list[str], case: Case | None = None) -> None:
        self.problems = problems
        self.case = case


# -- reading a row ------------------------------------------------------------------------------------------


def parse(line: bytes) -> Case:
    """The case of a line; raises _Faults with all that is wrong with its form."""
    try:
        row = json.loads(line.decode("utf-8"))
        json.dumps(row, ensure_ascii=False).encode("utf-8")  # an escaped half of a surrogate pair is no text
    except (ValueError, RecursionError):
        raise _Faults(["不是 JSON (not JSON)"]) from None
    if not isinstance(row, dict):
        raise _Faults(["不是 JSON 对象 (not a JSON object)"])
    problems = [f"缺少键 {key} (missing key)" for key in REQUIRED if key not in row]
    problems += [f"没有这个键: {key} (unknown key)" for key in row if key not in (*REQUIRED, *OPTIONAL)]
    if problems:
        raise _Faults(problems)
    problems = [problem for key, fits, problem in _SHAPES if not fits(row.get(key, _DEFAULTS.get(key)))]
    if problems:
        raise _Faults(problems)
    case = Case(
        id=row["id"],
        type=row["type"],
        question=row["question"],
        history=tuple((turn["role"], turn["content"]) for turn in row.get("history", ())),
        articles=tuple(a if isinstance(a, int) else (a[0], a[1]) for a in row["articles"]),
        evidence=tuple(row["evidence"]),
        key_points=tuple(map(tuple, row["key_points"])),
        draft=row.get("draft", False),
    )
    problems = _contradictions(case)
    if problems:
        raise _Faults(problems, case)
    return case


def _contradictions(case: Case) -> list[str]:
    """What the type of a case asks for and the case lacks."""
    problems = []
    if case.answerable:
        problems += [
            f"{case.type} 题需要 {key} (needs {key})"
            for key, value in (("articles", case.articles), ("evidence", case.evidence))
            if not value
        ]
    if case.type == "unanswerable" and (case.evidence or case.key_points):
        problems.append("unanswerable 题不能有 evidence 或 key_points (takes no evidence or key points)")
    if case.type == "followup" and not case.history:
        problems.append("followup 题需要 history (needs history)")
    return problems


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_article(value: Any) -> bool:
    pair = isinstance(value, list) and len(value) == 2
    return _is_number(value) or (pair and _is_text(value[0]) and _is_number(value[1]))


def _is_turn(value: Any) -> bool:
    keys = isinstance(value, dict) and set(value) == {"role", "content"}
    return keys and value["role"] in ROLES and isinstance(value["content"], str)


_DEFAULTS: dict[str, Any] = {"history": [], "draft": False}
_SHAPES = (
    ("id", _is_text, "id 应是文字 (id must be text)"),
    ("type", lambda value: value in TYPES, f"type 应是其中之一 (type must be one of): {', '.join(TYPES)}"),
    ("question", _is_text, "question 应是文字 (question must be text)"),
    (
        "history",
        lambda value: isinstance(value, list) and all(map(_is_turn, value)),
        'history 应是 (must be) [{"role": "user" | "assistant", "content": "…"}]',
    ),
    (
        "articles",
        lambda value: isinstance(value, list) and all(map(_is_article, value)),
        "articles 应是编号或 [文档, 编号] 的列表 (must be numbers or [document, number])",
    ),
    ("evidence", _is_list_of_texts, "evidence 应是文字的列表 (must be a list of texts)"),
    (
        "key_points",
        lambda value: isinstance(value, list) and all(map(_is_list_of_texts, value)) and all(value),
        "key_points 应是文字列表的列表 (must be a list of lists of texts)",
    ),
    ("draft", lambda value: isinstance(value, bool), "draft 应是 true 或 false (must be true or false)"),
)


# -- finding its places -------------------------------------------------------------------------------------


def resolve(case: Case, library: Library) -> GoldCase:
    """The case with its places; raises _Faults for an article or evidence that is not there.

    A piece of evidence is the first place in the first of the articles that has it, exactly or else with white
    space removed from both.
    """
    problems: list[str] = []
    articles: list[Place] = []
    for key in case.articles:
        found = _articles(key, library)
        if len(found) == 1:
            articles.append(found[0].place)
        elif found:
            names = ", ".join(a.place.document for a in found)
            problems.append(
                f"第 {key} 篇在多个文档中都有, 写成 [文档, {key}] "
                f"(several documents have it; write [document, number]): {names}"
            )
        else:
            problems.append(_no_article(key, library))
    places: list[Place] = []
    inside = articles if case.articles else [a.place for a in library.articles]
    for piece in case.evidence if not problems else ():
        place = find(piece, inside, library.texts)
        if place:
            places.append(place)
        else:
            problems.append(f"evidence 不在所列文章中 (not verbatim in the articles named): {piece}")
    if problems:
        raise _Faults(problems, case)
    return GoldCase(case, tuple(places), tuple(articles))


def _articles(key: ArticleKey, library: Library) -> list[GoldArticle]:
    if isinstance(key, int):
        return [a for a in library.articles if a.number == key]
    return [a for a in library.articles if (a.place.document, a.number) == key]


def _no_article(key: ArticleKey, library: Library) -> str:
    if isinstance(key, tuple) and key[0] not in library.texts:
        return f"知识库中没有文档 {key[0]} (no such document in the knowledge base)"
    shown = key if isinstance(key, int) else f"{key[0]}:{key[1]}"
    return f"没有第 {shown} 篇文章 (no such article)"


def find(piece: str, articles: Sequence[Place], texts: Mapping[str, str]) -> Place | None:
    """Where a piece of text first stands in these articles: exactly, else with white space removed."""
    for document, start, end in articles:
        at = texts[document].find(piece, start, end)
        if at >= 0:
            return Place(document, at, at + len(piece))
    wanted = "".join(piece.split())
    for document, start, end in articles:
        text = texts[document]
        kept = [i for i in range(start, end) if not text[i].isspace()]
        at = "".join(text[i] for i in kept).find(wanted)
        if at >= 0 and wanted:
            return Place(document, kept[at], kept[at + len(wanted) - 1] + 1)
    return None
