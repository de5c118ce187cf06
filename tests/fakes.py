"""Stand-ins that implement the interfaces of the slow parts, for tests only."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from embeddings.encoder import SentenceEncoder

Vector = NDArray[np.float32]
Progress = Callable[[int, int], None]


def _silent(done: int, total: int) -> None:
    pass


class FakeEncoder(SentenceEncoder):
    """``SentenceEncoder`` with bags of hashed characters for vectors.

    Texts that share characters are near each other, equal texts are equal, and nothing is loaded.
    ``encoded`` lists the passages that were embedded.
    """

    def __init__(self, model: str = "fake", home: Path | None = None, dimension: int = 32) -> None:
        self._fake_identity = f"{model}@1"
        self._fake_dimension = dimension
        self.encoded: list[str] = []

    @property
    def identity(self) -> str:
        return self._fake_identity

    @property
    def dimension(self) -> int:
        return self._fake_dimension

    def encode_query(self, text: str) -> Vector:
        return self._vector(text)

    def encode_passages(self, texts: Sequence[str], progress: Progress = _silent) -> Vector:
        vectors = [self._vector(text) for text in texts]
        self.encoded.extend(texts)
        progress(len(texts), len(texts))
        return np.stack(vectors) if vectors else np.zeros((0, self.dimension), np.float32)

    def encode_with_spans(
        self,
        texts: Sequence[str],
        spans: Sequence[Sequence[tuple[int, int]]],
        progress: Progress = _silent,
    ) -> tuple[Vector, list[Vector]]:
        parts = [
            np.stack([self._vector(text[start:end]) for start, end in own])
            if own
            else np.zeros((0, self.dimension), np.float32)
            for text, own in zip(texts, spans, strict=True)
        ]
        return self.encode_passages(texts, progress), parts

    def _vector(self, text: str) -> Vector:
        vector = np.full(self.dimension, 1e-3, np.float32)
        for char in text:
            digest = hashlib.blake2b(char.encode("utf-8", "surrogatepass"), digest_size=4).digest()
            vector[int.from_bytes(digest, "little") % self.dimension] += 1
        return vector / np.float32(np.linalg.norm(vector))
