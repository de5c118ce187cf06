"""A plain BERT in torch alone.

It computes what transformers' ``BertModel`` computes, but loads in a third of the time (nothing of
transformers is imported) and takes less for a text: one matrix product for q, k and v, weights laid out
once, no mask where all texts of a batch are equally long.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from embeddings.errors import ModelError
from embeddings.folder import ModelFolder

MAX_TOKENS = 512
TYPICAL_ROWS = 1024  # tokens of a batch, for which weights are laid out
PACK = platform.machine() in ("x86_64", "AMD64")


class _Linear:
    """``x Wᵀ + b``, with GELU after it or not."""

    def __init__(self, weight: Tensor, bias: Tensor, gelu: bool = False) -> None:
        self.weight, self.bias, self.gelu = weight, bias, gelu
        # oneDNN with weights laid out once is a fifth faster than MKL, which lays them out at each call.
        self.packed = PACK and torch.backends.mkldnn.is_available()
        if self.packed:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, TYPICAL_ROWS)

    def __call__(self, x: Tensor) -> Tensor:
        if self.packed:
            after, kind = ("gelu", "none") if self.gelu else ("none", "")
            y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, after, [], kind)
            return y
        y = F.linear(x, self.weight, self.bias)
        return F.gelu(y) if self.gelu else y


@dataclass(frozen=True, slots=True)
class _Norm:
    weight: Tensor
    bias: Tensor
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)


@dataclass(frozen=True, slots=True)
class _Layer:
    qkv: _Linear
    attention_out: _Linear
    attention_norm: _Norm
    inner: _Linear
    outer: _Linear
    norm: _Norm


class PlainBert:
    """A BERT with the layers that ``weights`` hold, pooled by mean or first token."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        weights: dict[str, Tensor],
        config: Mapping[str, Any],
        pooling: str = "mean",
    ) -> None:
        self.tokenizer = tokenizer
        self.heads = int(config["num_attention_heads"])
        self.dimension = int(config["hidden_size"])
        self.first_token = pooling == "cls"
        self._take(weights, float(config["layer_norm_eps"]))

    @classmethod
    def of(cls, folder: ModelFolder) -> PlainBert:
        """The model of a folder for which ``is_plain_bert`` holds. Raises ModelError when its files do not fit
        together."""
        tokenizer = Tokenizer.from_file(str(folder.path / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(min(folder.max_tokens or MAX_TOKENS, MAX_TOKENS))
        try:
            weights = load_file(folder.path / "model.safetensors")
            return cls(tokenizer, weights, folder.config, folder.pooling or "mean")
        except Exception as error:
            raise ModelError(
                f"模型 {folder.path} 的权重不可用 (weights cannot be used): {error!r}", "重新放置该模型文件夹"
            ) from error

    def _take(self, weights: dict[str, Tensor], epsilon: float) -> None:
        weights = {name.removeprefix("bert."): value.float() for name, value in weights.items()}

        def linear(*names: str, gelu: bool = False) -> _Linear:
            """The layers of these names as one, their outputs side by side."""
            weight = torch.cat([weights[f"{name}.weight"] for name in names])
            bias = torch.cat([weights[f"{name}.bias"] for name in names])
            return _Linear(weight, bias, gelu)

        def norm(name: str) -> _Norm:
            return _Norm(weights[f"{name}.weight"], weights[f"{name}.bias"], epsilon)

        self.words = weights["embeddings.word_embeddings.weight"]
        types = weights["embeddings.token_type_embeddings.weight"]
        self.positions = weights["embeddings.position_embeddings.weight"] + types[0]
        self.norm = norm("embeddings.LayerNorm")
        self.layers = []
        count = sum(name.endswith(".intermediate.dense.weight") for name in weights)
        for i in range(count):
            at = f"encoder.layer.{i}"
            self.layers.append(
                _Layer(
                    linear(*(f"{at}.attention.self.{part}" for part in ("query", "key", "value"))),
                    linear(f"{at}.attention.output.dense"),
                    norm(f"{at}.attention.output.LayerNorm"),
                    linear(f"{at}.intermediate.dense", gelu=True),
                    linear(f"{at}.output.dense"),
                    norm(f"{at}.output.LayerNorm"),
                )
            )

    @torch.inference_mode()
    def forward(self, texts: list[list[int]]) -> tuple[Tensor, list[Tensor]]:
        """Token ids of each text → pooled vectors (n, d), not normalised, and token vectors of each text."""
        lengths = torch.tensor([len(ids) for ids in texts])
        ids = pad_sequence([torch.tensor(ids) for ids in texts], batch_first=True)
        inside = torch.arange(ids.shape[1]) < lengths[:, None]
        mask = None if inside.all() else inside[:, None, None, :]
        x = self.norm(self.words[ids] + self.positions[: ids.shape[1]])
        for layer in self.layers:
            x = layer.attention_norm(x + layer.attention_out(self._attend(layer.qkv(x), mask)))
            x = layer.norm(x + layer.outer(layer.inner(x)))
        tokens = [states[:length] for states, length in zip(x, lengths.tolist(), strict=True)]
        pooled = torch.stack([states[0] if self.first_token else states.mean(0) for states in tokens])
        return pooled, tokens

    def _attend(self, qkv: Tensor, mask: Tensor | None) -> Tensor:
        """Attention of every text over its own tokens."""
        n, length, _ = qkv.shape
        q, k, v = qkv.view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).reshape(n, length, -1)
