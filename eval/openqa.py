"""Open question answering: part of the paragraphs are withheld, and their questions must be refused.

The other questions must be answered from the right paragraph, and no question says which that is.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from eval import metrics
from eval.bench import Bench, Progress, Run
from eval.chains import LENGTH, Answers, Json, ask
from eval.datasets import (
    DatasetError,
    Paragraph,
    ParagraphQuestion,
    read_paragraphs,
    read_questions,
    sample,
)
from rag.lexicon import natural

THRESHOLDS = tuple(i / 100 for i in range(0, 101, 5))


@dataclass(frozen=True, slots=True)
class Outcome:
    """One question and what became of it: the answer in the shape of ``Answer.as_json``."""

    question: ParagraphQuestion
    answerable: bool
    answer: Json


def run(
    paragraphs: Path,
    questions: Path,
    bench: Bench,
    withheld: float = 0.5,
    seed: int = 0,
    limit: int | None = None,
) -> Json:
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
    options = {
        "paragraphs": len(texts),
        "kept": len(kept),
        "questions": len(asked),
        "blank_questions": sum(question.blank for question in found),  # not asked
        "withheld": withheld,
        "seed": seed,
    }
    with bench.opened(kept, (paragraphs, questions), options) as opened:
        outcomes = answered(opened, asked, {paragraph.id for paragraph in kept}, bench.progress)
    return {"metrics": _estimates(outcomes), "curve": curve(outcomes), "settings": opened.about}


def answered(
    opened: Run, questions: Sequence[ParagraphQuestion], kept: set[str], progress: Progress
) -> list[Outcome]:
    """The chain's answers."""
    outcomes = []
    for done, question in enumerate(questions, 1):
        answer = opened.journal.remembered(question.id, partial(_asked, opened.chain, question))
        outcomes.append(Outcome(question, question.paragraph in kept, answer))
        progress("answer", done, len(questions))
    return outcomes


def _asked(chain: Answers, question: ParagraphQuestion) -> Json:
    """The answer without what was retrieved, which nothing here measures."""
    answer = ask(chain, {"question": question.text}, question.id)
    return {key: value for key, value in answer.items() if key != "retrieved"}


def measures(outcome: Outcome) -> dict[str, float]:
    """The measures that apply to one question."""
    answer, question = outcome.answer, outcome.question
    if not outcome.answerable:
        return {"refusals": float(answer["refused"])}
    if answer["refused"]:
        return {"answer@400": 0.0, "exact": 0.0, "f1": 0.0, "cited_first": 0.0, "false_refusals": 1.0}
    exact, f1 = _best_sentence(answer, question.answers)
    cited = [citation["document"] for citation in answer["citations"]]
    return {
        "answer@400": float(holds(said(answer), question.answers)),
        "exact": exact,
        "f1": f1,
        "cited_first": float(cited[:1] == [question.paragraph]),
        "false_refusals": 0.0,
    }


def said(answer: Json) -> str:
    """What an answer says, without citation marks where it comes in sentences."""
    return "".join(sentence["text"] for sentence in answer.get("sentences") or ()) or str(answer["answer"])


def holds(text: str, answers: Sequence[str], length: int = LENGTH) -> bool:
    """Whether one of the answers stands in the first ``length`` characters, both simplified and squeezed."""
    start = _comparable(text)[:length]
    return any(_comparable(answer) in start for answer in answers)


def curve(outcomes: Sequence[Outcome], thresholds: Sequence[float] = THRESHOLDS) -> list[dict[str, Any]]:
    """What other thresholds on the confidence would refuse; empty for a chain that gives no confidence."""
    pairs = [(o.answer.get("confidence"), o.answerable) for o in outcomes]
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


def _best_sentence(answer: Json, answers: Sequence[str]) -> tuple[float, float]:
    """Exact match and F1 of the sentence with the best F1."""
    wanted = [natural(text) for text in answers]
    sentences = [sentence["text"] for sentence in answer.get("sentences") or ()] or [answer["answer"]]
    scores = [
        (metrics.cmrc_f1(text, wanted) or 0.0, metrics.cmrc_em(text, wanted) or 0.0)
        for text in map(natural, sentences)
    ]
    f1, exact = max(scores, default=(0.0, 0.0))
    return exact, f1


def _comparable(text: str) -> str:
    return re.sub(r"\s", "", natural(text))
