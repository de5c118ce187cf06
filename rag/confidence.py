"""How sure it is that the passages hold an answer, from several signals at once.

A logistic model over the best chunk's cosine, the best cosine among sentences of the form that the question
asks for, and the share of the question's specific words that one passage covers. The weights of the cosines
were fitted on DRCD test questions of which half had their paragraph withheld (CC BY-SA 3.0; no text of it is
here) and on the sample's questions; the weight of the coverage was lowered from that fit, since people ask
policy texts in words of their own more often than an encyclopedia. docs/evaluation.md has the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp

from rag.intent import Intent
from rag.lexicon import tokens
from rag.records import Passage
from rag.retrieve import Query, Retrieval

_INTERCEPT = -46.82  # puts the default threshold of refusal at 0.5
_CHUNK, _FORM, _COVERAGE = 36.4, 15.0, 3.0
_UNKNOWN = 0.4  # weight of a word that no document holds, against that of the rarest known one
_LOOK_AT = 12
_NO_FORM = 0.75  # cosine taken where no sentence has the form asked for: that of unrelated text


@dataclass(frozen=True, slots=True)
class Signals:
    """What speaks for an answer: cosines, and a share in [0, 1]."""

    chunk: float
    form: float
    coverage: float

    @property
    def confidence(self) -> float:
        """In [0, 1]: 0.5 and more where an answer is to be expected."""
        score = _INTERCEPT + _CHUNK * self.chunk + _FORM * self.form + _COVERAGE * self.coverage
        return 1 / (1 + exp(-score))


def signals(retrieval: Retrieval, intent: Intent) -> Signals:
    """The signals of the best passages; all zero where nothing was found."""
    passages = retrieval.passages[:_LOOK_AT]
    if not passages:
        return Signals(0.0, 0.0, 0.0)
    fitting = [
        similarity
        for passage in passages
        for span, similarity in zip(passage.sentences, passage.similarities, strict=True)
        if intent.fits(passage.text[span.start - passage.start : span.end - passage.start])
    ]
    return Signals(
        chunk=max(p.signals.get("dense", 0.0) for p in passages),
        form=max(fitting, default=_NO_FORM),
        coverage=max(_coverage(retrieval.query, evidence) for evidence in _units(passages, intent)),
    )


def _units(passages: Sequence[Passage], intent: Intent) -> list[list[Passage]]:
    """What may answer on its own: a passage, or for a question after an article all its passages."""
    if intent.kind != "locate":
        return [[p] for p in passages[:5]]
    articles: dict[int, list[Passage]] = {}
    for passage in passages:
        articles.setdefault(passage.article.id, []).append(passage)
    return list(articles.values())


def _coverage(query: Query, passages: Sequence[Passage]) -> float:
    """The share of the weight of the question's terms that the passages and their headings hold."""
    found = {t for p in passages for t in tokens(" ".join((p.article.title, *p.section, p.text)))}
    weights = {
        term: query.weights[term] * (_UNKNOWN if term in query.unknown else 1.0)
        for term in query.terms
        if term in query.weights
    }
    total = sum(weights.values())
    return sum(weight for term, weight in weights.items() if term in found) / total if total else 0.0
