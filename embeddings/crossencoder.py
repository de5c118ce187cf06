"""Any sentence-transformers cross-encoder in the place of the bundled reader: relevance alone, no span."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embeddings.errors import ModelError
from embeddings.reader import Reading, Shown


class CrossEncoderReader:
    """A cross-encoder by the path of its folder or the name of one that is on this machine; nothing is fetched.

    Its score is taken for relevance, and its logit for whether the passage answers.
    """

    def __init__(self, model: str) -> None:
        self._name = model
        self._lock = threading.Lock()
        self._model: Any = None

    def read(self, question: str, passages: Sequence[Shown]) -> list[Reading]:
        """A reading of each passage, without a span. Raises ModelError where the model is not on this machine."""
        from torch.nn import Identity

        pairs = [(question, f"{heading}：{text}" if heading else text) for heading, text, _ in passages]
        scores = self._loaded().predict(pairs, activation_fn=Identity(), show_progress_bar=False)
        return [Reading(float(score), float(score)) for score in scores]

    def _loaded(self) -> Any:
        with self._lock:
            if self._model is None:
                self._model = _load(self._name)
            return self._model


def _load(name: str) -> Any:
    from sentence_transformers import CrossEncoder

    path = Path(name).expanduser()
    try:
        return CrossEncoder(
            str(path) if path.is_dir() else name, device="cpu", local_files_only=True, num_labels=1
        )
    except (OSError, ValueError) as error:
        raise ModelError(
            f"本机没有交叉编码器 {name} (the cross-encoder is not on this machine: {str(error)[:80]})",
            "把 YOUJU_READER 设为它的文件夹, 或 bundled, 或 none (name its folder, or use another)",
        ) from None
