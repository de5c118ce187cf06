"""Trains the checker that ships in ``embeddings/weights``: does a cited text support a sentence?

    python benchmarks/train_checker.py --start reader.safetensors --pairs FILE.md FILE.pairs.jsonl … [--held …]
                                       --out checker.safetensors

``--pairs`` are a document and sentences about it that people wrote: a line is ``{"evidence": a piece of the document,
"true": [sentences that it supports], "false": [{"kind", "text"}]}``. From the documents themselves more are made by rule:
sentences shortened to some of their clauses, and the same with a number, a name or a negation changed, beside the fact of
another place. ``--held`` pairs measure the result. The layers start from those of another trained model, all or the ones
that ``--keep`` names; with ``--teacher`` a larger checker's probabilities are learned beside the labels (Hinton et al.,
arXiv:1503.02531).
"""

from __future__ import annotations

import argparse
import random
import re
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from support import read_pairs
from torch import Tensor, nn
from torch.nn import functional as F
from training import Layers, padded, train

from embeddings.encoder import SentenceEncoder
from embeddings.pairmodel import pair_ids, save, unpacked
from rag.chunk import sentences
from rag.claims import names, quantities
from rag.clauses import clauses
from rag.lexicon import natural
from rag.load import read_document
from rag.outline import outline
from rag.read import heading
from rag.records import Article, Document, Span

MAX_TOKENS = 160
MADE = 40  # groups made by rule of a document


@dataclass(frozen=True, slots=True)
class Pair:
    """A sentence, the text that it cites, the headings above that, and whether it is supported."""

    sentence: str
    above: str
    text: str
    supported: bool
    kind: str


@dataclass(frozen=True, slots=True)
class Row:
    ids: list[int]
    supported: bool
    kind: str


def written(document: Document, articles: Sequence[Article], file: Path) -> Iterator[Pair]:
    """The pairs that people wrote, each below its heading as it is at run time."""
    for kind, sentence, text, place in read_pairs(document, file):
        yield Pair(natural(sentence), above(articles, place), natural(text), kind == "true", kind)


def above(articles: Sequence[Article], place: int) -> str:
    """The heading over a place."""
    article = next(a for a in articles if a.start <= place < a.end)
    return heading(article.title, [section.label for section in article.path_at(place)])


_NEGATED = (
    ("应当", "不必"), ("必须", "可以不"), ("不得", "可以"), ("可以", "不得"), ("已经", "尚未"), ("没有", "已经有"), ("不再", "继续"),
    ("允许", "禁止"), ("禁止", "允许"), ("增加", "减少"), ("减少", "增加"), ("提高", "降低"), ("下降", "上升"), ("上升", "下降"),
    ("鼓励", "限制"), ("不超过", "不少于"), ("不少于", "不超过"), ("以上", "以下"), ("以内", "以后"), ("之前", "之后"), ("高于", "低于"),
    ("全部", "部分"), ("由", "不由"), ("是", "不是"), ("有", "没有"), ("能", "不能"), ("会", "不会"),
)  # fmt: skip


def made(document: Document, articles: Sequence[Article], chance: random.Random) -> Iterator[Pair]:
    """Pairs by rule: parts of a sentence, and the same with one thing changed."""
    text = document.text
    spans = [s for a in articles for s in sentences(text, a.body or a.start, a.end) if 16 <= len(s) <= 160]
    whole = [natural(text[s.start : s.end]) for s in spans]
    figures = sorted({t[q.start : q.end] for t in whole for q in quantities(t)})
    called = sorted({n for t in whole for n in names(t) if 2 <= len(n) <= 10})
    for i in chance.sample(range(len(spans)), min(MADE, len(spans))):
        over, evidence = above(articles, spans[i].start), whole[i]
        if chance.random() < 0.4 and i + 1 < len(spans):
            evidence = whole[i] + whole[i + 1]
        said = shortened(whole[i], chance)
        yield Pair(said, over, evidence, True, "made")
        others = [
            changed_figure(said, figures, chance),
            changed_name(said, called, chance),
            turned(said, chance),
        ]
        for kind, other in zip(("number", "name", "negation"), others, strict=True):
            if other and other not in evidence:
                yield Pair(other, over, evidence, False, kind)
        j = chance.randrange(len(spans))
        if abs(i - j) > 1:
            yield Pair(shortened(whole[j], chance), over, evidence, False, "other")
            half = said.rstrip("。；;，,") + "，" + shortened(whole[j], chance)
            yield Pair(half, over, evidence, False, "half")


def shortened(sentence: str, chance: random.Random) -> str:
    """A run of the sentence's clauses."""
    parts = clauses(sentence, Span(0, len(sentence)))
    size = chance.randint(1, min(3, len(parts)))
    first = chance.randint(0, len(parts) - size)
    return sentence[parts[first].start : parts[first + size - 1].end].rstrip("，,；;：:、。！？") + "。"


def changed_figure(sentence: str, figures: Sequence[str], chance: random.Random) -> str | None:
    found = list(quantities(sentence))
    if not found:
        return None
    one = chance.choice(found)
    digits = re.search(r"\d+(?:\.\d+)?", sentence[one.start : one.end])
    if not digits or chance.random() < 0.3:
        same = [f for f in figures if f[-1:] == sentence[one.end - 1 : one.end] and f not in sentence]
        return sentence[: one.start] + chance.choice(same) + sentence[one.end :] if same else None
    value = float(digits[0])
    other = value + chance.choice((-2, -1, 1, 2, 3, 5)) * (10 ** max(0, len(digits[0].split(".")[0]) - 2))
    shown = f"{other:g}" if other > 0 else f"{value + 1:g}"
    at = one.start + digits.start()
    return sentence[:at] + shown + sentence[at + len(digits[0]) :]


def changed_name(sentence: str, called: Sequence[str], chance: random.Random) -> str | None:
    own = [n for n in names(sentence) if n in sentence and len(n) > 1]
    others = [n for n in called if n not in sentence]
    if not own or not others:
        return None
    return sentence.replace(chance.choice(own), chance.choice(others), 1)


def turned(sentence: str, chance: random.Random) -> str | None:
    found = [(a, b) for a, b in _NEGATED if a in sentence and b not in sentence]
    if not found:
        return None
    a, b = chance.choice(found[:6])
    return sentence.replace(a, b, 1)


class Checking(Layers):
    """The encoder's lowest layers with one output: whether the text supports the sentence."""

    def __init__(self, folder: Path, start: Path | None, layers: Sequence[int]) -> None:
        """``layers`` are the places of the layers of ``start`` that it begins with, from 0."""
        super().__init__(folder, len(layers))
        self.pooled = nn.Linear(self.size, 1)
        known = kept(unpacked(load_file(start)), layers) if start else {}
        self.bert.load_state_dict(known, strict=False)
        if known.get("pooled.weight", self.pooled.weight).shape == self.pooled.weight.shape:  # a checker's
            self.load_state_dict({k: v for k, v in known.items() if k.startswith("pooled.")}, strict=False)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.pooled(self.states(ids, mask)[1])[:, 0]


def kept(weights: Mapping[str, Tensor], layers: Sequence[int]) -> dict[str, Tensor]:
    """The weights of these layers, numbered anew, and all that belongs to none."""
    found = {}
    for name, value in weights.items():
        at = re.match(r"encoder\.layer\.(\d+)\.", name)
        if at is None:
            found[name] = value
        elif int(at[1]) in layers:
            found[f"encoder.layer.{layers.index(int(at[1]))}.{name[at.end() :]}"] = value
    return found


def measured(model: Checking, held: Sequence[Row]) -> str:
    """Balanced accuracy, and the share right of each kind."""
    model.eval()
    right: dict[str, list[bool]] = defaultdict(list)
    with torch.inference_mode():
        for i in range(0, len(held), 32):
            batch = held[i : i + 32]
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = model(*padded(batch))
            for row, logit in zip(batch, logits.float().tolist(), strict=True):
                right[row.kind].append((logit > 0) == row.supported)
    model.train()
    yes = right.get("true", []) + right.get("made", [])
    no = [x for kind, found in right.items() if kind not in ("true", "made") for x in found]
    shares = {kind: round(sum(found) / len(found), 3) for kind, found in sorted(right.items())}
    return f"balanced {(sum(yes) / max(1, len(yes)) + sum(no) / max(1, len(no))) / 2:.3f} {shares}"


def rows(
    pairs: Sequence[Pair], encoder: SentenceEncoder, chance: random.Random, drop: float = 0.2
) -> list[Row]:
    tokenizer = encoder.model.tokenizer
    return [
        Row(
            pair_ids(tokenizer, p.sentence, p.above if chance.random() >= drop else "", p.text, MAX_TOKENS)[
                0
            ],
            p.supported,
            p.kind,
        )
        for p in pairs
    ]


def batches(found: list[Row], budget: int, chance: random.Random) -> list[list[Row]]:
    order = sorted(found, key=lambda r: len(r.ids) + chance.random() * 8)
    made_: list[list[Row]] = [[]]
    for row in order:
        if len(row.ids) * (len(made_[-1]) + 1) > budget:
            made_.append([])
        made_[-1].append(row)
    chance.shuffle(made_)
    return made_


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--pairs", nargs=2, action="append", default=[], metavar=("FILE.md", "FILE.pairs.jsonl")
    )
    parser.add_argument(
        "--held", nargs=2, action="append", default=[], metavar=("FILE.md", "FILE.pairs.jsonl")
    )
    parser.add_argument("--documents", nargs="*", default=[], help="more documents to make pairs from")
    parser.add_argument("--start", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--keep", type=int, nargs="+", default=list(range(8)), help="layers to start with")
    parser.add_argument("--teacher", type=Path, help="a checker of eight layers to learn from")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--tokens", type=int, default=4096, help="of a batch")
    options = parser.parse_args()
    torch.manual_seed(0)
    chance = random.Random(0)
    encoder = SentenceEncoder()
    own: list[Pair] = []
    texts = []
    for path, file in options.pairs:
        document = read_document(Path(path))
        articles = outline(document).articles
        own += written(document, articles, Path(file))
        texts.append((document, articles))
    for path in options.documents:
        document = read_document(Path(path))
        texts.append((document, outline(document).articles))
    held_rows = []
    for path, file in options.held:
        document = read_document(Path(path))
        held_rows.append(
            (
                file,
                rows(list(written(document, outline(document).articles, Path(file))), encoder, chance, 0.0),
            )
        )
    model = Checking(encoder.folder.path, options.start, options.keep)
    teacher = (
        Checking(encoder.folder.path, options.teacher, range(8)).eval().requires_grad_(False)
        if options.teacher
        else None
    )
    per_epoch = [
        batches(
            rows([*own, *(p for d, a in texts for p in made(d, a, chance))], encoder, chance),
            options.tokens,
            chance,
        )
        for _ in range(options.epochs)
    ]
    total, begun = sum(map(len, per_epoch)), time.time()
    losses: list[float] = []

    def loss(batch: list[Row]) -> Tensor:
        ids, mask = padded(batch)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(ids, mask)
        gold = torch.tensor([float(r.supported) for r in batch])
        weight = torch.where(gold > 0, 1.4, 1.0)
        if teacher is not None:
            with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
                taught = torch.sigmoid(teacher(ids, mask).float())
            gold = 0.3 * gold + 0.7 * taught.clone()
        found = F.binary_cross_entropy_with_logits(logits.float(), gold, weight)
        losses.append(found.item())
        return found

    def after(step: int) -> None:
        if step % 25 == 0:
            print(step, total, round(time.time() - begun), round(sum(losses[-25:]) / 25, 4), flush=True)
        if step % 200 == 0 or step == total:
            for file, some in held_rows:
                print(Path(file).name, measured(model, some), flush=True)

    train(model, (batch for epoch in per_epoch for batch in epoch), total, options.rate, loss, after)
    save(options.out, model.weights(["pooled"]), model.bert.config.to_dict())


if __name__ == "__main__":
    main()
