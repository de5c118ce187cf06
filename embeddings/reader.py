"""A small reader of a question beside a passage: how relevant the passage is, whether it answers, and where.

A ``PairModel`` reads question and passage together, which vectors made apart cannot (``benchmarks/train_reader.py``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embeddings.pairmodel import PairModel, Places, pair_ids

WEIGHTS = Path(__file__).parent / "weights" / "reader.safetensors"
MAX_TOKENS = 224  # of a pair; a passage is cut there
CUT_OFF = -1e4  # logit of what was not read

Array = NDArray[np.float32]
Shown = tuple[str, str, Sequence[tuple[int, int]]]  # heading, text, the places of its units in the text


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What the reader makes of one passage. All values are logits: of ``relevance`` only differences between passages
    of one question mean something; ``answers`` above 0 says that the passage answers rather than not. ``starts`` and
    ``ends`` (k,) say of each of the passage's units how well the answer begins and ends with it; None: not read."""

    relevance: float
    answers: float
    starts: Array | None = None
    ends: Array | None = None

    def best_run(self, first: int, last: int) -> float:
        """The score of the best answer that begins and ends with units among ``[first, last)``; 0 where no spans
        were read."""
        if self.starts is None or self.ends is None:
            return 0.0
        # The best end at a unit or after it: a running maximum from the right.
        ends = np.maximum.accumulate(self.ends[first:last][::-1])[::-1]
        return float((self.starts[first:last] + ends).max())


class Reader:
    """The trained reader; loaded on first use, safe to share between threads."""

    def __init__(self, home: Path, weights: Path = WEIGHTS) -> None:
        """``home`` is where the bundled model lives, which is made there on first use where it is not."""
        self._model = PairModel(home, weights)

    def read(self, question: str, passages: Sequence[Shown]) -> list[Reading]:
        """A reading of each passage, in their order. Raises ModelError where the weights cannot be used."""
        import torch

        model = self._model
        pairs = [
            pair_ids(model.tokenizer, question, heading, text, MAX_TOKENS) for heading, text, _ in passages
        ]
        found: dict[int, Reading] = {}
        with torch.inference_mode():
            for i, mean, states in model.states([ids for ids, _ in pairs]):
                relevance, answers = model.head("pooled", mean).tolist()
                starts, ends = _of_units(model.head("spans", states).numpy(), pairs[i][1], passages[i][2])
                found[i] = Reading(relevance, answers, starts, ends)
        return [found[i] for i in range(len(pairs))]


def _of_units(spans: Array, places: Places, units: Sequence[tuple[int, int]]) -> tuple[Array, Array]:
    """The start logit of each unit's first token and the end logit of its last."""
    starts, ends = (np.full(len(units), CUT_OFF, np.float32) for _ in range(2))
    for k, (start, end) in enumerate(units):
        inside = [i for i, (a, b) in enumerate(places) if a < end and b > start and b > a]
        if inside:
            starts[k], ends[k] = spans[inside[0], 0], spans[inside[-1], 1]
    return starts, ends
