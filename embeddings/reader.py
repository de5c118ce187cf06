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

from embeddings.bundled import prepare
from embeddings.errors import ModelError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor

    from embeddings.bert import PlainBert

HEADS = ("pooled", "spans")
WEIGHTS = Path(__file__).parent / "weights" / "reader.safetensors"
MAX_TOKENS = 224  # of a pair; a passage is cut there
TOKEN_BUDGET = 1536  # of a batch
CUT_OFF = -1e4  # logit of what was not read
_SCALE = ".scale"

Array = NDArray[np.float32]
Places = list[tuple[int, int]]
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
        self._home, self._weights = home, weights
        self._lock = threading.Lock()
        self._loaded: tuple[PlainBert, dict[str, Tensor]] | None = None

    def read(self, question: str, passages: Sequence[Shown]) -> list[Reading]:
        """A reading of each passage, in their order. Raises ModelError where the weights cannot be used."""
        import torch

        bert, heads = self._model()
        pairs = [
            pair_ids(bert.tokenizer, question, heading, text, MAX_TOKENS) for heading, text, _ in passages
        ]
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
                    starts, ends = _of_units(spans.numpy(), pairs[i][1], passages[i][2])
                    found[i] = Reading(relevance, answers, starts, ends)
        return [found[i] for i in range(len(pairs))]

    def _model(self) -> tuple[PlainBert, dict[str, Tensor]]:
        with self._lock:
            if self._loaded is None:
                self._loaded = _load(prepare(self._home), self._weights)
            return self._loaded


def _of_units(spans: Array, places: Places, units: Sequence[tuple[int, int]]) -> tuple[Array, Array]:
    """The start logit of each unit's first token and the end logit of its last."""
    starts, ends = (np.full(len(units), CUT_OFF, np.float32) for _ in range(2))
    for k, (start, end) in enumerate(units):
        inside = [i for i, (a, b) in enumerate(places) if a < end and b > start and b > a]
        if inside:
            starts[k], ends[k] = spans[inside[0], 0], spans[inside[-1], 1]
    return starts, ends


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
