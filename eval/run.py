"""Cases through a chain -> a result: figures with intervals, every case's answer, and what produced them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from eval import journal
from eval.cases import TYPES, GoldCase, Library
from eval.chains import Answers, Json, ask
from eval.metrics import RESAMPLES, SEED, Entails, Place, lexical_entails
from eval.score import Figures, recall_curve, refusal_curve, score_case, summarise

Progress = Callable[[int, int], None]


def _silent(done: int, total: int) -> None:
    pass


def evaluate(
    chain: Answers,
    gold: Sequence[GoldCase],
    library: Library,
    settings: Mapping[str, Any],
    out: Path | None = None,
    progress: Progress = _silent,
    entails: Entails = lexical_entails,
) -> Json:
    """The result of a run: ``{metrics, by_type, recall_curve, refusal_curve, cases, settings}``.

    ``settings`` says what produced it. Answers are kept in a journal beside ``out``, where the result will be
    written: a run that finds there those of an interrupted one with the same settings goes on from them.
    """
    answers = _answers(chain, gold, settings, out, progress)
    pairs = [(one, answers[one.case.id]) for one in gold]
    figures = [score_case(one, answer, library, entails) for one, answer in pairs]
    return {
        "metrics": _estimates(figures),
        "by_type": {
            kind: _estimates([f for one, f in zip(gold, figures, strict=True) if one.case.type == kind])
            for kind in TYPES
            if any(one.case.type == kind for one in gold)
        },
        "recall_curve": recall_curve(pairs),
        "refusal_curve": refusal_curve(pairs),
        "cases": [
            _row(one, answer, figure, library) for (one, answer), figure in zip(pairs, figures, strict=True)
        ],
        "settings": {**settings, "resamples": RESAMPLES, "seed": SEED, "confidence_level": 0.95},
    }


def _estimates(figures: Sequence[Figures]) -> Json:
    return {
        name: {key: round(value, 6) for key, value in estimate.as_json().items()}
        for name, estimate in summarise(figures).items()
    }


def _row(one: GoldCase, answer: Json, figures: Figures, library: Library) -> Json:
    """All that a report shows of a case."""
    case = one.case
    return {
        "id": case.id,
        "type": case.type,
        "question": case.question,
        "history": case.as_question()["history"],
        "key_points": case.key_points,
        "articles": [_article(place, library) for place in one.articles],
        "gold": [_evidence(place, library) for place in one.evidence],
        "answer": {key: value for key, value in answer.items() if key != "retrieved"},
        "retrieved": answer["retrieved"],
        "metrics": figures,
    }


def _article(place: Place, library: Library) -> Json:
    article = library.article_at(place.document, place.start)
    assert article is not None  # the places of articles come from the library
    return {
        "document": place.document,
        "number": article.number,
        "title": article.title,
        "start": place.start,
        "end": place.end,
    }


def _evidence(place: Place, library: Library) -> Json:
    article = library.article_at(place.document, place.start)
    return {
        "document": place.document,
        "article": article.number if article else None,
        "start": place.start,
        "end": place.end,
        "text": library.text(place),
    }


# -- answering, resumably -----------------------------------------------------------------------------------


def _answers(
    chain: Answers,
    gold: Sequence[GoldCase],
    settings: Mapping[str, Any],
    out: Path | None,
    progress: Progress,
) -> dict[str, Json]:
    """An answer for each case, by id."""
    answers: dict[str, Json] = {}
    with journal.opened(out, settings) as known:
        for done, one in enumerate(gold):
            progress(done, len(gold))
            key, question = one.case.id, one.case.as_question()
            answers[key] = known.remembered(key, partial(ask, chain, question, key))
        progress(len(gold), len(gold))
    return answers
