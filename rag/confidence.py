"""How sure it is that the passages hold an answer, from several signals at once.

Two logistic models: over what the rules see (cosines, words, form, figures), and over that together with what the
trained reader says. ``benchmarks/calibrate.py`` fits their weights, on questions about the documents in
samples/training, which are no part of any evaluation; docs/evaluation.md has the figures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from math import exp

from rag.fold import squeeze
from rag.intent import Intent
from rag.lexicon import fold, tokens
from rag.markers import han_number
from rag.records import Passage
from rag.retrieve import Query, Retrieval

RULES: Mapping[str, float] = {"intercept": -46.82, "chunk": 36.4, "form": 15.0, "coverage": 3.0}
READER: Mapping[str, float] = {"intercept": 0.0, "answers": 1.0}
_UNKNOWN = 0.4  # weight of a word that no document holds, against that of the rarest known one
_LOOK_AT = 12
_NEAR = 5  # passages whose words and figures are compared with the question's
_NO_FORM = 0.75  # cosine taken where no sentence has the form asked for: that of unrelated text

_QUOTED = re.compile(r"[“\"「『《‘]([^”\"」』》’]{2,16})[”\"」』》’]")
_NUMERAL = r"(?:[一二两三四五六七八九十百]{1,4}|\d{1,5})"
_COUNTED = re.compile(rf"({_NUMERAL})(?:[个项名条种类张步大起位级家只支处次句件]|个?)([\u4e00-\u9fff]{{2}})")


@dataclass(frozen=True, slots=True)
class Signals:
    """What speaks for an answer, and against. Shares and cosines are in [0, 1], ``answers`` is a logit."""

    chunk: float  # cosine of the best chunk
    form: float  # the best cosine among sentences that have the form asked for
    coverage: float  # share of the question's specific words that one passage holds with its headings
    unknown: float = 0.0  # share of the question's specific words that no document holds
    unquoted: float = 0.0  # share of what the question quotes that no near passage holds
    miscounted: float = 0.0  # 1 if the passages number otherwise what the question numbers
    answers: float | None = None  # the reader's best passage: that it answers rather than not
    read_coverage: float = 0.0  # share of the specific words that this passage holds
    read_fits: float = 0.5  # whether what it would answer has the form asked for; 0.5: no form is asked for

    @property
    def confidence(self) -> float:
        """In [0, 1]: 0.5 and more where an answer is to be expected."""
        weights = RULES if self.answers is None else READER
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        score = weights["intercept"] + sum(w * values[n] for n, w in weights.items() if n != "intercept")
        return 1 / (1 + exp(-max(-50.0, min(50.0, score))))


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
    total = sum(words.values())
    near = squeeze(fold(" ".join(map(_with_headings, passages[:_NEAR]))))[0]
    answers, read_coverage, read_fits = _read(retrieval, intent)
    if intent.kind in ("locate", "compare"):  # the reader learned to answer from one passage
        answers = None
    return Signals(
        chunk=max(p.signals.get("dense", 0.0) for p in passages),
        form=max(fitting, default=_NO_FORM),
        coverage=max(_coverage(words, evidence) for evidence in _units(passages, intent)),
        unknown=sum(w for t, w in words.items() if t in query.unknown) / total if total else 0.0,
        unquoted=_unquoted(query.text, near),
        miscounted=_miscounted(query.text, near),
        answers=answers,
        read_coverage=read_coverage,
        read_fits=read_fits,
    )


def _read(retrieval: Retrieval, intent: Intent) -> tuple[float | None, float, float]:
    """What the reader says of the passage that answers best by its lights."""
    read = [(retrieval.reads[p.chunk], p) for p in retrieval.passages if p.chunk in retrieval.reads]
    if not read:
        return None, 0.0, 0.5
    best, passage = max(read, key=lambda pair: pair[0].reading.answers)
    first, last, _ = best.reading.run(0, len(best.clauses))
    start, end = best.clauses[first].start - passage.start, best.clauses[last - 1].end - passage.start
    fits = 0.5 if intent.form is None else float(intent.fits(passage.text[start:end]))
    return best.reading.answers, _coverage(_specific(retrieval.query), [passage]), fits


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
    found = {t for p in passages for t in tokens(_with_headings(p))}
    total = sum(words.values())
    return sum(weight for term, weight in words.items() if term in found) / total if total else 0.0


def _with_headings(passage: Passage) -> str:
    return " ".join((passage.article.title, *passage.section, passage.text))


def _unquoted(question: str, near: str) -> float:
    """The share of the question's quotations that the text ``near``, folded and squeezed, does not hold."""
    quoted = [squeeze(fold(m[1]))[0] for m in _QUOTED.finditer(question)]
    return sum(q not in near for q in quoted) / len(quoted) if quoted else 0.0


def _miscounted(question: str, near: str) -> float:
    """1 if the question numbers a thing (四个维度) that the text numbers, but never so (三个维度)."""
    counts: dict[str, set[int | None]] = {}
    for match in _COUNTED.finditer(near):
        counts.setdefault(match[2], set()).add(han_number(match[1]))
    asked = [(m[2], han_number(m[1])) for m in _COUNTED.finditer(fold(question))]
    return float(any(noun in counts and number not in counts[noun] for noun, number in asked))
