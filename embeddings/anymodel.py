"""Any text model of sentence-transformers, as it is."""

from __future__ import annotations

import torch
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers.utils import logging

from embeddings.errors import ModelError
from embeddings.folder import ModelFolder


class AnySentenceModel:
    """A sentence-transformers folder, loaded by that library."""

    def __init__(self, folder: ModelFolder) -> None:
        """Raises ModelError when the folder does not load or has no fast tokenizer."""
        logging.disable_progress_bar()
        try:
            self._model = SentenceTransformer(str(folder.path), device="cpu", local_files_only=True).float()
            # A copy of our own: padding and truncation are state of a tokenizer, set once and shared.
            self.tokenizer = Tokenizer.from_str(self._model.tokenizer.backend_tokenizer.to_str())
        except Exception as error:
            raise ModelError(
                f"模型 {folder.path} 无法加载 (the model does not load): {error}",
                "换一个带 tokenizer.json 的 sentence-transformers 文本模型,或把 YOUJU_MODEL 设回 bundled",
            ) from error
        self._model.eval()
        self.tokenizer.no_padding()
        if self._model.max_seq_length:
            self.tokenizer.enable_truncation(self._model.max_seq_length)
        self._pad = self._model.tokenizer.pad_token_id or 0
        self.dimension = int(self._model.get_embedding_dimension() or 0)

    @torch.inference_mode()
    def forward(self, texts: list[list[int]]) -> tuple[Tensor, list[Tensor]]:
        """Token ids of each text → pooled vectors (n, d), not normalised, and token vectors of each text."""
        ids = [torch.tensor(text) for text in texts]
        output = self._model(
            {
                "input_ids": pad_sequence(ids, batch_first=True, padding_value=self._pad),
                "attention_mask": pad_sequence([torch.ones_like(i) for i in ids], batch_first=True),
            }
        )
        tokens = [states[: len(text)] for states, text in zip(output["token_embeddings"], texts, strict=True)]
        return output["sentence_embedding"], tokens
