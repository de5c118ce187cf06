"""Documents that say nothing but payloads, and a chain that answers with them as quotations and as a model's words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fakes_ui import FakeChain
from payloads import payloads

from rag.records import (
    Answer,
    AnswerSentence,
    Article,
    ArticleRef,
    Citation,
    Cited,
    Document,
    Done,
    Event,
    Outline,
    Passage,
    Question,
    Retrieved,
    Said,
    Section,
)
from rag.store import Store

TEXTS = payloads()
GROUP = 50  # payloads of an answer to a question such as GROUPS has
GROUPS = [f"第 {n} 组" for n in range(1, -(-len(TEXTS) // GROUP) + 1)]
REFUSED = "都不作回答"
SECTIONS = ("一、", "二、")
_KINDS = ("text", "lead", "item")


def hostile_document(text: str) -> tuple[Document, Outline]:
    """A document whose name, category, title, two headings and two sentences are one payload."""
    whole = text
    sections = []
    for marker in SECTIONS:
        whole += "\n"
        start = len(whole)
        whole += f"{marker}{text}\n"
        sections.append(Section(start, len(whole) + len(text), 1, marker, text, (), len(whole)))
        whole += text
    article = Article(0, len(whole), 1, text, text, tuple(sections), len(text) + 1)
    digest = hashlib.sha256(whole.encode()).hexdigest()
    return Document(text, digest, whole, "utf-8"), Outline((article,))


@dataclass
class HostileChain(FakeChain):
    """Answers a payload with the document of its name, and one of GROUPS with the documents of its payloads."""

    def examples(self, n: int) -> list[str]:
        return TEXTS

    def search(self, question: str, limit: int = 10, *args: object) -> list[Passage]:
        return [_passage(text) for text in TEXTS[:limit]]

    def stream(self, question: Question) -> Iterator[Event]:
        self.asked.append(question)
        texts = _answering(question.text)
        passages = tuple(_passage(text) for text in texts[:10])
        yield Retrieved(passages)
        if question.text == REFUSED:
            sorry = AnswerSentence("这些文件没有提到这个问题。", (), "supported")
            yield Said(sorry)
            yield Done(Answer((sorry,), (), passages, True, "extractive", {}))
            return
        said, cited = [], []
        first = max((c.n for c in question.cited), default=0) + 1
        for n, text in enumerate(texts, first):
            cited.append(_citation(text, n))
            yield Cited(cited[-1])
            for sentence in _sentences(text, n):
                said.append(sentence)
                yield Said(sentence)
        words = texts[0]
        yield Done(
            Answer(tuple(said), tuple(cited), passages, False, words, {}, question=words, fallback=words)
        )


def hostile_chain(folder: Path) -> HostileChain:
    """The chain over a knowledge base made anew in ``folder``."""
    with Store.open(folder, writable=True, create=True) as store, store.transaction():
        store.set_model("none", 1)
        for text in TEXTS:
            store.put(*hostile_document(text), ())
    return HostileChain(Store.open(folder))


def _answering(question: str) -> Sequence[str]:
    if question == REFUSED:
        return TEXTS
    if question in GROUPS:
        start = GROUPS.index(question) * GROUP
        return TEXTS[start : start + GROUP]
    return [TEXTS[TEXTS.index(question)]]


def _sentences(text: str, n: int) -> Iterator[AnswerSentence]:
    """A payload as a quotation, as what a model says with a citation, and as what it says without."""
    kind = _KINDS[n % len(_KINDS)]
    yield AnswerSentence(text, (n,), "quoted", kind)  # type: ignore[arg-type]
    yield AnswerSentence(text, (n,), "supported", kind)  # type: ignore[arg-type]
    yield AnswerSentence(text, (), "unsupported", kind)  # type: ignore[arg-type]


def _citation(text: str, n: int) -> Citation:
    found = _passage(text)
    return Citation(found.start, found.end, n, text, found.sha256, found.article, found.section, text)


def _passage(text: str) -> Passage:
    """The first sentence of a payload's document."""
    document, outline = hostile_document(text)
    (article,) = outline.articles
    section = article.sections[0]
    reference = ArticleRef(1, text, text)
    return Passage(section.body, section.end, text, document.sha256, reference, (section.label,), text, 1.0)
