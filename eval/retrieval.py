"""Open retrieval: every paragraph is searched for every question, and one of them is right.

A paragraph's rank is that of its first passage, passages of the same paragraph counting once. The measures
are those of ``eval.metrics`` with one gold item for each question.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from embeddings.encoder import SentenceEncoder
from eval import metrics
from eval.datasets import (
    ParagraphQuestion,
    Progress,
    QueryMemory,
    knowledge_base,
    read_paragraphs,
    read_questions,
    sample,
)
from rag.config import Settings
from rag.ingest import sentence_encoder
from rag.records import Mode, Question
from rag.retrieve import DEPTH, HybridRetriever
from rag.store import Store

CUTS = (1, 5, 10, 20)
PASSAGES = 4 * DEPTH  # all that the four rankings can bring

Values = dict[str, list[float | None]]  # by measure, a value for each question


def run(
    paragraphs: Path,
    questions: Path,
    settings: Settings,
    limit: int | None = None,
    progress: Progress | None = None,
    encoder: SentenceEncoder | None = None,
) -> dict[str, Any]:
    """Each retriever's measures over the questions (``limit`` of them), and what fusing them brings.

    ``{"retrievers": {name: {measure: estimate}}, "differences": {"hybrid - dense": …}, "settings": …}``;
    a difference is paired: the same questions, both retrievers. Raises DatasetError or PathError for the files.
    """
    texts = read_paragraphs(paragraphs)
    found = read_questions(questions, texts)
    asked = sample(found, limit)
    encoder = QueryMemory(encoder or sentence_encoder(settings))
    with knowledge_base(texts, encoder, progress) as store:
        values = {mode: measure(store, encoder, mode, asked, progress) for mode in get_args(Mode)}
        passages = store.count("chunks")
    return {
        "retrievers": {mode: _estimates(columns) for mode, columns in values.items()},
        "differences": {
            f"hybrid - {part}": _differences(values["hybrid"], values[part]) for part in ("dense", "lexical")
        },
        "settings": {
            "paragraphs": len(texts),
            "passages": passages,
            "questions": len(asked),
            "blank_questions": sum(question.blank for question in found),  # not asked
            "depth": DEPTH,
            "seed": metrics.SEED,
            "model": encoder.identity,
        },
    }


def measure(
    store: Store,
    encoder: SentenceEncoder,
    mode: Mode,
    questions: Sequence[ParagraphQuestion],
    progress: Progress | None = None,
) -> Values:
    """The measures of one retriever for each question."""
    retriever = HybridRetriever(store=store, encoder=encoder, mode=mode)
    values: Values = {}
    for done, question in enumerate(questions, 1):
        passages = retriever.retrieve(Question(question.text), PASSAGES).passages
        ranked = list(dict.fromkeys(passage.document for passage in passages))
        for name, value in measures(ranked, question.paragraph).items():
            values.setdefault(name, []).append(value)
        if progress:
            progress(mode, done, len(questions))
    return values


def measures(ranked: Sequence[str], gold: str) -> dict[str, float | None]:
    """The measures of one question, from the paragraphs in rank order."""
    gains = metrics.gains_of_ids(ranked, {gold})
    return {
        **{f"recall@{k}": metrics.recall_at(gains, 1, k) for k in CUTS},
        "mrr@10": metrics.reciprocal_rank(gains, 1, 10),
        "ndcg@10": metrics.ndcg(gains, 1, 10),
        "failure@20": metrics.failure_at(gains, 1, 20),
    }


def _estimates(values: Values) -> dict[str, Any]:
    found = {name: metrics.mean_interval(column) for name, column in values.items()}
    return {name: estimate.as_json() for name, estimate in found.items() if estimate}


def _differences(new: Values, old: Values) -> dict[str, Any]:
    found = {name: metrics.paired_difference(column, old[name]) for name, column in new.items()}
    return {name: estimate.as_json() for name, estimate in found.items() if estimate}
