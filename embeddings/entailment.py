"""Any sentence-transformers cross-encoder for entailment in the place of the bundled checker."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embeddings.errors import ModelError


class EntailmentModel:
    """A cross-encoder with a class ``entailment``, by the path of its folder or the name of one that is on this machine;
    nothing is fetched. One with a single output is taken to say how likely the sentence is supported."""

    def __init__(self, model: str) -> None:
        self._name = model
        self._lock = threading.Lock()
        self._loaded: tuple[Any, int | None] | None = None

    def supports(self, triples: Sequence[tuple[str, str, str]]) -> list[float]:
        """For each sentence, heading and text the probability that the text entails the sentence.

        Raises ModelError where the model is not on this machine or has no such class.
        """
        model, entailment = self._model()
        pairs = [(f"{above}：{text}" if above else text, sentence) for sentence, above, text in triples]
        scores = model.predict(pairs, apply_softmax=entailment is not None, show_progress_bar=False)
        return [float(score if entailment is None else score[entailment]) for score in scores]

    def _model(self) -> tuple[Any, int | None]:
        with self._lock:
            if self._loaded is None:
                self._loaded = _load(self._name)
            return self._loaded


def _load(name: str) -> tuple[Any, int | None]:
    from sentence_transformers import CrossEncoder

    path = Path(name).expanduser()
    remedy = "把 YOUJU_CHECKER 设为它的文件夹, 或 bundled, 或 lexical (name its folder, or use another)"
    try:
        model = CrossEncoder(str(path) if path.is_dir() else name, device="cpu", local_files_only=True)
    except (OSError, ValueError) as error:
        problem = f"本机没有核对模型 {name} (the checker is not on this machine: {str(error)[:80]})"
        raise ModelError(problem, remedy) from None
    labels: dict[int, str] = model.config.id2label
    if len(labels) == 1:
        return model, None
    entailment = next((i for i, label in labels.items() if label.lower() in ("entailment", "entail")), None)
    if entailment is None:
        raise ModelError(
            f"模型 {name} 没有 entailment 一类 (has no such class): {', '.join(labels.values())}", remedy
        )
    return model, entailment
