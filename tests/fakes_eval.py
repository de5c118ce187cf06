"""Gold cases on an invented compilation, and a chain that answers them as told, for tests of the harness."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from builders import compilation, document

from eval.cases import GoldArticle, GoldCase, Library, read_cases
from eval.metrics import Place
from rag.outline import outline

NAME = "汇编.txt"
Json = dict[str, Any]
Break = Callable[[GoldCase, Json], Json]


def library(*names: str) -> Library:
    """The invented compilation under each name."""
    source = document(compilation())
    articles = outline(source).articles
    return Library(
        {name: source.text for name in names or (NAME,)},
        tuple(
            GoldArticle(a.number, a.title, Place(name, a.start, a.end))
            for name in names or (NAME,)
            for a in articles
        ),
    )


ROWS: tuple[Json, ...] = (
    {
        "id": "f1",
        "type": "fact",
        "question": "网格管理要建成多少个示范点？",
        "history": [],
        "articles": [1],
        "evidence": ["到2025年建成100个示范点"],
        "key_points": [["100个"]],
    },
    {
        "id": "c1",
        "type": "compare",
        "question": "养老服务和垃圾分类各有多少名专职人员？",
        "history": [],
        "articles": [2, 3],
        "evidence": ["养老服务责任落实到8名专职人员", "垃圾分类责任落实到9名专职人员"],
        "key_points": [["8名"], ["9名"]],
    },
    {
        "id": "t1",
        "type": "followup",
        "question": "那多久开一次会？",
        "history": [
            {"role": "user", "content": "社区矫正由几个部门负责？"},
            {"role": "assistant", "content": "由3个部门组成的联席会议负责。"},
        ],
        "articles": [4],
        "evidence": ["建立由3个部门组成的社区矫正联席会议，每季度开一次"],
        "key_points": [["每季度"]],
    },
    {
        "id": "u1",
        "type": "unanswerable",
        "question": "河里有几种鱼？",
        "history": [],
        "articles": [],
        "evidence": [],
        "key_points": [],
    },
    {
        "id": "x1",
        "type": "false_premise",
        "question": "网格管理为什么每天通报？",
        "history": [],
        "articles": [1],
        "evidence": ["每月通报一次进展情况"],
        "key_points": [],
    },
)


def lines(*rows: Mapping[str, Any]) -> bytes:
    """Rows as the bytes of a JSONL file."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def gold_cases(known: Library | None = None) -> list[GoldCase]:
    cases, faults = read_cases(lines(*ROWS).split(b"\n"), known or library())
    assert not faults
    return cases


class Oracle:
    """Answers each case with its gold evidence, refuses what is unanswerable, then does what ``broken`` does.

    ``asked`` are the questions that it was asked; the one at place ``fails_at`` raises KeyboardInterrupt.
    """

    def __init__(
        self,
        gold: Sequence[GoldCase],
        known: Library,
        broken: Break | None = None,
        fails_at: int | None = None,
    ) -> None:
        self._gold = {(one.case.question, one.case.history): one for one in gold}
        self._library = known
        self._broken = broken
        self._fails_at = fails_at
        self.asked: list[str] = []

    def invoke(self, question: Mapping[str, Any], /) -> Json:
        if len(self.asked) == self._fails_at:
            raise KeyboardInterrupt
        self.asked.append(question["question"])
        history = tuple((turn["role"], turn["content"]) for turn in question["history"])
        one = self._gold[question["question"], history]
        answer = answered(one.evidence if one.case.type != "unanswerable" else (), self._library)
        return self._broken(one, answer) if self._broken else answer


def answered(places: Sequence[Place], known: Library, retrieved: Sequence[Place] | None = None) -> Json:
    """An answer that quotes these places, a sentence for each; a refusal where there are none."""
    citations = [_citation(n, place, known) for n, place in enumerate(places, 1)]
    sentences = [
        {"text": c["quote"] + "。", "citations": [c["n"]], "support": "quoted"} for c in citations
    ] or [{"text": "文档中没有找到。", "citations": [], "support": "supported"}]
    answer = {
        "refused": not places,
        "engine": "oracle",
        "confidence": 0.9 if places else 0.1,
        "sentences": sentences,
        "citations": citations,
        "retrieved": [_passage(place, known) for place in (places if retrieved is None else retrieved)],
        "timings_ms": {"retrieve": 1.0, "answer": 2.0},
    }
    return rendered(answer)


def rendered(answer: Json) -> Json:
    """The answer with its text made from its sentences."""
    text = "".join(s["text"] + "".join(f"[{n}]" for n in s["citations"]) for s in answer["sentences"])
    return {**answer, "answer": text}


def _citation(n: int, place: Place, known: Library) -> Json:
    article = known.article_at(place.document, place.start)
    shown = {
        "number": article.number if article else 0,
        "title": article.title if article else "",
        "category": None,
    }
    return {"n": n, "article": shown, "section": [], "quote": known.text(place), **place._asdict()}


def _passage(place: Place, known: Library) -> Json:
    return {"score": 1.0, "section": [], "text": known.text(place), **place._asdict()}
