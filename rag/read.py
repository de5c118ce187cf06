"""Passages to what the trained reader makes of them: question and passage read together, clause by clause."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from rag.clauses import clauses
from rag.config import Settings
from rag.lexicon import natural
from rag.records import Passage, Span
from rag.retrieve import Read, Retrieval

if TYPE_CHECKING:
    from embeddings.reader import Reading, Shown

READ = 7  # passages, the best of the retrieval
NONE, BUNDLED = "none", "bundled"
_FUSION = 1
_TITLE, _SECTION = 32, 28  # characters of a heading


class Reads(Protocol):
    """What ``embeddings.reader.Reader`` does."""

    def read(self, question: str, passages: Sequence[Shown]) -> list[Reading]: ...


@dataclass(frozen=True, slots=True)
class Readable:
    """A passage as the reader is shown it: folded, with the place of each clause in the document and in ``text``."""

    heading: str
    text: str
    clauses: tuple[Span, ...]
    places: tuple[tuple[int, int], ...]


def readable_passage(passage: Passage) -> Readable:
    """The passage without stray spaces, simplified; its heading is the article's title and the innermost section's."""
    text = ""
    spans: list[Span] = []
    places: list[tuple[int, int]] = []
    for sentence in passage.sentences or (passage,):
        local = Span(sentence.start - passage.start, sentence.end - passage.start)
        for clause in clauses(passage.text, local):
            start = len(text)
            text += natural(passage.text[clause.start : clause.end])
            spans.append(Span(clause.start + passage.start, clause.end + passage.start))
            places.append((start, len(text)))
    return Readable(heading(passage.article.title, passage.section), text, tuple(spans), tuple(places))


def heading(title: str, section: Sequence[str]) -> str:
    """What a trained model is shown above a text: its article's title and the innermost section's label."""
    inner = natural(section[-1])[:_SECTION] if section else ""
    return " ".join(filter(None, (natural(title)[:_TITLE], inner)))


def passage_reader(settings: Settings) -> Reads | None:
    """The reader that the settings name: the bundled one, a cross-encoder on this machine, or none.

    Raises ModelError for a name that is not on this machine.
    """
    if settings.reader == NONE:
        return None
    if settings.reader == BUNDLED:
        from embeddings.reader import Reader

        return Reader(settings.model_home)
    from embeddings.crossencoder import CrossEncoderReader

    return CrossEncoderReader(settings.reader)


def read(retrieval: Retrieval, reader: Reads) -> Retrieval:
    """The retrieval with the readings of its best passages, in the order of what retriever and reader say together.

    The two orders are fused by reciprocal ranks (Cormack et al., SIGIR 2009) with a small constant, so that the first
    places count most.
    """
    passages = retrieval.passages[:READ]
    shown = [readable_passage(p) for p in passages]
    found = reader.read(retrieval.query.text, [(s.heading, s.text, s.places) for s in shown])
    reads = {p.chunk: Read(s.clauses, r) for p, s, r in zip(passages, shown, found, strict=True)}
    by_reader = sorted(range(len(found)), key=lambda i: -found[i].relevance)
    place = {i: rank for rank, i in enumerate(by_reader)}
    order = sorted(range(len(found)), key=lambda i: -(1 / (_FUSION + i) + 1 / (_FUSION + place[i])))
    rest = retrieval.passages[READ:]
    return replace(retrieval, passages=(*(passages[i] for i in order), *rest), reads=reads)
