"""A small BERT that reads two texts together: the token ids of a pair, its weights and their file.

The layers are the bundled model's lowest, trained further; what they were trained for is in the heads that are stored
beside them. Weights travel as 8-bit integers (embeddings/weights/README.md has their sources and licences); embeddings and
tokenizer are the bundled model's.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embeddings.bundled import prepare
from embeddings.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor

    from embeddings.bert import PlainBert

HEADS = ("pooled", "spans")
TOKEN_BUDGET = 1536  # of a batch
_SCALE = ".scale"

Places = list[tuple[int, int]]


class PairModel:
    """The layers and heads of a file of weights; loaded on first use, safe to share between threads."""

    def __init__(self, home: Path, weights: Path) -> None:
        """``home`` is where the bundled model lives, which is made there on first use where it is not."""
        self._home, self._weights = home, weights
        self._lock = threading.Lock()
        self._loaded: tuple[PlainBert, dict[str, Tensor]] | None = None

    @property
    def tokenizer(self) -> Tokenizer:
        return self._model()[0].tokenizer

    def states(self, pairs: Sequence[Sequence[int]]) -> Iterator[tuple[int, Tensor, Tensor]]:
        """For each pair of token ids its place, the mean of its states ``(d,)`` and the states ``(tokens, d)``, longest
        pairs first. To be used in inference mode."""
        bert, _ = self._model()
        order = sorted(range(len(pairs)), key=lambda i: len(pairs[i]))
        while order:
            longest = len(pairs[order[-1]])
            batch = [order.pop() for _ in range(min(len(order), max(1, TOKEN_BUDGET // longest)))]
            mean, states = bert.forward([list(pairs[i]) for i in batch])
            yield from ((i, mean[row], states[row]) for row, i in enumerate(batch))

    def head(self, name: str, states: Tensor) -> Tensor:
        """The states ``(…, d)`` through a head: ``(…, outputs)``."""
        import torch

        _, heads = self._model()
        return torch.nn.functional.linear(states, heads[f"{name}.weight"], heads[f"{name}.bias"])

    def _model(self) -> tuple[PlainBert, dict[str, Tensor]]:
        """Raises ModelError where the weights cannot be used."""
        with self._lock:
            if self._loaded is None:
                self._loaded = _load(prepare(self._home), self._weights)
            return self._loaded


def pair_ids(
    tokenizer: Tokenizer, question: str, heading: str, text: str, limit: int
) -> tuple[list[int], Places]:
    """Token ids of ``<s> query: question </s> heading: text </s>``, and where each token stands in ``text``.

    A token outside of the text stands at (0, 0). The text is cut where the pair would have more than ``limit`` tokens.
    """
    first, last = (_id(tokenizer, token) for token in ("<s>", "</s>"))
    asked = tokenizer.encode("query: " + question, add_special_tokens=False).ids[: limit // 2]
    prefix = heading + "：" if heading else ""
    encoded = tokenizer.encode(prefix + text, add_special_tokens=False)
    room = limit - len(asked) - 3
    ids = [first, *asked, last, *encoded.ids[:room], last]
    before = len(prefix)
    inside = [(max(0, a - before), max(0, b - before)) for a, b in encoded.offsets[:room]]
    return ids, [(0, 0)] * (len(asked) + 2) + inside + [(0, 0)]


def _id(tokenizer: Tokenizer, token: str) -> int:
    found = tokenizer.token_to_id(token)
    assert found is not None
    return int(found)


# -- its file -----------------------------------------------------------------------------------------------


def save(path: Path, weights: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Write the weights: matrices as 8-bit integers with a scale for each row, all else as 16-bit floats."""
    import torch
    from safetensors.torch import save_file

    stored: dict[str, Tensor] = {}
    for name, value in weights.items():
        value = value.detach().float()
        if value.ndim == 2 and name.split(".")[0] not in HEADS:
            scale = value.abs().amax(1, keepdim=True).clamp(min=1e-8) / 127
            stored[name] = torch.round(value / scale).to(torch.int8)
            stored[name + _SCALE] = scale[:, 0].contiguous()
        else:
            stored[name] = value.half().contiguous()
    keys = ("num_attention_heads", "hidden_size", "layer_norm_eps")
    save_file(stored, path, metadata={"config": json.dumps({key: config[key] for key in keys})})


def unpacked(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What ``save`` wrote, as 32-bit floats."""
    return {
        name: value.float() * stored[name + _SCALE][:, None] if name + _SCALE in stored else value.float()
        for name, value in stored.items()
        if not name.endswith(_SCALE)
    }


def _load(folder: Path, path: Path) -> tuple[PlainBert, dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import load_file
    from tokenizers import Tokenizer

    from embeddings.bert import PlainBert

    try:
        with safe_open(path, "pt") as file:
            config = json.loads(file.metadata()["config"])
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
        base = load_file(folder / "model.safetensors")
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise ModelError(
            f"模型的权重不可用 (weights cannot be used): {path} ({error})",
            "重新安装有据, 或换一个权重文件 (install again, or use another file)",
        ) from None
    weights = unpacked(stored)
    heads = {name: weights.pop(name) for name in list(weights) if name.split(".")[0] in HEADS}
    embeddings = {name: value for name, value in base.items() if "embeddings." in name}
    return PlainBert(tokenizer, {**embeddings, **weights}, config), heads
