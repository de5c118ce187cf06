"""An answer beside its gold case -> figures; many of them -> means with intervals, and two runs compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval import metrics
from eval.cases import GoldCase, Library
from eval.metrics import Entails, Estimate, Place, Statistic

Figures = dict[str, float]  # what applies to a case, by name
Json = Mapping[str, Any]

BUDGETS = (100, 200, 400, 600, 800, 1000, 1500, 2000, 3000, 4000)  # characters, for the plot
THRESHOLDS = tuple(round(step * 0.02, 2) for step in range(51))  # of confidence, for the plot


def score_case(gold: GoldCase, answer: Json, library: Library, entails: Entails) -> Figures:
    """The figures of an answer (in the shape of ``Answer.as_json``) that apply to its case."""
    found: dict[str, float | bool | None] = dict(_of_any(answer, library, entails))
    refused = bool(answer["refused"])
    if gold.case.type == "unanswerable":
        found["refusal"] = refused
    elif gold.case.type == "false_premise":
        found["false_premise_flagged"] = metrics.flags_premise(answer["answer"], refused)
    else:
        found["false_refusal"] = refused
        found |= dict(_of_retrieval(gold, [_place(passage) for passage in answer["retrieved"]]))
        found |= dict(_of_citations(gold, [_place(citation) for citation in answer["citations"]]))
        found["kp"] = metrics.key_point_recall(answer["answer"], gold.case.key_points)
        found["kp@400"] = metrics.key_point_recall(answer["answer"], gold.case.key_points, 400)
        found["chars"] = len(answer["answer"])
    if refused and gold.case.type != "false_premise":
        found["refusal_precision"] = gold.case.type == "unanswerable"
    return {name: round(float(value), 6) for name, value in found.items() if value is not None}


def _of_any(answer: Json, library: Library, entails: Entails) -> Iterator[tuple[str, float | bool | None]]:
    """What holds of every answer, whatever was asked."""
    citations = answer["citations"]
    yield "missing", False  # a case without an answer ends the run; kept for comparison with other scorers
    yield "citations", len(citations)
    if citations:
        right = [
            metrics.exact(library.texts.get(c["document"]), c["start"], c["end"], c["quote"])
            for c in citations
        ]
        yield "exact", sum(right) / len(right)
        placed = [_names_its_article(c, library) for c in citations]
        yield "placed", sum(placed) / len(placed)
    if answer.get("timings_ms"):
        yield "milliseconds", sum(answer["timings_ms"].values())
    sentences = answer.get("sentences") or ()
    if answer["refused"] or not sentences:
        return
    premises = {c["n"]: _premise(c) for c in citations}
    yield "resolved", metrics.resolved([s["citations"] for s in sentences], premises)
    yield "supported", metrics.supported([s["support"] for s in sentences])
    alce = metrics.alce([(s["text"], s["citations"]) for s in sentences], premises, entails)
    yield "alce_recall", alce.recall
    yield "alce_precision", alce.precision


def _premise(citation: Json) -> str:
    """What a citation shows: where it stands and its words (ALCE too gives the title before the passage)."""
    article = citation["article"]
    place = (article.get("title"), article.get("category"), *(citation.get("section") or ()))
    return "\n".join([*filter(None, place), citation["quote"]])


def _names_its_article(citation: Json, library: Library) -> bool:
    """Whether the article that a citation names holds the place that it gives."""
    article = library.article_at(citation["document"], citation["start"])
    return article is not None and article.number == citation["article"]["number"]


def _of_retrieval(gold: GoldCase, passages: Sequence[Place]) -> Iterator[tuple[str, float | bool | None]]:
    yield "recall@1000", metrics.evidence_recall(gold.evidence, passages, 1000)
    recall = metrics.evidence_recall(gold.evidence, passages, 2000)
    yield "recall@2000", recall
    yield "hit@2000", None if recall is None else recall >= 0.8
    gains, total = metrics.gains_of_places(passages, gold.evidence), len(gold.evidence)
    for k in (1, 5, 10, 20):
        yield f"passage_recall@{k}", metrics.recall_at(gains, total, k)
    yield "mrr@10", metrics.reciprocal_rank(gains, total)
    yield "ndcg@10", metrics.ndcg(gains, total)
    yield "failure@20", metrics.failure_at(gains, total)


def _of_citations(gold: GoldCase, cited: Sequence[Place]) -> Iterator[tuple[str, float | None]]:
    yield "cite_recall", metrics.citation_recall(gold.evidence, cited)
    yield "cite_precision", metrics.citation_precision(gold.evidence, cited)
    yield "cite_article", metrics.right_article(gold.articles, cited)
    yield "articles_cited", metrics.articles_cited(gold.articles, cited)
    yield "cite_char_precision", metrics.character_precision(gold.evidence, cited)
    yield "cite_char_recall", metrics.character_recall(gold.evidence, cited)


def _place(where: Json) -> Place:
    return Place(where["document"], where["start"], where["end"])


# -- over all cases -----------------------------------------------------------------------------------------


def _mean(table: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(table[..., 0].mean(axis=-1))


def _median(table: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.median(table[..., 0], axis=-1))


def _f1(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """F1 of the mean precision (first column) and the mean recall (second)."""
    precision, recall = table[..., 0].mean(axis=-1), table[..., 1].mean(axis=-1)
    total = precision + recall
    return np.asarray(2 * precision * recall / np.where(total > 0, total, 1))


def _weighted(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of the first column, each case counted as often as the second says: a mean over citations."""
    return np.asarray((table[..., 0] * table[..., 1]).sum(axis=-1) / table[..., 1].sum(axis=-1))


@dataclass(frozen=True, slots=True)
class Metric:
    """How a figure over all cases comes from the cases' figures ``of``."""

    name: str
    of: tuple[str, ...]
    statistic: Statistic
    better: int  # 1: more is better; -1: less; 0: neither

    def rows(self, figures: Sequence[Figures]) -> list[list[float]]:
        """The columns of the cases to which it applies."""
        return [[case[name] for name in self.of] for case in figures if self.applies(case)]

    def applies(self, case: Figures) -> bool:
        return all(name in case for name in self.of)


def _plain(*names: str, better: int = 1) -> list[Metric]:
    return [Metric(name, (name,), _mean, better) for name in names]


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *_plain("recall@1000", "recall@2000", "hit@2000"),
        *_plain(*(f"passage_recall@{k}" for k in (1, 5, 10, 20)), "mrr@10", "ndcg@10"),
        *_plain("failure@20", better=-1),
        *_plain("kp", "kp@400", "cite_recall", "cite_precision"),
        Metric("cite_f1", ("cite_precision", "cite_recall"), _f1, 1),
        *_plain("cite_article", "articles_cited", "cite_char_precision", "cite_char_recall"),
        Metric("cite_char_f1", ("cite_char_precision", "cite_char_recall"), _f1, 1),
        Metric("exact", ("exact", "citations"), _weighted, 1),
        Metric("placed", ("placed", "citations"), _weighted, 1),
        *_plain("resolved", "supported", "alce_recall", "alce_precision"),
        Metric("alce_f1", ("alce_precision", "alce_recall"), _f1, 1),
        *_plain("refusal", "refusal_precision"),
        *_plain("false_refusal", better=-1),
        *_plain("false_premise_flagged"),
        Metric("chars", ("chars",), _median, 0),
        *_plain("citations", better=0),
        *_plain("milliseconds", "missing", better=-1),
    )
}


def summarise(figures: Sequence[Figures]) -> dict[str, Estimate]:
    """Each metric over the cases to which it applies; one that applies to none is absent."""
    found = {name: metrics.estimate(m.rows(figures), m.statistic) for name, m in METRICS.items()}
    return {name: value for name, value in found.items() if value is not None}


def compare(new: Mapping[str, Figures], old: Mapping[str, Figures]) -> dict[str, Estimate]:
    """new − old for each metric over the cases (by id) that both runs hold and to which it applies in both."""
    shared = [(new[key], old[key]) for key in new if key in old]
    found: dict[str, Estimate] = {}
    for name, metric in METRICS.items():
        pairs = [(a, b) for a, b in shared if metric.applies(a) and metric.applies(b)]
        value = metrics.difference(
            metric.rows([a for a, _ in pairs]), metric.rows([b for _, b in pairs]), metric.statistic
        )
        if value is not None:
            found[name] = value
    return found


# -- curves -------------------------------------------------------------------------------------------------


def recall_curve(pairs: Sequence[tuple[GoldCase, Json]]) -> list[dict[str, float]]:
    """Mean evidence recall at growing budgets of retrieved characters."""
    found = [
        (gold.evidence, [_place(p) for p in answer["retrieved"]])
        for gold, answer in pairs
        if gold.case.answerable
    ]
    return [{"budget": budget, "recall": _mean_recall(found, budget)} for budget in BUDGETS if found]


def _mean_recall(found: Sequence[tuple[Sequence[Place], Sequence[Place]]], budget: int) -> float:
    recalls = (metrics.evidence_recall(evidence, passages, budget) for evidence, passages in found)
    return round(fmean(recall for recall in recalls if recall is not None), 6)


def refusal_curve(pairs: Sequence[tuple[GoldCase, Json]]) -> list[dict[str, float | None]]:
    """What the confidence alone would refuse at each threshold; [] where the chain gives no confidence."""
    outcomes = [
        (float(answer["confidence"]), gold.case.answerable)
        for gold, answer in pairs
        if gold.case.type != "false_premise" and answer.get("confidence") is not None
    ]
    if not outcomes:
        return []
    curve = metrics.refusal_curve(outcomes, THRESHOLDS)
    return [{"threshold": threshold, **found.as_json()} for threshold, found in curve]
