"""How sure it is that the passages hold an answer, from several signals at once.

A logistic model over the best chunk's cosine, the best cosine among sentences of the form that the question asks for,
the share of the question's specific words that one passage covers, figures that contradict the question's, and what the
trained reader says. The weights of the cosines were fitted on DRCD test questions of which half had their paragraph
withheld (CC BY-SA 3.0; no text of it is here) and on the sample's questions; the weight of the coverage was lowered from
that fit, since people ask policy texts in words of their own more often than an encyclopedia. ``benchmarks/calibrate.py``
weighs the reader against them on documents that it was not trained on. docs/evaluation.md has the figures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp

from rag.fold import squeeze
from rag.intent import Intent
from rag.lexicon import fold, tokens
from rag.markers import han_number
from rag.records import Passage
from rag.retrieve import Query, Retrieval

# The intercepts put the default threshold of refusal at 0.5.
RULES: Mapping[str, float] = {
    "intercept": -46.82,
    "chunk": 36.4,
    "form": 15.0,
    "coverage": 3.0,
    "miscounted": -1.0,
}
READER: Mapping[str, float] = {**RULES, "intercept": -45.32, "answers": 0.7}
_UNKNOWN = 0.4  # weight of a word that no document holds, against that of the rarest known one
_LOOK_AT = 12
_NEAR = 5  # passages whose words and figures are compared with the question's
_NO_FORM = 0.75  # cosine taken where no sentence has the form asked for: that of unrelated text

_NUMERAL = r"(?:[一二两三四五六七八九十百]{1,4}|\d{1,5})"
_COUNTED = re.compile(rf"({_NUMERAL})(?:[个项名条种类张步大起位级家只支处次句件]|个?)([\u4e00-\u9fff]{{2}})")


@dataclass(frozen=True, slots=True)
class Signals:
    """What speaks for an answer, and against. Shares and cosines are in [0, 1], ``answers`` is a logit."""

    chunk: float  # cosine of the best chunk
    form: float  # the best cosine among sentences that have the form asked for
    coverage: float  # share of the question's specific words that one passage holds with its headings
    miscounted: float = 0.0  # 1 if the passages number otherwise what the question numbers
    answers: float | None = None  # the reader's best passage: that it answers rather than not

    @property
    def logit(self) -> float:
        """The weighted sum of the signals: 0 and more where an answer is to be expected."""
        weights = RULES if self.answers is None else READER
        return weights["intercept"] + sum(
            w * getattr(self, n) for n, w in weights.items() if n != "intercept"
        )

    @property
    def confidence(self) -> float:
        """In [0, 1]: 0.5 and more where an answer is to be expected."""
        return 1 / (1 + exp(-max(-50.0, min(50.0, self.logit))))


def signals(retrieval: Retrieval, intent: Intent) -> Signals:
    """The signals of the best passages; all zero where nothing was found."""
    passages = retrieval.passages[:_LOOK_AT]
    if not passages:
        return Signals(0.0, 0.0, 0.0)
    query = retrieval.query
    fitting = [
        similarity
        for passage in passages
        for span, similarity in zip(passage.sentences, passage.similarities, strict=True)
        if intent.fits(passage.text[span.start - passage.start : span.end - passage.start])
    ]
    words = _specific(query)
    near = squeeze(fold(" ".join(map(_with_headings, passages[:_NEAR]))))[0]
    return Signals(
        chunk=_best_cosine(passages),
        form=max(fitting, default=_NO_FORM),
        coverage=max(_coverage(words, evidence) for evidence in _units(passages, intent)),
        miscounted=_miscounted(query.text, near),
        answers=_answers(retrieval),
    )


def _best_cosine(passages: Sequence[Passage]) -> float:
    """The best chunk's cosine, or where chunks were not ranked by it the best sentence's."""
    ranked = [p.signals["dense"] for p in passages if "dense" in p.signals]
    return max(ranked or [s for p in passages for s in p.similarities], default=0.0)


def _answers(retrieval: Retrieval) -> float | None:
    """What the reader says of the passage that answers best by its lights; None where none was read."""
    return max((one.reading.answers for one in retrieval.reads.values()), default=None)


def _units(passages: Sequence[Passage], intent: Intent) -> list[list[Passage]]:
    """What may answer on its own: a passage, or for a question after an article all its passages."""
    if intent.kind != "locate":
        return [[p] for p in passages[:_NEAR]]
    articles: dict[int, list[Passage]] = {}
    for passage in passages:
        articles.setdefault(passage.article.id, []).append(passage)
    return list(articles.values())


def _specific(query: Query) -> dict[str, float]:
    """The words that say what is asked about, with their weights."""
    return {
        term: query.weights[term] * (_UNKNOWN if term in query.unknown else 1.0)
        for term in query.terms
        if term in query.weights
    }


def _coverage(words: Mapping[str, float], passages: Iterable[Passage]) -> float:
    """The share of the words' weight that the passages and their headings hold."""
    found = set().union(*map(_words, passages))
    total = sum(words.values())
    return sum(weight for term, weight in words.items() if term in found) / total if total else 0.0


def _words(passage: Passage) -> set[str]:
    """The tokens of a passage and its headings, piece by piece, as ``rag.extract`` takes them too: they are kept."""
    pieces = [passage.text[s.start - passage.start : s.end - passage.start] for s in passage.sentences]
    return set(tokens(" ".join((passage.article.title, *passage.section)))).union(*map(tokens, pieces))


def _with_headings(passage: Passage) -> str:
    return " ".join((passage.article.title, *passage.section, passage.text))


def _miscounted(question: str, near: str) -> float:
    """1 if the question numbers a thing (四个维度) that the text numbers, but never so (三个维度)."""
    counts: dict[str, set[int | None]] = {}
    for match in _COUNTED.finditer(near):
        counts.setdefault(match[2], set()).add(han_number(match[1]))
    asked = [(m[2], han_number(m[1])) for m in _COUNTED.finditer(fold(question))]
    return float(any(noun in counts and number not in counts[noun] for noun, number in asked))
