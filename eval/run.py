"""Cases through a chain -> a result: figures with intervals, every case's answer, and what produced them.

Only the public chain is called, ``invoke({"question", "history"})``; it gives an ``Answer``, or a mapping in the
shape of ``youju ask --json``. So any other chain can stand in for the project's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from eval.cases import TYPES, GoldCase, Library
from eval.metrics import RESAMPLES, SEED, Entails, Place, lexical_entails
from eval.score import Figures, recall_curve, refusal_curve, score_case, summarise
from rag.errors import FormatError, PathError
from rag.records import Answer

Json = dict[str, Any]
Progress = Callable[[int, int], None]

_ANSWER_KEYS = ("answer", "refused", "citations", "retrieved")
_PLACE_KEYS = ("document", "start", "end")


class Answers(Protocol):
    """What is evaluated: a question, with the earlier turns, to an answer."""

    def invoke(self, question: Any, /) -> Answer | Mapping[str, Any]: ...


def _silent(done: int, total: int) -> None:
    pass


def evaluate(
    chain: Answers,
    gold: Sequence[GoldCase],
    library: Library,
    settings: Mapping[str, Any],
    journal: Path | None = None,
    progress: Progress = _silent,
    entails: Entails = lexical_entails,
) -> Json:
    """The result of a run: ``{metrics, by_type, recall_curve, refusal_curve, cases, settings}``.

    ``settings`` says what produced it. Answers are written to ``journal`` as they come; a run that finds there the
    answers of an interrupted one with the same settings goes on from them, and removes the file when it is done.
    """
    answers = _answers(chain, gold, settings, journal, progress)
    pairs = [(one, answers[one.case.id]) for one in gold]
    figures = [score_case(one, answer, library, entails) for one, answer in pairs]
    result = {
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
    if journal:
        journal.unlink(missing_ok=True)
    return result


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
    journal: Path | None,
    progress: Progress,
) -> dict[str, Json]:
    """An answer for each case, by id."""
    head = json.dumps({"settings": settings}, ensure_ascii=False, sort_keys=True)
    answers = _resumed(journal, head)
    with _opened(journal, head, answers) as write:
        for done, one in enumerate(gold):
            progress(done, len(gold))
            if one.case.id not in answers:
                answers[one.case.id] = _as_json(chain.invoke(one.case.as_question()), one.case.id)
                write({"id": one.case.id, "answer": answers[one.case.id]})
        progress(len(gold), len(gold))
    return answers


def _as_json(answer: Answer | Mapping[str, Any], key: str) -> Json:
    """The answer in the shape of ``Answer.as_json``; raises FormatError where a chain gives something else."""
    found = answer.as_json() if isinstance(answer, Answer) else dict(answer)
    missing = [name for name in _ANSWER_KEYS if name not in found]
    for kind, keys in (("citations", (*_PLACE_KEYS, "n", "quote", "article")), ("retrieved", _PLACE_KEYS)):
        missing += [f"{kind}.{name}" for row in found.get(kind, ()) for name in keys if name not in row]
    if missing:
        raise FormatError(
            f"{key} 的答案缺少 {missing[0]} (the chain's answer to it lacks this)",
            "返回 Answer 或同 youju ask --json 的形式 (return an Answer, or the shape of youju ask --json)",
        )
    return found


def _resumed(journal: Path | None, head: str) -> dict[str, Json]:
    """The answers of an interrupted run with the same settings; a line that was cut off is left out."""
    if journal is None or not journal.is_file():
        return {}
    first, *rest = journal.read_bytes().split(b"\n")
    if first.decode("utf-8", "replace") != head:
        return {}
    answers: dict[str, Json] = {}
    for line in rest:
        try:
            row = json.loads(line)
        except ValueError:
            break
        answers[row["id"]] = row["answer"]
    return answers


@contextmanager
def _opened(journal: Path | None, head: str, answers: Mapping[str, Json]) -> Iterator[Callable[[Json], None]]:
    """A function that adds a line to the journal, which begins with the settings and the answers so far."""
    if journal is None:
        yield lambda row: None
        return
    try:
        file = journal.open("w", encoding="utf-8", newline="\n")
    except OSError as error:
        raise PathError(
            f"无法写入 (cannot write): {journal} ({error.strerror})", "检查路径和权限 (check the path)"
        ) from None
    with file:
        file.write(head + "\n")
        for key, answer in answers.items():
            _append(file, {"id": key, "answer": answer})
        yield lambda row: _append(file, row)


def _append(file: IO[str], row: Json) -> None:
    file.write(json.dumps(row, ensure_ascii=False) + "\n")
    file.flush()
