"""A conversation as a report: what both file formats write, in words and without layout.

A citation becomes a note that holds its place, its quotation and the document's hash. Characters that no
file may hold (XML 1.0, section 2.2: control characters) are shown as U+FFFD, one for one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from rag.records import AnswerSentence, Citation

REFUSED = "不作回答 (not in the documents)"
UNSUPPORTED = "【未找到依据】"
GONE = "原文件已更改或移除 (the document has changed or was removed)"
SOURCES = "引用的文件 Sources"
SHORT_HASH = 12  # digits of a hash in a note

_UNWRITABLE = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Note:
    """A footnote in three parts, so that the quotation stays apart; ``number`` counts first references."""

    number: int
    place: str
    quote: str
    origin: str

    @property
    def text(self) -> str:
        return f"{self.place}「{self.quote}」{self.origin}"


@dataclass(frozen=True, slots=True)
class Statement:
    """A sentence of an answer with its notes."""

    text: str
    notes: tuple[Note, ...]
    supported: bool


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Sentences that stand together, or one item of a list."""

    statements: tuple[Statement, ...]
    item: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A question, what it was restricted to, how it was understood where that differs, and its answer."""

    question: str
    within: str
    understood: str
    refused: bool
    paragraphs: tuple[Paragraph, ...]

    def remarks(self) -> Iterator[str]:
        """What stands between the question and its answer, a line each."""
        if self.within:
            yield f"仅查 (within)：{self.within}"
        if self.understood:
            yield f"按此理解 (read as)：{self.understood}"


@dataclass(frozen=True, slots=True)
class Source:
    """A document that was quoted; ``held`` where the knowledge base still holds these very bytes."""

    document: str
    sha256: str
    held: bool


@dataclass(frozen=True, slots=True)
class Report:
    """All that is written, in reading order."""

    title: str
    at: datetime
    made: str  # when, and how the answers were made
    entries: tuple[Entry, ...]
    sources: tuple[Source, ...]

    def notes(self) -> Iterator[Note]:
        """Every reference's note in reading order: as often as it is referred to."""
        for entry in self.entries:
            for paragraph in entry.paragraphs:
                for statement in paragraph.statements:
                    yield from statement.notes


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question, the titles of what it was restricted to, and the parts of its answer that a report needs."""

    question: str
    within: tuple[str, ...]
    understood: str
    refused: bool
    engine: str
    sentences: tuple[AnswerSentence, ...]
    citations: tuple[Citation, ...]


def report(
    title: str, exchanges: Sequence[Exchange], held: Mapping[tuple[str, str], bool], at: datetime
) -> Report:
    """The report on a conversation.

    ``held`` says of each cited document, by name and hash, whether the knowledge base still holds it.
    """
    notes: dict[tuple[str, str, int, int], Note] = {}
    entries = tuple(_entry(exchange, held, notes) for exchange in exchanges)
    cited = dict.fromkeys((document, sha256) for document, sha256, _, _ in notes)
    sources = tuple(Source(writable(name), sha256, held[name, sha256]) for name, sha256 in cited)
    return Report(one_line(title), at, _made(exchanges, at), entries, sources)


def writable(text: str) -> str:
    """``text`` with U+FFFD in the place of each character that XML 1.0 forbids."""
    return _UNWRITABLE.sub("\ufffd", text)


def one_line(text: str) -> str:
    """Writable text without line breaks, for headings."""
    return " ".join(writable(text).split())


def _made(exchanges: Sequence[Exchange], at: datetime) -> str:
    """One line: when the report was written, and how each kind of answer in it was made."""
    engines = dict.fromkeys(exchange.engine for exchange in exchanges if not exchange.refused)
    ways = [
        "原文摘录，逐句有出处 (quoted from the documents)"
        if engine == "extractive"
        else f"由 {one_line(engine)} 撰写，逐句核对 (checked sentence by sentence)"
        for engine in engines
    ]
    return "。".join((f"{at:%Y-%m-%d %H:%M} 由有据 (Youju) 导出", *ways)) + "。"


def _entry(
    exchange: Exchange, held: Mapping[tuple[str, str], bool], notes: dict[tuple[str, str, int, int], Note]
) -> Entry:
    by_number = {citation.n: citation for citation in exchange.citations}

    def stated(sentence: AnswerSentence) -> Statement:
        cited = [by_number[n] for n in dict.fromkeys(sentence.citations)]
        found = tuple(_noted(citation, held, notes) for citation in cited)
        return Statement(writable(sentence.text.strip()), found, sentence.support != "unsupported")

    paragraphs: list[Paragraph] = []
    for (kind, _), group in groupby(exchange.sentences, key=lambda s: (s.kind, _origin(s, by_number))):
        statements = tuple(stated(sentence) for sentence in group)
        if kind == "text":
            paragraphs.append(Paragraph(statements))
        else:
            paragraphs.extend(Paragraph((statement,), item=kind == "item") for statement in statements)
    return Entry(
        one_line(exchange.question),
        "、".join(map(one_line, exchange.within)),
        one_line(exchange.understood),
        exchange.refused,
        tuple(paragraphs),
    )


def _origin(
    sentence: AnswerSentence, by_number: Mapping[int, Citation]
) -> tuple[str, int, tuple[str, ...]] | None:
    """The section that running text was taken from: sentences of two sections make two paragraphs."""
    if sentence.kind != "text" or not sentence.citations:
        return None
    first = by_number[sentence.citations[0]]
    return first.document, first.article.number, first.section


def _noted(
    citation: Citation, held: Mapping[tuple[str, str], bool], notes: dict[tuple[str, str, int, int], Note]
) -> Note:
    """The citation's note: the same place has the same note in all answers, whatever its number there."""
    key = citation.document, citation.sha256, citation.start, citation.end
    if key not in notes:
        notes[key] = _note(len(notes) + 1, citation, held[citation.document, citation.sha256])
    return notes[key]


def _note(number: int, citation: Citation, held: bool) -> Note:
    article = citation.article
    steps = (f"第 {article.number} 篇《{article.title}》", *citation.section)
    page = f"，第 {citation.page} 页" if citation.page is not None else ""
    origin = f"[{citation.start}, {citation.end}){page}，SHA-256 {citation.sha256[:SHORT_HASH]}…"
    quote = writable(citation.quote)
    if quote != citation.quote:
        origin += "；\ufffd 为不可显示的字符 (a control character)"
    if not held:
        origin += f"；{GONE}"
    return Note(number, f"{writable(citation.document)} {one_line(' › '.join(steps))}：", quote, origin)
