"""What is measured: pure functions from places and strings to numbers, each with its formula and source.

A place is a span of a document, in code points. A value that does not apply is ``None``, never zero. Where two
sources define a measure differently, the docstring says which one is followed.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2_000
SEED = 0
_AT_ONCE = 100  # resamples in memory at a time
DENIALS = ("没有", "并未", "未提", "不符", "不是", "并非")  # words by which an answer rejects a premise

Entails = Callable[[str, str], bool]  # (premise, claim) -> whether the premise supports the claim


class Place(NamedTuple):
    """Characters ``[start, end)`` of a document."""

    document: str
    start: int
    end: int

    def overlap(self, other: Place) -> int:
        """Number of characters that both hold."""
        if self.document != other.document:
            return 0
        return max(0, min(self.end, other.end) - max(self.start, other.start))


# -- retrieval, in characters -------------------------------------------------------------------------------


def within_budget(passages: Iterable[Place], budget: int) -> list[Place]:
    """The first ``budget`` characters of the passages in rank order: whole ones, the last one cut."""
    kept: list[Place] = []
    for document, start, end in passages:
        if budget <= 0:
            break
        end = min(end, start + budget)
        kept.append(Place(document, start, end))
        budget -= end - start
    return kept


def covered(place: Place, places: Iterable[Place]) -> float:
    """The share of the place's characters that lie in any of ``places``."""
    document, start, end = place
    inside = (Place(d, max(s, start), min(e, end)) for d, s, e in places if d == document)
    return len(_characters(inside)) / (end - start) if end > start else 0.0


def evidence_recall(evidence: Sequence[Place], passages: Sequence[Place], budget: int) -> float | None:
    """Mean over the evidence of its share inside the first ``budget`` retrieved characters."""
    kept = within_budget(passages, budget)
    return fmean(covered(place, kept) for place in evidence) if evidence else None


# -- retrieval, in ranks ------------------------------------------------------------------------------------
# ``gains[i]`` is how many gold items the result at rank i + 1 brings that no result before it brought;
# ``total`` is how many gold items there are.


def gains_of_ids(ranked: Sequence[str], gold: Collection[str]) -> list[int]:
    """1 where a gold id stands for the first time, else 0."""
    seen: set[str] = set()
    found = []
    for key in ranked:
        found.append(int(key in gold and key not in seen))
        seen.add(key)
    return found


def gains_of_places(ranked: Sequence[Place], evidence: Sequence[Place], share: float = 0.5) -> list[int]:
    """Pieces of evidence that each passage is the first to hold, by at least ``share`` of their characters."""
    left = list(evidence)
    found = []
    for passage in ranked:
        missing = [e for e in left if passage.overlap(e) < share * (e.end - e.start)]
        found.append(len(left) - len(missing))
        left = missing
    return found


def recall_at(gains: Sequence[int], total: int, k: int) -> float | None:
    """Recall@k: the share of gold items among the first ``k`` results."""
    return sum(gains[:k]) / total if total else None


def failure_at(gains: Sequence[int], total: int, k: int = 20) -> float | None:
    """failure@k = 1 − recall@k (Anthropic, Introducing Contextual Retrieval, 2024: k = 20)."""
    recall = recall_at(gains, total, k)
    return None if recall is None else 1 - recall


def reciprocal_rank(gains: Sequence[int], total: int, k: int = 10) -> float | None:
    """RR@k: 1 / rank of the first result with a gold item, 0 where none is among the first ``k``.

    Its mean is MRR@k (Voorhees, TREC-8 Question Answering Track Report, 1999).
    """
    if not total:
        return None
    return next((1 / rank for rank, gain in enumerate(gains[:k], 1) if gain), 0.0)


def ndcg(gains: Sequence[int], total: int, k: int = 10) -> float | None:
    """nDCG@k = DCG@k / ideal DCG@k with DCG = Σ gain / log2(rank + 1) (Järvelin and Kekäläinen, 2002).

    The ideal order has the largest gains first, and each gold item never found in a result of its own.
    """
    if not total:
        return None
    ideal = sorted(gains, reverse=True) + [1] * (total - sum(gains))
    ideal.sort(reverse=True)
    return _dcg(gains[:k]) / _dcg(ideal[:k])


def _dcg(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))


# -- citations against gold evidence ------------------------------------------------------------------------


def citation_recall(evidence: Sequence[Place], cited: Sequence[Place]) -> float | None:
    """The share of the evidence of which at least half the characters are cited."""
    if not evidence:
        return None
    return fmean(covered(place, cited) >= 0.5 for place in evidence)


def citation_precision(evidence: Sequence[Place], cited: Sequence[Place]) -> float | None:
    """The share of citations that share at least 0.3 of the shorter's characters with a piece of evidence.

    0 for an answer that cites nothing where there is evidence.
    """
    if not evidence:
        return None
    if not cited:
        return 0.0
    return fmean(any(_meets(citation, place) for place in evidence) for citation in cited)


def _meets(citation: Place, evidence: Place) -> bool:
    shorter = min(citation.end - citation.start, evidence.end - evidence.start)
    # Two spans of the same document that lie apart have a negative overlap, which an empty citation must not reach.
    return citation.overlap(evidence) >= max(0.3 * shorter, 1e-9)


def character_precision(evidence: Sequence[Place], cited: Sequence[Place]) -> float | None:
    """The share of cited characters that are evidence; both are unions of spans. 0 if nothing is cited."""
    if not evidence:
        return None
    both, union = _characters(evidence) & _characters(cited), _characters(cited)
    return len(both) / len(union) if union else 0.0


def character_recall(evidence: Sequence[Place], cited: Sequence[Place]) -> float | None:
    """The share of evidence characters that are cited; both are unions of spans."""
    if not evidence:
        return None
    union = _characters(evidence)
    return len(union & _characters(cited)) / len(union)


def right_article(articles: Sequence[Place], cited: Sequence[Place]) -> float | None:
    """The share of citations that begin inside one of the gold articles. 0 if nothing is cited."""
    if not articles:
        return None
    if not cited:
        return 0.0
    return fmean(
        any(a.document == c.document and a.start <= c.start < a.end for a in articles) for c in cited
    )


def articles_cited(articles: Sequence[Place], cited: Sequence[Place]) -> float | None:
    """The share of the gold articles in which at least one citation begins: for questions over several."""
    if not articles:
        return None
    return fmean(
        any(a.document == c.document and a.start <= c.start < a.end for c in cited) for a in articles
    )


def f1(precision: float | None, recall: float | None) -> float | None:
    """2PR / (P + R); 0 where both are 0."""
    if precision is None or recall is None:
        return None
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _characters(places: Iterable[Place]) -> set[tuple[str, int]]:
    return {(document, at) for document, start, end in places for at in range(start, end)}


# -- citations in themselves --------------------------------------------------------------------------------


def exact(text: str | None, start: int, end: int, quote: str) -> bool:
    """Whether ``text[start:end]`` is the quote; ``text`` is ``None`` where the document is not there."""
    return text is not None and 0 <= start < end <= len(text) and text[start:end] == quote


def resolved(marks: Sequence[Sequence[int]], known: Collection[int]) -> float | None:
    """The share of citation marks (a list of numbers for each sentence) whose number is a citation's."""
    numbers = [n for sentence in marks for n in sentence]
    return fmean(n in known for n in numbers) if numbers else None


def supported(support: Sequence[str]) -> float | None:
    """The share of sentences whose support is not ``unsupported``."""
    return fmean(value != "unsupported" for value in support) if support else None


@dataclass(frozen=True, slots=True)
class Alce:
    """Citation recall and precision of one answer; ``None`` where there is no sentence."""

    recall: float | None
    precision: float | None


def alce(sentences: Sequence[tuple[str, Sequence[int]]], quotes: dict[int, str], entails: Entails) -> Alce:
    """Citation recall and precision as ALCE defines them (Gao et al., EMNLP 2023, section 4; arXiv 2305.14627).

    ``sentences`` are claims with the numbers they cite, ``quotes`` the cited texts by number.

    Recall: the share of sentences that all their cited texts together entail; a sentence without citation, or
    with a number that is not there, counts 0. Precision: the share of citations that are not irrelevant, where
    one is irrelevant if its text alone does not entail the sentence and the others without it still do; all
    citations of a sentence that is not entailed are wrong. ALCE's script leaves the citations of a sentence with
    an unknown number out of precision's denominator; here they are counted, as wrong. 0 if nothing is cited.
    """
    if not sentences:
        return Alce(None, None)
    entailed = right = total = 0
    for claim, numbers in sentences:
        cited = list(dict.fromkeys(numbers))
        total += len(cited)
        if not cited or any(n not in quotes for n in cited):
            continue
        if not entails("\n".join(quotes[n] for n in cited), claim):
            continue
        entailed += 1
        right += sum(_relevant(n, cited, quotes, claim, entails) for n in cited)
    return Alce(entailed / len(sentences), right / total if total else 0.0)


def _relevant(n: int, cited: list[int], quotes: dict[int, str], claim: str, entails: Entails) -> bool:
    others = [quotes[m] for m in cited if m != n]
    return not others or entails(quotes[n], claim) or not entails("\n".join(others), claim)


_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_CONTENT = re.compile(r"[^\W_]")


def lexical_entails(premise: str, claim: str, share: float = 0.8) -> bool:
    """Entailment without a model: the claim's numbers and ``share`` of its character pairs are in the premise.

    A stand-in for a model of natural language inference: it is strict with rewording and catches a changed
    number, a changed name and words of the answerer's own; it does not see a negation added in one character.
    """
    said, source = (unicodedata.normalize("NFKC", squeeze(text)) for text in (claim, premise))
    if not set(_NUMBER.findall(said)) <= set(_NUMBER.findall(source)):
        return False
    pairs, known = _pairs(said), set(_pairs(source))
    return not pairs or sum(pair in known for pair in pairs) >= share * len(pairs)


def _pairs(text: str) -> list[str]:
    content = "".join(_CONTENT.findall(text))
    return [content[i : i + 2] for i in range(len(content) - 1)]


# -- answers ------------------------------------------------------------------------------------------------


def squeeze(text: str) -> str:
    """The text without white space."""
    return re.sub(r"\s", "", text)


def key_point_recall(
    answer: str, key_points: Sequence[Sequence[str]], limit: int | None = None
) -> float | None:
    """The share of key points of which one alternative is in the answer, or in its first ``limit`` characters.

    White space is removed from both before comparing and counting.
    """
    if not key_points:
        return None
    text = squeeze(answer)[:limit]
    return fmean(any(squeeze(alternative) in text for alternative in point) for point in key_points)


def flags_premise(answer: str, refused: bool) -> bool:
    """Whether an answer to a question with a false premise refuses it or denies something."""
    return refused or any(word in answer for word in DENIALS)


# The characters that CMRC 2018's script drops. It also lists "……", which as two characters never matches one.
_CMRC_PUNCTUATION = frozenset("-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』")
_HAN = re.compile(r"[\u4e00-\u9fa5]")
_LATIN_TOKEN = re.compile(r"[^\W_]+(?:[.,'][^\W_]+)*|\S")


def cmrc_em(prediction: str, answers: Sequence[str]) -> float | None:
    """Exact match of CMRC 2018 (Cui et al., EMNLP 2019; cmrc2018_evaluate.py v5): equal to any answer.

    Both in lower case, without surrounding white space and without the script's punctuation.
    """
    if not answers:
        return None
    said = _cmrc_normalised(prediction)
    return float(any(said == _cmrc_normalised(answer) for answer in answers))


def cmrc_f1(prediction: str, answers: Sequence[str]) -> float | None:
    """F1 of CMRC 2018 (same script): over units, by their longest common run, the best of all answers.

    Units are single Chinese characters and words of other scripts; precision and recall are the length of the
    longest common contiguous run over the length of the prediction and of the answer. The script splits other
    scripts by NLTK; here, words and numbers stay whole and punctuation stands alone.
    """
    if not answers:
        return None
    said = _cmrc_units(prediction)
    return max(_run_f1(said, _cmrc_units(answer)) for answer in answers)


def _cmrc_normalised(text: str) -> str:
    return "".join(char for char in text.lower().strip() if char not in _CMRC_PUNCTUATION)


def _cmrc_units(text: str) -> list[str]:
    spaced = _HAN.sub(lambda match: f" {match[0]} ", _cmrc_normalised(text))
    return _LATIN_TOKEN.findall(spaced)


def _run_f1(said: Sequence[str], answer: Sequence[str]) -> float:
    common = longest_common_run(said, answer)
    return 2 * common / (len(said) + len(answer)) if common else 0.0


def longest_common_run(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest contiguous run of units that both hold."""
    best = 0
    row = [0] * (len(b) + 1)
    for unit in a:
        above = row
        row = [0] * (len(b) + 1)
        for j, other in enumerate(b, 1):
            if unit == other:
                row[j] = above[j - 1] + 1
                best = max(best, row[j])
    return best


# -- refusals -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Refusals:
    """Of questions that are, or are not, answered by the documents; absent where there are none."""

    recall: float | None  # of the unanswerable, how many are refused
    precision: float | None  # of the refused, how many are unanswerable
    false_refusals: float | None  # of the answerable, how many are refused

    def as_json(self) -> dict[str, float | None]:
        return {"recall": self.recall, "precision": self.precision, "false_refusals": self.false_refusals}


def refusals(outcomes: Sequence[tuple[bool, bool]]) -> Refusals:
    """From pairs ``(refused, answerable)``."""
    return Refusals(
        recall=_share([refused for refused, answerable in outcomes if not answerable]),
        precision=_share([not answerable for refused, answerable in outcomes if refused]),
        false_refusals=_share([refused for refused, answerable in outcomes if answerable]),
    )


def refusal_curve(
    outcomes: Sequence[tuple[float, bool]], thresholds: Sequence[float] | None = None
) -> list[tuple[float, Refusals]]:
    """What each threshold would refuse, from pairs ``(confidence, answerable)``: all below the threshold.

    Without ``thresholds``, 0 and every confidence that occurs, and one above them all.
    """
    if thresholds is None:
        seen = {confidence for confidence, _ in outcomes}
        thresholds = sorted({0.0, *seen, *((math.nextafter(max(seen), math.inf),) if seen else ())})
    return [
        (threshold, refusals([(confidence < threshold, answerable) for confidence, answerable in outcomes]))
        for threshold in thresholds
    ]


def _share(values: Sequence[bool]) -> float | None:
    return fmean(values) if values else None


# -- estimates ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure over ``n`` cases with its 95% confidence interval."""

    mean: float
    low: float
    high: float
    n: int

    def as_json(self) -> dict[str, float | int]:
        return {"mean": self.mean, "low": self.low, "high": self.high, "n": self.n}


Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]  # (…, n, columns) -> (…)


def _mean_of_first(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(rows[..., 0].mean(axis=-1))


def mean_interval(
    values: Iterable[float | bool | None], resamples: int = RESAMPLES, seed: int = SEED
) -> Estimate | None:
    """The mean of the values that apply, with its interval; ``None`` where none does."""
    rows = [(float(value),) for value in values if value is not None]
    return estimate(rows, _mean_of_first, resamples, seed)


def paired_difference(
    new: Sequence[float | None],
    old: Sequence[float | None],
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Estimate | None:
    """The mean of ``new[i] − old[i]`` over the cases where both apply, with its interval (paired bootstrap).

    Raises ValueError where the two are not of one length.
    """
    pairs = zip(new, old, strict=True)
    return mean_interval((a - b for a, b in pairs if a is not None and b is not None), resamples, seed)


def difference(
    new: Sequence[Sequence[float]],
    old: Sequence[Sequence[float]],
    statistic: Statistic,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Estimate | None:
    """``statistic(new) − statistic(old)`` where row i of both is the same case, with its interval (paired)."""
    rows = [(*a, *b) for a, b in zip(new, old, strict=True)]
    width = len(new[0]) if new else 0

    def between(table: NDArray[np.float64]) -> NDArray[np.float64]:
        return statistic(table[..., :width]) - statistic(table[..., width:])

    return estimate(rows, between, resamples, seed)


def estimate(
    rows: Sequence[Sequence[float]],
    statistic: Statistic,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Estimate | None:
    """A statistic over the cases (each a row) with its percentile bootstrap interval (Efron, 1979), 95%.

    Cases are drawn with replacement ``resamples`` times, seeded, so that the same cases give the same interval.
    """
    if not rows:
        return None
    table = np.asarray(rows, np.float64)
    random = np.random.default_rng(seed)
    drawn = [
        statistic(table[random.integers(0, len(table), (min(_AT_ONCE, resamples - done), len(table)))])
        for done in range(0, resamples, _AT_ONCE)
    ]
    low, high = np.quantile(np.concatenate(drawn), (0.025, 0.975))
    return Estimate(float(statistic(table)), float(low), float(high), len(table))
