"""RGB's protocols in its own scoring (Chen et al., Benchmarking Large Language Models in Retrieval-Augmented
Generation, AAAI 2024; arXiv:2309.01431; rules as in its ``evalue.py``).

Each question is answered from five documents of its own, mixed of positive and negative ones. All questions'
documents are in one knowledge base, so that each is embedded once; a question sees only its own, but how rare
a word is counts over all.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from eval import metrics
from eval.bench import Bench, Run
from eval.chains import Answers, ask
from eval.datasets import Alternatives, DatasetError, Paragraph, RgbRow, read_rgb
from eval.openqa import said

NOISE = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)

Choose = Callable[[RgbRow, float], list[str]]  # the documents of a question at a noise rate
Measures = dict[str, float]


def run(
    file: Path,
    bench: Bench,
    noise: Sequence[float] = NOISE,
    passages: int = 5,
    seed: int = 0,
    limit: int | None = None,
) -> dict[str, Any]:
    """``{"protocol", "noise": {rate: {"accuracy", "refused", …}}, "settings", "absent"}``, with estimates.

    The protocol is what the file's fields allow: ``integration`` where positive documents come in groups (one
    for each part of the answer), ``counterfactual`` where there are ``positive_wrong`` documents, else
    ``noise``; ``absent`` names the protocols that it does not hold. ``refused`` is rejection at rate 1.0 and
    false refusals below it. ``accuracy`` is the share that hold the right answer and are not refused; RGB's own
    figure at 1.0 counts a right answer with the rejections. The counterfactual protocol adds ``misled``: the
    answer holds the false fact. Its detection of errors is not measured: that takes knowledge from outside.
    Raises DatasetError or PathError for the file.
    """
    rows = read_rgb(file)[:limit]
    protocol = _protocol(rows)
    bad = [rate for rate in noise if not 0 <= rate <= 1]
    if bad or passages < 1 or not rows:
        raise DatasetError(
            f"noise {bad or noise}, passages {passages}, limit {limit} 不可用 (cannot be used)",
            "noise 在 0 到 1 之间, 其余至少为 1 (noise in [0, 1], the others at least 1)",
        )

    def choose(row: RgbRow, rate: float) -> list[str]:
        return documents(row, rate, passages, seed)

    texts = dict.fromkeys(text for row in rows for rate in noise for text in choose(row, rate))
    options = {"questions": len(rows), "passages": passages, "documents": len(texts), "seed": seed}
    found = {}
    with bench.opened([Paragraph(_name(text), "", text) for text in texts], (file,), options) as opened:
        for rate in noise:
            tell = partial(bench.progress, f"noise {rate:g}")
            found[_key(rate)] = _measured(opened, rows, rate, choose, tell)
    return {
        "protocol": protocol,
        "noise": found,
        "absent": [p for p in ("noise", "integration", "counterfactual") if p != protocol],
        "settings": opened.about,
    }


def documents(row: RgbRow, noise: float, passages: int = 5, seed: int = 0) -> list[str]:
    """The documents of a question at a noise rate, by the rules of RGB's ``processdata``.

    The first documents of each kind in the file's order; where one kind runs out, the other fills up, except
    at rate 1, which has negative ones only. The counterfactual protocol draws among the false documents.
    """
    negatives = math.ceil(round(passages * noise, 9))
    if row.integration:
        return _integration(row, passages, passages - negatives)
    if row.wrong:
        drawn = random.Random(f"{seed} {row.id}").sample(row.wrong, min(len(row.wrong), passages - negatives))
        return [*drawn, *row.negative[:negatives]]
    positives = passages - negatives
    if noise < 1 and negatives > len(row.negative):
        positives = passages - len(row.negative)
    elif noise < 1 and positives > len(row.positive[0]):
        negatives = passages - len(row.positive[0])
    return [*row.positive[0][:positives], *row.negative[:negatives]]


def _integration(row: RgbRow, passages: int, positives: int) -> list[str]:
    """The first document of each group, then the second of each, until there are enough; then negative ones."""
    chosen = [group[0] for group in row.positive]
    more = [
        group[i]
        for i in range(1, max(len(group) for group in row.positive))
        for group in row.positive
        if i < len(group)
    ]
    chosen += more[: max(0, positives - len(chosen))]
    return [*chosen, *row.negative[: max(0, passages - len(chosen))]]


def correct(text: str, answer: Sequence[Alternatives]) -> bool:
    """RGB's rule: of each part of the answer one alternative is in the text, whatever the case.

    Spaces are removed from the text, as RGB does for Chinese, not from the answer.
    """
    said_text = text.lower().replace(" ", "")
    return all(any(choice.lower() in said_text for choice in part) for part in answer)


def _measured(
    opened: Run, rows: Sequence[RgbRow], rate: float, choose: Choose, tell: Callable[[int, int], None]
) -> dict[str, Any]:
    values: dict[str, list[float]] = {}
    for done, row in enumerate(rows, 1):
        answered = partial(_answered, opened.chain, row, choose(row, rate))
        for name, value in opened.journal.remembered(f"{rate:g} {row.id}", answered).items():
            values.setdefault(name, []).append(value)
        tell(done, len(rows))
    found = {name: metrics.mean_interval(column) for name, column in values.items()}
    return {name: estimate.as_json() for name, estimate in found.items() if estimate}


def _answered(chain: Answers, row: RgbRow, texts: Iterable[str]) -> Measures:
    names = [[_name(text), 1] for text in dict.fromkeys(texts)]
    if not names:  # no document at all: nothing that could be searched
        return {"accuracy": 0.0, "refused": 1.0}
    answer = ask(chain, {"question": row.query, "articles": names}, row.id)
    text = "" if answer["refused"] else said(answer)
    found = {"accuracy": float(correct(text, row.answer)), "refused": float(answer["refused"])}
    if row.fake:
        found["misled"] = float(correct(text, row.fake))
    return found


def _protocol(rows: Sequence[RgbRow]) -> str:
    if rows and all(row.integration for row in rows):
        return "integration"
    if rows and all(row.wrong for row in rows):
        return "counterfactual"
    return "noise"


def _name(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _key(rate: float) -> str:
    """0.2 as ``"0.2"``, 1 as ``"1.0"``."""
    return str(float(rate))
