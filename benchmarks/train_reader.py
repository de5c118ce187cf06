"""Trains the reader that ships in ``embeddings/weights``: relevance, answerability and answer span in one pass.

    python benchmarks/train_reader.py [--rows P.jsonl Q.jsonl] [--squad FILE.json] [--squad2 FILE.json]
                                      [--cases FILE.md FILE.jsonl] [--held FILE.md FILE.jsonl] --out reader.safetensors

``--rows`` are paragraphs and questions as ``youju eval retrieval`` takes them, ``--squad`` a file in SQuAD's form,
``--squad2`` one in that of SQuAD 2.0, in English, with questions that have no answer, ``--cases`` a document and cases
on it as ``youju eval cases`` takes them; each may be given several times. ``--held`` cases are not trained on and
measure the result.

The windows come from the project's own splitter and retriever, so that the reader learns on what it will read. The
windows that hold the answer stand against others of the same topic and of a high rank that do not. The span to be found
is the clauses around the answer. Questions without an answer are those of the cases that have none, and made from the
rows: a number, a name or the sense of a question changed, or a detail asked for that the window does not give. The
encoder's lowest layers are trained further; its embeddings stay as they are and are not stored.

What shipped is described in embeddings/weights/README.md.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from training import Layers, padded, train

from embeddings.encoder import SentenceEncoder
from embeddings.pairmodel import HEADS, pair_ids, save
from eval.bench import knowledge_base
from eval.cases import GoldCase, Library, load_cases
from eval.datasets import Paragraph, ParagraphQuestion, read_paragraphs, read_questions
from rag.clauses import clauses
from rag.condense import beside_earlier
from rag.config import read_settings
from rag.fold import squeeze
from rag.ingest import ingest
from rag.lexicon import STOPWORDS, natural
from rag.question import as_question
from rag.read import readable_passage
from rag.records import Passage, Question, Span
from rag.retrieve import HybridRetriever
from rag.store import Store

RETRIEVED = 24  # windows among which the hard ones are found
NEGATIVES = 3  # of a question in an epoch
MAX_TOKENS = 160
AROUND = 320  # characters around an answer in SQuAD's English


@dataclass(frozen=True, slots=True)
class Window:
    """What the reader is shown of a passage; ``answer`` are the characters of the text that answer, if any do."""

    heading: str
    text: str
    answer: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """A question with the windows that answer it, none where nothing does, and others."""

    question: str
    positives: tuple[Window, ...]
    negatives: tuple[Window, ...]
    kind: str = "fact"


# -- rows to examples ---------------------------------------------------------------------------------------


def read_squad(path: Path) -> tuple[list[Paragraph], list[ParagraphQuestion]]:
    """The paragraphs and the answerable questions of a file in SQuAD's form."""
    paragraphs, questions = [], []
    for article in json.loads(path.read_text("utf-8"))["data"]:
        for row in article["paragraphs"]:
            key = f"{path.stem}-{len(paragraphs)}"
            paragraphs.append(Paragraph(key, "", row["context"]))
            for asked in row["qas"]:
                answers = tuple(dict.fromkeys(a["text"] for a in asked["answers"]))
                if answers:
                    questions.append(ParagraphQuestion(asked["id"], key, asked["question"], answers))
    return paragraphs, questions


def read_squad2(path: Path) -> Iterator[Example]:
    """The questions of a file in the form of SQuAD 2.0, each with the sentences around its answer.

    A question without an answer has the sentences around the one that was written to look like it.
    """
    for article in json.loads(path.read_text("utf-8"))["data"]:
        for row in article["paragraphs"]:
            for asked in row["qas"]:
                impossible = asked.get("is_impossible", False) or not asked["answers"]
                given = asked.get("plausible_answers" if impossible else "answers") or [
                    {"answer_start": len(row["context"]) // 2, "text": ""}
                ]
                start = given[0]["answer_start"]
                text, answer = _around(row["context"], start, start + len(given[0]["text"]))
                if impossible:
                    yield Example(asked["question"], (), (Window("", text),), "impossible")
                else:
                    yield Example(asked["question"], (Window("", text, answer),), ())


def _around(text: str, start: int, end: int) -> tuple[str, tuple[int, int]]:
    """The sentences about ``text[start:end]``, and where it stands in them."""
    borders = [0, *(m.end() for m in re.finditer(r"[.!?。！？](?:\s+|(?<=[。！？]))", text)), len(text)]
    low = max(b for b in borders if b <= start)
    high = min(b for b in borders if b >= end)
    while len(text[low:high]) < AROUND and (low, high) != (0, len(text)):
        before = [b for b in borders if b < low]
        after = [b for b in borders if b > high]
        if before and (not after or start - low < high - end):
            low = before[-1]
        else:
            high = after[0]
    return text[low:high], (start - low, end - low)


def mined(
    paragraphs: Sequence[Paragraph], questions: Sequence[ParagraphQuestion], encoder: SentenceEncoder
) -> Iterator[Example]:
    """Each question with its window and those that are easily taken for it."""
    titles = {p.id: p.title for p in paragraphs}
    with knowledge_base(paragraphs, encoder) as store:
        retriever = HybridRetriever(store=store, encoder=encoder)
        for question in questions:
            found = retriever.retrieve(Question(question.text), RETRIEVED).passages
            example = _example(question, found, titles)
            if example:
                yield example


def _example(question: ParagraphQuestion, found: Sequence[Passage], titles: dict[str, str]) -> Example | None:
    answers = [natural(a) for a in question.answers]
    windows = [(p, _window(p)) for p in found]
    right = [p for p, w in windows if p.document == question.paragraph and _find(w.text, answers)]
    if not right:
        return None
    wrong = [(p, w) for p, w in windows if not _find(w.text, answers)]
    topic = titles[question.paragraph]
    near = [w for p, w in wrong if p.document == question.paragraph or (topic and p.article.title == topic)]
    far = [w for _, w in wrong if w not in near]
    shown = readable_passage(right[0])
    span = _find(shown.text, answers)
    assert span is not None
    touched = [(a, b) for a, b in shown.places if a < span[1] and span[0] < b]
    positive = Window(shown.heading, shown.text, (touched[0][0], touched[-1][1]))
    return Example(natural(question.text), (positive,), (*near[:4], *far[:6]))


def of_cases(document: Path, file: Path, encoder: SentenceEncoder) -> list[Example]:
    """The questions of a file of cases on a document."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        ingest([document], read_settings(kb=Path(folder)), encoder)
        with Store.open(Path(folder)) as store:
            retriever = HybridRetriever(store=store, encoder=encoder)
            for gold in load_cases(file, Library.of(store)):
                found.append(_of_case(gold, retriever))
    return found


def _of_case(gold: GoldCase, retriever: HybridRetriever) -> Example:
    case = gold.case
    question = as_question(case.as_question())
    asked = beside_earlier(question) or question.text
    ranked = list(retriever.retrieve(Question(asked), RETRIEVED).passages)
    if case.articles:
        own = retriever.retrieve(Question(asked, articles=case.articles), 4 * RETRIEVED).passages
        ranked += [p for p in own if p not in ranked]
    positives, tempting, negatives = [], [], []
    for passage in ranked:
        shown = readable_passage(passage)
        touched = [
            place
            for clause, place in zip(shown.clauses, shown.places, strict=True)
            if any(
                e.document == passage.document and e.start < clause.end and clause.start < e.end
                for e in gold.evidence
            )
        ]
        if touched and case.answerable:
            positives.append(Window(shown.heading, shown.text, (touched[0][0], touched[-1][1])))
        else:  # what a false premise is about looks most like an answer
            (tempting if touched else negatives).append(Window(shown.heading, shown.text))
    return Example(natural(asked), tuple(positives[:8]), (*tempting, *negatives)[:8], case.type)


def _window(passage: Passage) -> Window:
    shown = readable_passage(passage)
    return Window(shown.heading, shown.text)


def _whole_clauses(text: str, span: tuple[int, int]) -> tuple[int, int]:
    """The clauses that a span touches."""
    touched = [c for c in clauses(text, Span(0, len(text))) if c.start < span[1] and span[0] < c.end]
    return touched[0].start, touched[-1].end


def _find(text: str, answers: Sequence[str]) -> tuple[int, int] | None:
    """Where one of the answers stands in the text, white space aside."""
    folded, places = squeeze(text)
    for answer in answers:
        wanted = squeeze(answer)[0]
        at = folded.find(wanted) if wanted else -1
        if at >= 0:
            return places[at], places[at + len(wanted) - 1] + 1
    return None


# -- questions that have no answer, and more that have one ------------------------------------------------

_OPPOSITE = {
    a: b
    for pair in (
        "最大 最小", "最高 最低", "最早 最晚", "最多 最少", "最长 最短", "第一 第三", "首次 末次", "之前 之后",
        "以前 以后", "增加 减少", "上升 下降", "提高 降低", "成立 解散", "开始 结束", "支持 反对", "允许 禁止",
        "胜利 失败", "出生 去世", "东部 西部", "南部 北部", "国内 国外", "优点 缺点", "输入 输出", "购买 出售",
        "建成 拆除", "进入 离开", "赞成 反对", "左边 右边", "内部 外部", "鼓励 限制", "新增 取消", "必须 不得",
    )
    for a, b in (pair.split(), reversed(pair.split()))
}  # fmt: skip
_FIGURE = re.compile(r"\d+(?:\.\d+)?")
_DETAILS = (  # a detail of something, and what a text that gives it must hold
    ("{}花了多少钱？", r"元|圆|块|美金|英镑"),
    ("{}的经费是多少万元？", r"元|圆|经费|预算"),
    ("{}的联系电话是多少？", r"电话|\d{7,}"),
    ("{}的面积有多大？", r"平方|公顷|亩|面积"),
    ("{}有多少名工作人员？", r"\d+\s*[余多]?[名人位]|人员"),
    ("{}是哪一年成立的？", r"\d年|世纪|年代"),
    ("{}什么时候开始的？", r"\d年|世纪|年代|月|日|时期|期间"),
    ("{}的负责人是谁？", r"长|主席|总统|主任|领导|负责|创办|王|帝"),
    ("{}占多大比例？", r"%|％|百分|分之|成"),
    ("{}有多高？", r"米|公尺|高"),
    ("{}有多长？", r"米|公里|公尺|里|长"),
    ("{}每年举办几次？", r"次|届|每年"),
    ("{}的主管部门是哪个？", r"部|局|署|厅|委员会|机关"),
    ("{}设在哪个城市？", r"市|城|位于|地处|总部"),
    ("对{}有什么处罚？", r"罚|处分|刑|惩"),
    ("{}用了几年时间？", r"年"),
    ("{}的电子邮箱是什么？", r"邮|@"),
    ("{}为什么失败？", r"失败|因为|由于|原因"),
    ("参加{}需要什么条件？", r"条件|资格|必须|需要|要求"),
    ("{}由谁监督？", r"监督|监管|督"),
)


def changed(example: Example, words: Sequence[str], chance: random.Random) -> Example | None:
    """The question with a number, a word or its sense changed, so that its window answers it no more."""
    text, positive = example.question, example.positives[0]
    ways = []
    figures = [m for m in _FIGURE.finditer(text) if m[0] in positive.text]
    if figures:
        figure = chance.choice(figures)
        other = str(int(float(figure[0])) + chance.choice((-7, -3, -2, 2, 3, 5, 11)))
        ways.append(text[: figure.start()] + other + text[figure.end() :])
    turned = [a for a in _OPPOSITE if a in text]
    if turned:
        word = chance.choice(turned)
        ways.append(text.replace(word, _OPPOSITE[word], 1))
    own = [w for w in _content(text) if w in positive.text or w in positive.heading]
    if own and words:
        word = max(own, key=lambda w: (len(w), chance.random()))
        other = chance.choice(words)
        if other not in text and other not in positive.text:
            ways.append(text.replace(word, other, 1))
    if not ways:
        return None
    return Example(chance.choice(ways), (), (positive, *example.negatives[:2]), "changed")


def detailed(example: Example, chance: random.Random) -> Example | None:
    """A detail asked for that the window, which speaks of the thing, does not give."""
    window = example.positives[0]
    names = re.findall(r"[“《]([^”》]{2,12})[”》]", window.text) + _content(window.text)[:12]
    if window.heading and len(window.heading) <= 14:
        names += [window.heading] * 4
    fitting = [template for template, holds in _DETAILS if not re.search(holds, window.text)]
    if not names or not fitting:
        return None
    asked = chance.choice(fitting).format(chance.choice(names))
    return Example(asked, (), (window, *example.negatives[:2]), "detailed")


def blanked(example: Example, chance: random.Random) -> Example | None:
    """A clause of the window with a figure in it, asked for that figure: as people ask after a phrase they know."""
    window = example.positives[0]
    clauses = [m for m in re.finditer(r"[^，。；：！？、（）()]{6,40}", window.text) if _FIGURE.search(m[0])]
    if not clauses:
        return None
    clause = chance.choice(clauses)
    figure = chance.choice(list(_FIGURE.finditer(clause[0])))
    if figure.start() < 3:
        return None
    after = clause[0][figure.end() :]
    if after.startswith(("年", "月", "日")):
        asked = clause[0][: figure.start()] + "哪一" + after[:1] + after[1:] + "？"
    else:
        asked = clause[0][: figure.start()] + "多少" + after + "？"
    span = _whole_clauses(window.text, (clause.start() + figure.start(), clause.start() + figure.end()))
    others = tuple(w for w in example.negatives if figure[0] not in w.text)
    return Example(asked, (replace(window, answer=span),), others, "blanked")


def _content(text: str) -> list[str]:
    import jieba

    return [
        w
        for w in jieba.lcut(text)
        if len(w) > 1 and w not in STOPWORDS and re.fullmatch(r"[\u4e00-\u9fff]+", w)
    ]


# -- the model ----------------------------------------------------------------------------------------------


class Trained(Layers):
    """The encoder's lowest layers with the reader's heads."""

    def __init__(self, folder: Path, layers: int) -> None:
        super().__init__(folder, layers)
        self.pooled = nn.Linear(self.size, 2)  # relevance, answerability
        self.spans = nn.Linear(self.size, 2)  # start, end

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        states, mean = self.states(ids, mask)
        pooled = self.pooled(mean)
        return pooled[:, 0], pooled[:, 1], self.spans(states)


@dataclass(frozen=True, slots=True)
class Row:
    """One pair as token ids; ``group`` is its question's, ``start`` and ``end`` tokens of the answer or -1."""

    ids: list[int]
    group: int
    positive: bool
    start: int
    end: int


def rows(example: Example, group: int, encoder: SentenceEncoder, chance: random.Random) -> list[Row]:
    """The pairs of a question: its window, and a few of the others."""
    near = list(example.negatives[:6])
    # The first negative of a question without an answer is the window that looks like one.
    first = [] if example.positives else near[:1]
    rest = near[len(first) :]
    chance.shuffle(rest)
    positives = chance.sample(example.positives, min(2, len(example.positives)))
    shown = [*positives, *first, *rest[: NEGATIVES - len(first)]]
    made = []
    for window in shown:
        above = window.heading if chance.random() < 0.8 else ""
        ids, places = pair_ids(encoder.model.tokenizer, example.question, above, window.text, MAX_TOKENS)
        start = end = -1
        if window.answer:
            low, high = window.answer
            inside = [i for i, (a, b) in enumerate(places) if a < high and b > low and b > a]
            if inside:
                start, end = inside[0], inside[-1]
        made.append(Row(ids, group, window.answer is not None, start, end))
    return made


def batches(all_rows: list[list[Row]], budget: int, chance: random.Random) -> Iterator[list[Row]]:
    """Questions of like length together, each with all its pairs, within a budget of tokens."""
    order = sorted(all_rows, key=lambda rows: max(len(r.ids) for r in rows) + chance.random() * 12)
    made: list[list[Row]] = [[]]
    longest = 0
    for group in order:
        reach = max(longest, *(len(r.ids) for r in group))
        if made[-1] and reach * (len(made[-1]) + len(group)) > budget:
            made.append([])
            reach = max(len(r.ids) for r in group)
        made[-1].extend(group)
        longest = reach
    chance.shuffle(made)
    yield from made


def loss_of(model: Trained, batch: Sequence[Row]) -> tuple[Tensor, dict[str, float]]:
    """Listwise over each question's windows, binary for answerability, and the span of the answer."""
    ids, mask = padded(batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rank, answerable, spans = model(ids, mask)
    rank, answerable, spans = rank.float(), answerable.float(), spans.float()
    positive = torch.tensor([float(r.positive) for r in batch])
    weight = torch.where(positive > 0, 2.0, 1.0)
    binary = F.binary_cross_entropy_with_logits(answerable, positive, weight)
    lists = []
    for group in {r.group for r in batch}:
        members = [i for i, r in enumerate(batch) if r.group == group]
        gold = positive[members]
        if gold.any():
            lists.append(-(F.log_softmax(rank[members], 0) * gold).sum() / gold.sum())
    listwise = torch.stack(lists).mean() if lists else rank.sum() * 0
    spans = spans.masked_fill(mask[..., None] == 0, -1e4)
    known = [i for i, r in enumerate(batch) if r.start >= 0]
    span = rank.sum() * 0
    if known:
        starts, ends = (torch.tensor([getattr(batch[i], side) for i in known]) for side in ("start", "end"))
        span = (F.cross_entropy(spans[known, :, 0], starts) + F.cross_entropy(spans[known, :, 1], ends)) / 2
    return listwise + binary + 0.5 * span, {
        "list": listwise.item(),
        "binary": binary.item(),
        "span": span.item(),
    }


def held_out(model: Trained, groups: list[list[Row]]) -> dict[str, float]:
    """How well questions kept apart are read: first window right, answerability's AUC."""
    model.eval()
    right, scores = [], []
    with torch.inference_mode():
        for group in groups:
            ids, mask = padded(group)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                rank, answerable, _ = model(ids, mask)
            if any(r.positive for r in group):
                right.append(group[int(rank.argmax())].positive)
            scores.append((float(answerable.max()), any(r.positive for r in group)))
    yes, no = [s for s, a in scores if a], [s for s, a in scores if not a]
    auc = sum((y > n) + 0.5 * (y == n) for y in yes for n in no) / max(1, len(yes) * len(no))
    model.train()
    return {"first": sum(right) / max(1, len(right)), "auc": auc, "n": len(scores)}


def examples(options: argparse.Namespace, encoder: SentenceEncoder, chance: random.Random) -> list[Example]:
    """All examples of the files, with the questions made from them."""
    found: list[Example] = []
    rows_read = [(read_paragraphs(Path(p)), Path(q)) for p, q in options.rows]
    sources = [(texts, read_questions(q, texts)) for texts, q in rows_read]
    sources += [read_squad(Path(path)) for path in options.squad]
    for texts, questions in sources:
        found += mined(texts, [q for q in questions if not q.blank], encoder)
        print(f"{len(found)} questions mined", flush=True)
    words = [w for e in found for w in _content(e.positives[0].text)]
    made: list[Example] = []
    for example in found:
        for way, share in (
            (lambda e: changed(e, words, chance), 0.2),
            (lambda e: detailed(e, chance), 0.1),
            (lambda e: blanked(e, chance), 0.1),
        ):
            more = way(example) if chance.random() < share else None
            if more:
                made.append(more)
    print(f"{len(made)} questions made", flush=True)
    for path in options.squad2:
        found += read_squad2(Path(path))
    print(f"{len(found)} questions of rows and files", flush=True)
    for document, file in options.cases:
        own = of_cases(Path(document), Path(file), encoder)
        print(f"{len(own)} cases of {file}", flush=True)
        found += own
    return found + made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", nargs=2, action="append", default=[], metavar=("P.jsonl", "Q.jsonl"))
    parser.add_argument("--squad", action="append", default=[], metavar="FILE.json")
    parser.add_argument("--squad2", action="append", default=[], metavar="FILE.json")
    parser.add_argument("--cases", nargs=2, action="append", default=[], metavar=("FILE.md", "FILE.jsonl"))
    parser.add_argument("--held", nargs=2, action="append", default=[], metavar=("FILE.md", "FILE.jsonl"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rate", type=float, default=1e-4)
    parser.add_argument("--tokens", type=int, default=3072, help="of a batch")
    parser.add_argument("--limit", type=int, help="examples, for a trial")
    options = parser.parse_args()
    torch.manual_seed(0)
    chance = random.Random(0)
    encoder = SentenceEncoder()
    found = examples(options, encoder, chance)
    chance.shuffle(found)
    kept = [e for document, file in options.held for e in of_cases(Path(document), Path(file), encoder)]
    kept_rows = [rows(e, i, encoder, chance) for i, e in enumerate(kept)]
    used = found[: options.limit]
    model = Trained(encoder.folder.path, options.layers)
    made = [rows(e, i, encoder, chance) for i, e in enumerate(used)]
    total = options.epochs * sum(1 for _ in batches(made, options.tokens, chance))
    begun = time.time()
    parts: dict[str, float] = {}

    def epochs() -> Iterator[list[Row]]:
        for _ in range(options.epochs):
            made = [rows(e, i, encoder, chance) for i, e in enumerate(used)]
            yield from batches(made, options.tokens, chance)

    def loss(batch: list[Row]) -> Tensor:
        value, found_parts = loss_of(model, batch)
        parts.update(found_parts)
        return value

    def after(step: int) -> None:
        if step % 25 == 0:
            shown = {k: round(v, 3) for k, v in parts.items()}
            print(step, total, round(time.time() - begun), shown, flush=True)
        if step % 250 == 0:
            print(held_out(model, kept_rows), flush=True)

    train(model, epochs(), total, options.rate, loss, after)
    print(held_out(model, kept_rows), flush=True)
    save(options.out, model.weights(HEADS), model.bert.config.to_dict())


if __name__ == "__main__":
    main()
