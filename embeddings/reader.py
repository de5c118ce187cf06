"""A small reader of a question beside a passage: how relevant the passage is, whether it answers, and where.

The lowest layers of the bundled model, trained further on pairs (``benchmarks/train_reader.py``), read question and
passage together, which vectors made apart cannot. Its weights travel as 8-bit integers beside this module
(embeddings/weights/README.md has their sources and licences); embeddings and tokenizer are the bundled model's.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embeddings.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor

    from embeddings.bert import PlainBert

HEADS = ("pooled", "spans")
WEIGHTS = Path(__file__).parent / "weights" / "reader.safetensors"
MAX_TOKENS = 224  # of a pair; a passage is cut there
TOKEN_BUDGET = 1536  # of a batch
LONGEST_ANSWER = 64  # tokens
_SCALE = ".scale"

Array = NDArray[np.float32]
Places = list[tuple[int, int]]


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What the reader makes of one passage. All values are logits: only differences of ``relevance`` between passages
    of one question mean something; ``answers`` above 0 says that the passage answers rather than not."""

    relevance: float
    answers: float
    _starts: Array
    _ends: Array
    _places: Places

    def span_score(self, start: int, end: int) -> float:
        """How good the best answer within ``text[start:end]`` is, against the best in the whole passage: at most 0."""
        inside = [i for i, (a, b) in enumerate(self._places) if a < end and b > start and b > a]
        whole = [i for i, (a, b) in enumerate(self._places) if b > a]
        if not inside:
            return -20.0
        return self._best(inside) - self._best(whole)

    def _best(self, tokens: Sequence[int]) -> float:
        """The highest start plus end logit with the end no earlier than the start."""
        first, last = tokens[0], tokens[-1] + 1
        starts, ends = self._starts[first:last], self._ends[first:last]
        # For each start, the best end at it or after: a running maximum from the right.
        after = np.maximum.accumulate(ends[::-1])[::-1]
        return float((starts + after).max())


class Reader:
    """The trained reader; loaded on first use, safe to share between threads."""

    def __init__(self, folder: Path, weights: Path = WEIGHTS) -> None:
        """``folder`` is the bundled model's. Raises nothing before it is used."""
        self._folder, self._weights = folder, weights
        self._lock = threading.Lock()
        self._loaded: tuple[PlainBert, dict[str, Tensor]] | None = None

    def read(self, question: str, passages: Sequence[tuple[str, str]]) -> list[Reading]:
        """A reading of each passage ``(heading, text)``, in their order. Raises ModelError without its weights."""
        import torch

        bert, heads = self._model()
        pairs = [pair_ids(bert.tokenizer, question, heading, text, MAX_TOKENS) for heading, text in passages]
        order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]))
        found: dict[int, Reading] = {}
        with torch.inference_mode():
            while order:
                longest = len(pairs[order[-1]][0])
                batch = [order.pop() for _ in range(min(len(order), max(1, TOKEN_BUDGET // longest)))]
                mean, states = bert.forward([pairs[i][0] for i in batch])
                pooled = torch.nn.functional.linear(mean, heads["pooled.weight"], heads["pooled.bias"])
                for row, i in enumerate(batch):
                    spans = torch.nn.functional.linear(
                        states[row], heads["spans.weight"], heads["spans.bias"]
                    )
                    relevance, answers = pooled[row].tolist()
                    starts, ends = spans.T.numpy()
                    found[i] = Reading(relevance, answers, starts, ends, pairs[i][1])
        return [found[i] for i in range(len(pairs))]

    def _model(self) -> tuple[PlainBert, dict[str, Tensor]]:
        with self._lock:
            if self._loaded is None:
                self._loaded = _load(self._folder, self._weights)
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


def _load(folder: Path, path: Path) -> tuple[PlainBert, dict[str, Tensor]]:
    from safetensors import safe_open
    from safetensors.torch import load_file
    from tokenizers import Tokenizer

    from embeddings.bert import PlainBert

    try:
        with safe_open(path, "pt") as file:
            config = json.loads(file.metadata()["config"])
            stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
        base = load_file(folder / "model.safetensors")
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except (OSError, KeyError, ValueError) as error:
        raise ModelError(
            f"阅读器的权重不可用 (the reader's weights cannot be used): {path} ({error})",
            "重新安装, 或设 YOUJU_READER=none (install again, or do without)",
        ) from None
    weights = {
        name: value.float() * stored[name + _SCALE][:, None] if name + _SCALE in stored else value.float()
        for name, value in stored.items()
        if not name.endswith(_SCALE)
    }
    heads = {name: weights.pop(name) for name in list(weights) if name.split(".")[0] in HEADS}
    embeddings = {name: value for name, value in base.items() if "embeddings." in name}
    return PlainBert(tokenizer, {**embeddings, **weights}, config), heads
