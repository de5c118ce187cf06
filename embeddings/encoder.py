"""Sentence models behind LangChain's ``Embeddings``: query and document prompts, batches, progress.

Importing this module imports no model library; the model is loaded on first use.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray
from platformdirs import user_data_path

from embeddings.folder import BUNDLED, ModelFolder, find_model

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer
    from torch import Tensor

TOKEN_BUDGET = 2048  # of a batch: larger ones gain nothing

Array = NDArray[np.float32]
Progress = Callable[[int, int], None]  # texts done, texts in all
Spans = Sequence[tuple[int, int]]


class Model(Protocol):
    """What computes vectors; ``PlainBert`` and ``AnySentenceModel`` are two."""

    tokenizer: Tokenizer
    dimension: int

    def forward(self, texts: list[list[int]]) -> tuple[Tensor, list[Tensor]]:
        """Token ids of each text → pooled vectors (n, d), not normalised, and token vectors of each text."""
        ...


def _silent(done: int, total: int) -> None:
    """Reports no progress."""


class SentenceEncoder(Embeddings):
    """Texts to unit vectors, with the model's own prompts before queries and passages.

    ``model`` is ``"bundled"``, a sentence-transformers folder, or the name of a model that is already on
    this machine; nothing is ever fetched. A text longer than the model's limit (512 tokens for the
    bundled one, some 700 Chinese characters) is cut there: what follows does not reach its vector.
    Safe to share between threads. Every method that needs the model raises ModelError if it cannot be had.
    """

    def __init__(
        self,
        model: str = BUNDLED,
        home: Path | None = None,
        *,
        query_prompt: str | None = None,
        passage_prompt: str | None = None,
        threads: int | None = None,
        batch_size: int = 32,
    ) -> None:
        """``home`` is where the bundled model lives; a prompt of None is the model's own; ``threads`` of
        None leaves the choice to torch (it holds for the whole process)."""
        self._name = model
        self._home = home if home is not None else user_data_path("youju") / "models"
        self._prompts = (query_prompt, passage_prompt)
        self._threads = threads
        self._batch_size = batch_size
        self._lock = threading.RLock()
        self._folder: ModelFolder | None = None
        self._model: Model | None = None

    # --- what it is ---

    @property
    def folder(self) -> ModelFolder:
        """The model's folder; the bundled one is made on first use."""
        with self._lock:
            if self._folder is None:
                self._folder = find_model(self._name, self._home)
            return self._folder

    @property
    def query_prompt(self) -> str:
        own, given = self.folder.query_prompt, self._prompts[0]
        return own if given is None else given

    @property
    def passage_prompt(self) -> str:
        own, given = self.folder.passage_prompt, self._prompts[1]
        return own if given is None else given

    @property
    def dimension(self) -> int:
        folder = self.folder
        return int(folder.config["hidden_size"]) if folder.is_plain_bert else self.model.dimension

    @property
    def identity(self) -> str:
        """Model, weights, dimension and prompts in one stable line: equal means comparable vectors."""
        folder = self.folder
        return (
            f"{folder.name}@{folder.fingerprint} d={self.dimension} "
            f"query={self.query_prompt!r} passage={self.passage_prompt!r}"
        )

    @property
    def model(self) -> Model:
        """The loaded model."""
        with self._lock:
            if self._model is None:
                self._model = _load(self.folder, self._threads)
            return self._model

    # --- LangChain's interface ---

    def embed_query(self, text: str) -> list[float]:
        values: list[float] = self.encode_query(text).tolist()
        return values

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        values: list[list[float]] = self.encode_passages(texts).tolist()
        return values

    # --- the same as arrays ---

    def encode_query(self, text: str) -> Array:
        """The question's unit vector, (d,)."""
        (encoding,) = self._tokenize([text], self.query_prompt)
        return _unit(self.model.forward([encoding.ids])[0].numpy())[0]

    def encode_passages(self, texts: Sequence[str], progress: Progress = _silent) -> Array:
        """The texts' unit vectors, (n, d), in their order."""
        encodings = self._tokenize(texts, self.passage_prompt)
        vectors = np.empty((len(texts), self.dimension), np.float32)
        for batch in self._batches(encodings, progress):
            pooled, _ = self.model.forward([encodings[i].ids for i in batch])
            vectors[batch] = _unit(pooled.numpy())
        return vectors

    def encode_with_spans(
        self, texts: Sequence[str], spans: Sequence[Spans], progress: Progress = _silent
    ) -> tuple[Array, list[Array]]:
        """The texts' unit vectors (n, d), and for each text those of its spans (k, d), in one pass.

        ``spans[i]`` holds ``(start, end)`` in code points of ``texts[i]``. A span's vector is the mean of
        the vectors of the tokens that overlap it, so it knows its surroundings (Günther et al., Late
        Chunking, arXiv:2409.04701). Where no token does (beyond the model's limit, or blank) it is the
        text's vector. For a model that is not pooled by mean, spans are encoded as passages of their own.
        """
        if self.folder.pooling != "mean":
            return self.encode_passages(texts, progress), [
                self.encode_passages([text[a:b] for a, b in own])
                for text, own in zip(texts, spans, strict=True)
            ]
        prompt = self.passage_prompt
        encodings = self._tokenize(texts, prompt)
        vectors = np.empty((len(texts), self.dimension), np.float32)
        found: list[Array] = [np.empty((0, self.dimension), np.float32)] * len(texts)
        for batch in self._batches(encodings, progress):
            pooled, tokens = self.model.forward([encodings[i].ids for i in batch])
            vectors[batch] = _unit(pooled.numpy())
            for i, states in zip(batch, tokens, strict=True):
                places = _places(encodings[i], len(prompt))
                found[i] = _span_vectors(states.numpy(), places, spans[i], vectors[i])
        return vectors, found

    # --- how ---

    def _tokenize(self, texts: Sequence[str], prompt: str) -> list[Encoding]:
        return self.model.tokenizer.encode_batch([prompt + text for text in texts])

    def _batches(self, encodings: Sequence[Encoding], progress: Progress) -> Iterator[list[int]]:
        """Indices of texts of like length, longest first, within the budget of tokens and the batch size."""
        order = sorted(range(len(encodings)), key=lambda i: -len(encodings[i].ids))
        start = 0
        while start < len(order):
            longest = max(1, len(encodings[order[start]].ids))
            stop = start + min(self._batch_size, max(1, TOKEN_BUDGET // longest))
            yield order[start:stop]
            start = min(stop, len(order))
            progress(start, len(order))


def _load(folder: ModelFolder, threads: int | None) -> Model:
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    if folder.is_plain_bert:
        from embeddings.bert import PlainBert

        return PlainBert.of(folder)
    from embeddings.anymodel import AnySentenceModel

    return AnySentenceModel(folder)


def _unit(vectors: Array) -> Array:
    """Rows divided by their length; a row of zeros stays."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(norms, 1e-12), np.float32)


def _places(encoding: Encoding, prompt: int) -> NDArray[np.int64]:
    """Where each token stands in the text after the prompt, (L, 2); special tokens stand before it."""
    offsets = np.asarray(encoding.offsets, np.int64).reshape(-1, 2) - prompt
    offsets[np.asarray(encoding.special_tokens_mask, bool)] = -1
    return offsets


def _span_vectors(states: Array, places: NDArray[np.int64], spans: Spans, whole: Array) -> Array:
    vectors = np.empty((len(spans), len(whole)), np.float32)
    for row, (start, end) in enumerate(spans):
        inside = (places[:, 0] < end) & (places[:, 1] > start)
        vectors[row] = _unit(states[inside].mean(axis=0)) if inside.any() else whole
    return vectors
