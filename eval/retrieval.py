"""Open retrieval: every paragraph is searched for every question, and one of them is right.

A paragraph's rank is that of its first passage, passages of the same paragraph counting once. The measures
are those of ``eval.metrics`` with one gold item for each question.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_args

from eval import metrics
from eval.bench import Bench, Run
from eval.chains import OWN, ask
from eval.datasets import ParagraphQuestion, read_paragraphs, read_questions, sample
from rag.records import Mode, Question
from rag.retrieve import DEPTH, HybridRetriever

CUTS = (1, 5, 10, 20)
PASSAGES = 4 * DEPTH  # all that the four rankings can bring

Values = dict[str, list[float | None]]  # by measure, a value for each question


Rank = Callable[[str], Iterable[str]]  # a question to the paragraphs found, best first, maybe repeated


def run(paragraphs: Path, questions: Path, bench: Bench, limit: int | None = None) -> dict[str, Any]:
    """Each retriever's measures over the questions (``limit`` of them), and what fusing them brings.

    ``{"retrievers": {name: {measure: estimate}}, "differences": {"hybrid - dense": …}, "settings": …}``; a
    difference is paired: the same questions, both retrievers. Another chain than the project's own is one
    retriever of its own name. Raises DatasetError or PathError for the files.
    """
    texts = read_paragraphs(paragraphs)
    found = read_questions(questions, texts)
    asked = sample(found, limit)
    options = {
        "paragraphs": len(texts),
        "questions": len(asked),
        "blank_questions": sum(question.blank for question in found),  # not asked
        "depth": DEPTH,
    }
    with bench.opened(texts, (paragraphs, questions), options) as opened:
        ranks = _own(opened) if bench.name == OWN else {bench.name: partial(_retrieved, opened)}
        values = {name: _measured(opened, name, rank, asked, bench) for name, rank in ranks.items()}
        passages = opened.store.count("chunks")
    return {
        "retrievers": {name: _estimates(columns) for name, columns in values.items()},
        "differences": {
            f"hybrid - {part}": _differences(values["hybrid"], values[part])
            for part in ("dense", "lexical")
            if part in values
        },
        "settings": {**opened.about, "passages": passages},
    }


def _own(opened: Run) -> dict[str, Rank]:
    """The project's retrievers by name."""

    def ranked(retriever: HybridRetriever, question: str) -> Iterable[str]:
        return (p.document for p in retriever.retrieve(Question(question), PASSAGES).passages)

    modes: tuple[Mode, ...] = get_args(Mode)
    return {
        mode: partial(ranked, HybridRetriever(store=opened.store, encoder=opened.encoder, mode=mode))
        for mode in modes
    }


def _retrieved(opened: Run, question: str) -> Iterable[str]:
    """What a chain says it retrieved."""
    return (
        passage["document"] for passage in ask(opened.chain, {"question": question}, question)["retrieved"]
    )


def _measured(
    opened: Run, name: str, rank: Rank, questions: Sequence[ParagraphQuestion], bench: Bench
) -> Values:
    """The measures of one retriever for each question."""

    def of(question: ParagraphQuestion) -> dict[str, float | None]:
        return measures(list(dict.fromkeys(rank(question.text))), question.paragraph)

    values: Values = {}
    for done, question in enumerate(questions, 1):
        found = opened.journal.remembered(f"{name} {question.id}", partial(of, question))
        for measure, value in found.items():
            values.setdefault(measure, []).append(value)
        bench.progress(name, done, len(questions))
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
