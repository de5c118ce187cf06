"""Questions proposed from the documents themselves, for a person to edit: a first set of cases.

Each is marked ``draft`` and passes ``youju eval check``. They come from headings and numbered items (list), figures
(fact), what only one article's heading says (locate). Reasons, comparisons and questions that the documents do not
answer are for a person to add.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest
from typing import Any

from eval.cases import Library, read_cases
from eval.metrics import squeeze
from rag.extract import readable
from rag.records import Article, Section
from rag.store import StoredArticle

Row = dict[str, Any]

_CLAUSE = re.compile(r"[^，,。；;：:！!？?\n]+")
FIGURE = re.compile(r"(?<![\d.A-Za-z])\d+(?:\.\d+)?\s?(?:%|％|[万亿])?(?![\d.A-Za-z])")
_NOT_ASKED = re.compile(r"^\s?(?:年|月|日|号|[)）、.．-])")  # dates, marks of lists
_BROKEN = re.compile(r"[“”‘’《》()（）「」]")
_LISTED = (2, 8)  # how many items a list may have
_HEADING = (6, 24)  # characters
_CLAUSE_LENGTH = (8, 40)
_FACTS = 3  # of an article
_LOCATED = 1


def drafts(articles: Sequence[StoredArticle], library: Library, limit: int | None = None) -> list[Row]:
    """Up to ``limit`` rows of cases, spread over the articles, each of them valid."""
    several = len({a.document for a in articles}) > 1
    common = _repeated_headings(articles)
    proposed = [_proposals(a, library.texts[a.document], several, common) for a in articles]
    in_turn = (row for turn in zip_longest(*proposed) for row in turn if row is not None)
    kept: list[Row] = []
    asked: set[str] = set()
    for row in in_turn:
        if limit is not None and len(kept) >= limit:
            break
        if row["question"] not in asked and _valid(row, library):
            asked.add(row["question"])
            kept.append({"id": f"draft-{len(kept) + 1}", **row})
    return kept


def _valid(row: Row, library: Library) -> bool:
    line = json.dumps({"id": "draft", **row}, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return not read_cases([line], library)[1]


def _proposals(stored: StoredArticle, text: str, several: bool, common: frozenset[str]) -> Iterator[Row]:
    """One article's rows: kinds take turns, so that a small limit still has them all."""
    article = stored.article
    key: Any = [stored.document, article.number] if several else article.number
    kinds = (_lists(article, text), _facts(article, text), _locations(article, text, common))
    for row in chain.from_iterable(zip_longest(*kinds)):
        if row is not None:
            yield {**row, "history": [], "articles": [key], "draft": True}


def _lists(article: Article, text: str) -> Iterator[Row]:
    """What a section is divided into."""
    for *_, section in article.walk():
        items = [s for s in section.sections if s.heading.strip()]
        headed = _HEADING[0] <= len(section.heading) <= _HEADING[1]
        if headed and len(items) == len(section.sections) and _LISTED[0] <= len(items) <= _LISTED[1]:
            yield _row(
                "list",
                f"“{readable(section.heading)}”包括哪些方面？",
                [_heading_of(item, text) for item in items],
                [[_key_point(item.heading)] for item in items],
            )


def _facts(article: Article, text: str) -> Iterator[Row]:
    """Clauses with one figure, asked for that figure."""
    found = 0
    for match in _CLAUSE.finditer(text, article.body, article.end):
        clause = match[0].strip()
        figures = [f for f in FIGURE.finditer(clause) if not _NOT_ASKED.match(clause[f.end() :])]
        fits = _CLAUSE_LENGTH[0] <= len(clause) <= _CLAUSE_LENGTH[1] and not _BROKEN.search(clause)
        if not fits or len(figures) != 1 or len(re.findall(r"\d+(?:\.\d+)?", clause)) != 1:
            continue
        figure = figures[0]
        if figure.start() < 2:  # nothing says what it is a figure of
            continue
        question = clause[: figure.start()].rstrip() + "多少" + clause[figure.end() :].lstrip() + "？"
        yield _row("fact", readable(question), [clause], [[with_unit(figure)]])
        found += 1
        if found == _FACTS:
            return


def with_unit(figure: re.Match[str]) -> str:
    """The figure and the character after it: 8 alone is in any answer, 8名 is not."""
    said = squeeze(figure[0])
    return said if said.endswith(("%", "％")) else said + figure.string[figure.end() :].lstrip()[:1]


def _locations(article: Article, text: str, common: frozenset[str]) -> Iterator[Row]:
    """Which article a heading belongs to that no other has."""
    headed = (
        s
        for (*_, s) in article.walk()
        if s.level != "item" and _HEADING[0] <= len(s.heading) <= _HEADING[1] and s.heading not in common
    )
    for section, _ in zip(headed, range(_LOCATED), strict=False):
        yield _row(
            "locate",
            f"哪一篇讲到“{readable(section.heading)}”？",
            [_heading_of(section, text)],
            [[article.title]],
        )


def _row(kind: str, question: str, evidence: list[str], key_points: list[list[str]]) -> Row:
    return {"type": kind, "question": question, "evidence": evidence, "key_points": key_points}


def _heading_of(section: Section, text: str) -> str:
    """Marker and heading as they stand in the text."""
    end = text.find(section.heading, section.start, section.end) + len(section.heading)
    return text[section.start : end].strip()


def _key_point(heading: str) -> str:
    return readable(heading).rstrip("。；;：:，,")


def _repeated_headings(articles: Sequence[StoredArticle]) -> frozenset[str]:
    seen: set[str] = set()
    repeated: set[str] = set()
    for stored in articles:
        own = {s.heading for (*_, s) in stored.article.walk()}
        repeated |= own & seen
        seen |= own
    return frozenset(repeated)
