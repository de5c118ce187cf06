"""Feedback to cases: what readers found helpful as gold, what they found fault with as drafts.

A draft says ``draft`` and has the rejected answer's citations for evidence, for a person to replace and complete. A
helpful answer becomes a draft too where its words alone do not make a sound case: a refusal (a reader cannot know
what the documents lack), a question that was restricted (a case is asked of all documents), and evidence that stands
at another place of its article as well, or no longer stands at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eval.cases import Library, read_cases
from eval.draft import FIGURE, Row, with_unit
from eval.metrics import Place, squeeze
from rag.feedback import Feedback, stands
from rag.intent import understand
from rag.records import Citation

_WHY = re.compile("为什么|为何|为啥|何以|原因")
_MEASURED = re.compile(r"(?:多少|几)[万亿]?([\u4e00-\u9fff])")  # the word that things are counted by
_MONEY = {"钱": "元", "块": "元"}
_NUMERALS = "一二两三四五六七八九十百千"


@dataclass(frozen=True, slots=True)
class Exported:
    """Rows of cases, and the ids of feedback that none could be made of: nothing that it cites is there any more."""

    rows: tuple[Row, ...]
    gone: tuple[str, ...]


def export(given: Sequence[Feedback], library: Library) -> Exported:
    """A case for each question after its history, in the order of the verdicts that made them.

    Of verdicts on the same question, restriction and answer the last one counts. Of cases for the same question
    after the same history a gold one is kept before a draft, and a later one before an earlier.
    """
    latest: dict[str, Feedback] = {}
    for one in given:
        latest.pop(one.id, None)
        latest[one.id] = one
    kept: dict[str, Row] = {}
    gone = []
    for one in latest.values():
        row = _row(one, library)
        if row is None:
            gone.append(one.id)
            continue
        asked = json.dumps([row["question"].strip(), row["history"]])
        if "draft" in row and asked in kept and "draft" not in kept[asked]:
            continue
        kept.pop(asked, None)
        kept[asked] = row
    return Exported(tuple(kept.values()), tuple(gone))


def _row(one: Feedback, library: Library) -> Row | None:
    """The case of one verdict; None where it cites only what is not there any more."""
    found = [_place(citation, library) for citation in one.answer.citations]
    places = list(dict.fromkeys(place for place in found if place))
    if found and not places:
        return None
    quotes = [library.text(place) for place in places]
    row: Row = {
        "id": f"feedback-{one.verdict}-{one.id}",
        "type": _type(one) if places else "unanswerable",
        "question": one.question,
        "history": [{"role": turn.role, "content": turn.content} for turn in one.history],
        "articles": _articles(places, library),
        "evidence": quotes,
        "key_points": [],
    }
    certain = one.verdict == "helpful" and not one.restricted and places and all(found)
    if certain and _found(row, library) == places:
        return {**row, "key_points": _key_points(one, quotes)}
    return {**row, "draft": True}


def _place(citation: Citation, library: Library) -> Place | None:
    """Where a citation's quote stands, within one article; None where it does not."""
    if not stands(citation, library.texts.get(citation.document)):
        return None
    article = library.article_at(citation.document, citation.start)
    if article is None or citation.end > article.place.end:
        return None
    return Place(citation.document, citation.start, citation.end)


def _articles(places: Sequence[Place], library: Library) -> list[Any]:
    """The articles' numbers in the order cited, each with its document where there are several documents."""
    several = len(library.texts) > 1
    found = [(place.document, library.article_at(place.document, place.start)) for place in places]
    keys = dict.fromkeys((document, article.number) for document, article in found if article)
    return [[document, number] if several else number for document, number in keys]


def _found(row: Row, library: Library) -> list[Place]:
    """The places that a reader of cases finds the row's evidence at."""
    cases, _ = read_cases([json.dumps(row).encode()], library)
    return [place for case in cases for place in case.evidence]


def _type(one: Feedback) -> str:
    if one.history:
        return "followup"
    return "why" if _WHY.search(one.question) else understand(one.question).kind


def _key_points(one: Feedback, quotes: Sequence[str]) -> list[list[str]]:
    """The figure with the measure word of the question (多少个: 36个) where answer and evidence have only one; else none."""
    measured = _MEASURED.search(one.question)
    if measured is None or understand(one.question).asks > 1:
        return []
    unit = _MONEY.get(measured[1], measured[1])
    said = squeeze("".join(sentence.text for sentence in one.answer.sentences if sentence.citations))
    evidence = squeeze("".join(quotes))
    if re.search(rf"[{_NUMERALS}]{unit}", said):  # another may be written out
        return []
    figures = {with_unit(figure) for figure in FIGURE.finditer(said)}
    fitting = [f for f in figures if f.endswith(unit) and f in evidence and f not in squeeze(one.question)]
    return [fitting] if len(fitting) == 1 else []
