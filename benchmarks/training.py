"""What the training scripts share: the encoder's lowest layers as a module, batches, the steps of an epoch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

PAD = 1  # the tokenizer's <pad>
Batch = TypeVar("Batch")


class Ids(Protocol):
    """A row of training: a pair as token ids."""

    @property
    def ids(self) -> list[int]: ...


class Layers(nn.Module):
    """The lowest layers of the encoder; its embeddings are not trained."""

    def __init__(self, folder: Path, layers: int) -> None:
        from transformers import BertModel

        super().__init__()
        # Without dropout attention is computed in one kernel, and few passes over the data need none.
        whole = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        self.bert = BertModel.from_pretrained(folder, add_pooling_layer=False, **whole)
        self.bert.encoder.layer = self.bert.encoder.layer[:layers]
        self.bert.embeddings.requires_grad_(False)
        self.size: int = self.bert.config.hidden_size

    def states(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The states (n, length, d) of the tokens, and their mean (n, d)."""
        states = self.bert(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        return states, (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)

    def weights(self, heads: Sequence[str]) -> dict[str, Tensor]:
        """The layers under the names that ``embeddings.bert`` knows, and the heads."""
        layers = {k: v for k, v in self.bert.state_dict().items() if k.startswith("encoder.")}
        parts = {f"{h}.{part}": getattr(getattr(self, h), part) for h in heads for part in ("weight", "bias")}
        return {**layers, **parts}


def padded(batch: Sequence[Ids]) -> tuple[Tensor, Tensor]:
    """Token ids (n, length) of the pairs, filled up with <pad>, and 1 where a token is none of those."""
    longest = max(len(r.ids) for r in batch)
    ids = torch.tensor([r.ids + [PAD] * (longest - len(r.ids)) for r in batch])
    mask = torch.tensor([[1.0] * len(r.ids) + [0.0] * (longest - len(r.ids)) for r in batch])
    return ids, mask


def train(
    model: Layers,
    batches: Iterable[Batch],
    total: int,
    rate: float,
    loss_of: Callable[[Batch], Tensor],
    after: Callable[[int], None],
) -> None:
    """Take ``total`` steps by AdamW at a rate that rises over the first 6% and falls as a cosine; ``after`` is called
    with each step's number, from 1."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.01)
    for step, batch in enumerate(batches, 1):
        share = step / total
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, share / 0.06) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
        loss_of(batch).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        after(step)
