"""A small trained model that says whether a text supports a sentence (``benchmarks/train_checker.py``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from embeddings.pairmodel import PairModel, pair_ids

WEIGHTS = Path(__file__).parent / "weights" / "checker.safetensors"
MAX_TOKENS = 320  # of a pair; the text is cut there


class SupportModel:
    """The trained checker; loaded on first use, safe to share between threads."""

    def __init__(self, home: Path, weights: Path = WEIGHTS) -> None:
        """``home`` is where the bundled model lives, which is made there on first use where it is not."""
        self._model = PairModel(home, weights)

    def supports(self, triples: Sequence[tuple[str, str, str]]) -> list[float]:
        """For each sentence, heading and text the probability that the text supports the sentence.

        Raises ModelError where the weights cannot be used.
        """
        import torch

        model = self._model
        pairs = [
            pair_ids(model.tokenizer, sentence, above, text, MAX_TOKENS)[0]
            for sentence, above, text in triples
        ]
        found: dict[int, float] = {}
        with torch.inference_mode():
            for i, mean, _ in model.states(pairs):
                found[i] = float(torch.sigmoid(model.head("pooled", mean)[0]))
        return [found[i] for i in range(len(pairs))]
