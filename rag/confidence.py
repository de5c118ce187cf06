"""How sure it is that the passages hold an answer, from several signals at once.

A logistic model over the best chunk's cosine, the best cosine among sentences of the form that the question
asks for, and the share of the question's specific words that one passage covers. Its weights were fitted on
DRCD test questions of which half had their paragraph withheld (CC BY-SA 3.0; no text of it is here) and on the
sample's questions; docs/evaluation.md has the figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp

from rag.intent import Intent
from rag.lexicon import tokens
from rag.records import Passage
from rag.retrieve import Query, Retrieval

_INTERCEPT = -48.96
_CHUNK, _FORM, _COVERAGE = 36.39, 14.95, 5.54
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
        """The probability, in [0, 1], that the passages answer the question."""
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
        coverage=max(_coverage(retrieval.query, p) for p in passages[:5]),
    )


def _coverage(query: Query, passage: Passage) -> float:
    """The share of the weight of the question's terms that the passage and its headings hold."""
    found = set(tokens(" ".join((passage.article.title, *passage.section, passage.text))))
    weights = [(term in found, query.weights.get(term, 0.0)) for term in query.terms]
    total = sum(weight for _, weight in weights)
    return sum(weight for held, weight in weights if held) / total if total else 0.0
