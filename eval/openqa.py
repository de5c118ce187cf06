"""Open question answering: part of the paragraphs are withheld, and their questions must be refused.

The other questions must be answered from the right paragraph, and no question says which that is.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embeddings.encoder import SentenceEncoder
from eval import metrics
from eval.datasets import (
    Answerer,
    DatasetError,
    Paragraph,
    ParagraphQuestion,
    Progress,
    QueryMemory,
    knowledge_base,
    read_paragraphs,
    read_questions,
    sample,
)
from rag.chain import Chain
from rag.config import Settings
from rag.ingest import sentence_encoder
from rag.lexicon import natural
from rag.records import Answer, Question
from rag.retrieve import HybridRetriever
from rag.store import Store

LENGTH = 400  # characters of an answer in which the accepted words must stand
THRESHOLDS = tuple(i / 100 for i in range(0, 101, 5))

MakeChain = Callable[[Store, SentenceEncoder, Settings], Answerer]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One question and what became of it."""

    question: ParagraphQuestion
    answerable: bool
    answer: Answer


def youju(store: Store, encoder: SentenceEncoder, settings: Settings) -> Answerer:
    """The project's own chain."""
    return Chain(HybridRetriever(store=store, encoder=encoder), settings)


def run(
    paragraphs: Path,
    questions: Path,
    settings: Settings,
    withheld: float = 0.5,
    seed: int = 0,
    limit: int | None = None,
    progress: Progress | None = None,
    encoder: SentenceEncoder | None = None,
    make_chain: MakeChain = youju,
) -> dict[str, Any]:
    """Ask the questions (``limit`` of them) of a knowledge base that lacks a share ``withheld`` of the texts.

    ``{"metrics": {measure: estimate}, "curve": […], "settings": …}``. Over the questions whose text is there,
    one that is refused counting as not answered:

    - ``answer@400``: an accepted answer stands in the first 400 characters, white space removed, simplified;
    - ``exact``, ``f1``: those of CMRC 2018, of the sentence of the answer that has the best F1;
    - ``cited_first``: the first citation is in the right document;
    - ``false_refusals``: the question is refused.

    ``refusals`` is the share refused of the questions whose text is withheld. Raises DatasetError or PathError
    for the files.
    """
    texts = read_paragraphs(paragraphs)
    found = read_questions(questions, texts)
    asked = sample(found, limit)
    kept = _kept(texts, withheld, seed)
    encoder = QueryMemory(encoder or sentence_encoder(settings))
    with knowledge_base(kept, encoder, progress) as store:
        chain = make_chain(store, encoder, settings)
        outcomes = answered(chain, asked, {paragraph.id for paragraph in kept}, progress)
    return {
        "metrics": _estimates(outcomes),
        "curve": curve(outcomes),
        "settings": {
            "paragraphs": len(texts),
            "kept": len(kept),
            "questions": len(asked),
            "blank_questions": sum(question.blank for question in found),  # not asked
            "withheld": withheld,
            "seed": seed,
            "refuse_below": settings.refuse_below,
            "engine": outcomes[0].answer.engine,
            "model": encoder.identity,
        },
    }


def answered(
    chain: Answerer,
    questions: Sequence[ParagraphQuestion],
    kept: set[str],
    progress: Progress | None = None,
) -> list[Outcome]:
    """The chain's answers."""
    outcomes = []
    for done, question in enumerate(questions, 1):
        answer = chain.invoke(Question(question.text))
        outcomes.append(Outcome(question, question.paragraph in kept, answer))
        if progress:
            progress("answer", done, len(questions))
    return outcomes


def measures(outcome: Outcome) -> dict[str, float]:
    """The measures that apply to one question."""
    answer, question = outcome.answer, outcome.question
    if not outcome.answerable:
        return {"refusals": float(answer.refused)}
    if answer.refused:
        return {"answer@400": 0.0, "exact": 0.0, "f1": 0.0, "cited_first": 0.0, "false_refusals": 1.0}
    exact, f1 = _best_sentence(answer, question.answers)
    cited = bool(answer.citations) and answer.citations[0].document == question.paragraph
    return {
        "answer@400": float(holds(said(answer), question.answers)),
        "exact": exact,
        "f1": f1,
        "cited_first": float(cited),
        "false_refusals": 0.0,
    }


def said(answer: Answer) -> str:
    """The sentences of an answer, without citation marks."""
    return "".join(sentence.text for sentence in answer.sentences)


def holds(text: str, answers: Sequence[str], length: int = LENGTH) -> bool:
    """Whether one of the answers stands in the first ``length`` characters, both simplified and squeezed."""
    start = _comparable(text)[:length]
    return any(_comparable(answer) in start for answer in answers)


def curve(outcomes: Sequence[Outcome], thresholds: Sequence[float] = THRESHOLDS) -> list[dict[str, Any]]:
    """What other thresholds on the confidence would refuse; empty for a chain that gives no confidence."""
    pairs = [(o.answer.confidence, o.answerable) for o in outcomes]
    known = [(confidence, answerable) for confidence, answerable in pairs if confidence is not None]
    if len(known) < len(pairs):
        return []
    return [
        {"threshold": threshold, **found.as_json()}
        for threshold, found in metrics.refusal_curve(known, thresholds)
    ]


def _kept(texts: Sequence[Paragraph], withheld: float, seed: int) -> list[Paragraph]:
    """A random share of the paragraphs, in their order."""
    count = len(texts) - round(withheld * len(texts))
    if not 0 <= withheld < 1 or not count:
        raise DatasetError(
            f"withheld 是 {withheld}, 没有留下的段落 (no paragraph is left)", "给 [0, 1) 的数 (less than 1)"
        )
    chosen = set(random.Random(seed).sample(range(len(texts)), count))
    return [text for i, text in enumerate(texts) if i in chosen]


def _estimates(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    values: dict[str, list[float]] = {}
    for outcome in outcomes:
        for name, value in measures(outcome).items():
            values.setdefault(name, []).append(value)
    found = {name: metrics.mean_interval(column) for name, column in values.items()}
    return {name: estimate.as_json() for name, estimate in found.items() if estimate}


def _best_sentence(answer: Answer, answers: Sequence[str]) -> tuple[float, float]:
    """Exact match and F1 of the sentence with the best F1."""
    wanted = [natural(text) for text in answers]
    scores = [
        (metrics.cmrc_f1(text, wanted) or 0.0, metrics.cmrc_em(text, wanted) or 0.0)
        for text in (natural(sentence.text) for sentence in answer.sentences)
    ]
    f1, exact = max(scores, default=(0.0, 0.0))
    return exact, f1


def _comparable(text: str) -> str:
    return re.sub(r"\s", "", natural(text))
