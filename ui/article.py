"""An article laid out from its tree of sections, as HTML: pure functions, every text escaped.

Two promises are property-tested: the body's text is exactly the article's characters, and the joined text of
``mark.evidence`` is exactly the cited span. Layout adds elements, never characters.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from rag.chunk import sentences
from rag.records import Article, Document, Section, Span
from ui.markup import escape

PARAGRAPH = 150  # characters after which a paragraph of running text ends with its sentence
OUTLINED = 6  # an article of more sections shows its outline
LONG = 20_000  # characters of an article whose blocks are laid out as they come into view

_FULL_STOPS = "。！？!?…”’」』）)】》"

Kind = Literal["title", "heading", "item", "text"]


@dataclass(frozen=True, slots=True)
class Block(Span):
    """A stretch of an article's text that is laid out as one element.

    ``lead`` is where the block's opening words (an item's marker and heading) end.
    """

    kind: Kind
    level: int = 0
    lead: int = 0


@dataclass(frozen=True, slots=True)
class Mark(Span):
    """Cited characters: those of the citation that is shown, or of the answer's other citation number ``also``."""

    also: int | None = None


Marks = tuple[Mark, ...]


def marks_of(evidence: Span | None, also: Sequence[Span] = ()) -> Marks:
    """Marks for the citation that is shown and for the answer's others, which are counted from 0."""
    shown = (Mark(evidence.start, evidence.end),) if evidence else ()
    return (*shown, *(Mark(span.start, span.end, n) for n, span in enumerate(also)))


def article_html(
    document: Document, article: Article, marks: Marks = (), path: Sequence[Section] = ()
) -> str:
    """An article under its title and a path of sections, its marks in ``mark.evidence`` and ``mark.also``.

    Every block has ``data-start``, its first character's place in the document; every sentence is a ``span.s``
    whose id ends in its own. ``data-also`` lists the numbers of the marks that a ``mark.also`` belongs to.
    """
    laid_out = blocks(document.text, article)
    starts = [block.start for block in laid_out]
    category = f'<span class="category">{escape(article.category)}</span>' if article.category else ""
    body = "".join(_block(document.text, block, marks) for block in laid_out)
    return (
        f'<article class="source" data-document="{escape(document.name)}" data-article="{article.number}">'
        f'<header><p class="place"><span class="document">{escape(document.name)}</span>'
        f'<span class="number">第 {article.number} 篇</span>{category}</p>'
        f"<h2>{escape(article.title)}</h2>{_crumbs(path, starts)}{_contents(article, starts)}</header>"
        f'<div class="body{" long" if len(article) > LONG else ""}" lang="zh-CN">{body}</div></article>'
    )


def _crumbs(path: Sequence[Section], starts: Sequence[int]) -> str:
    if not path:
        return ""
    steps = "".join(f"<li>{_jump(section, starts)}</li>" for section in path)
    return f'<ol class="path" aria-label="章节 Sections">{steps}</ol>'


def _contents(article: Article, starts: Sequence[int]) -> str:
    """The outline of an article that has many sections."""
    count = sum(1 for _ in article.walk())
    if count <= OUTLINED:
        return ""
    return (
        f'<details class="outline"><summary>本篇 {count} 节 <small lang="en">Outline</small></summary>'
        f"{_branch(article.sections, starts)}</details>"
    )


def _branch(sections: Sequence[Section], starts: Sequence[int]) -> str:
    if not sections:
        return ""
    rows = "".join(f"<li>{_jump(s, starts)}{_branch(s.sections, starts)}</li>" for s in sections)
    return f"<ol>{rows}</ol>"


def _jump(section: Section, starts: Sequence[int]) -> str:
    """A button to the block that a section begins in."""
    at = starts[max(0, bisect_right(starts, section.start) - 1)]
    return f'<button type="button" class="jump" data-to="{at}">{escape(section.label)}</button>'


# --- Blocks ------------------------------------------------------------------------------------------


def blocks(text: str, article: Article) -> list[Block]:
    """The article's characters as blocks in reading order, without a gap or an overlap."""
    starts = [Block(article.start, article.start, "title")]
    if article.body > article.start:
        starts.append(Block(article.body, article.body, "text"))
    for path in article.walk():
        starts.extend(_openings(text, path[-1], len(path)))
    starts = [s for s in starts if article.start <= s.start < article.end]
    starts.sort(key=lambda s: s.start)  # stable: at one place the innermost opening is the last
    opened = {s.start: s for s in starts}
    places = [*sorted(opened), article.end]
    out: list[Block] = []
    for start, end in pairwise(places):
        kind = opened[start]
        for piece in _paragraphs(text, start, end, kind):
            if out and not text[piece.start : piece.end].strip():
                last = out.pop()
                piece = Block(last.start, piece.end, last.kind, last.level, last.lead)
            out.append(piece)
    return out


def _openings(text: str, section: Section, depth: int) -> Iterator[Block]:
    """Where a section's head, its text and what follows the section begin."""
    # what follows is opened first, so that a section that begins there overrides it
    yield Block(section.end, section.end, "text", depth - 1)
    if section.start < section.body:
        yield Block(section.start, section.start, "heading", depth)
        yield Block(section.body, section.body, "text", depth)
    else:
        yield Block(section.start, section.start, "item", depth, lead_end(text, section))


def lead_end(text: str, section: Section) -> int:
    """Where marker and heading end in a section that begins within a running sentence."""
    at = section.start
    for char in section.marker + section.heading:
        if char.isspace():
            continue
        found = next((i for i in range(at, section.end) if not text[i].isspace()), section.end)
        if text[found : found + 1] != char:
            break  # the heading was read without its brackets: the rest of it is running text
        at = found + 1
    return at


def _paragraphs(text: str, start: int, end: int, kind: Block) -> Iterator[Block]:
    """A block cut at line breaks and, where it is long, between sentences."""
    begin, name, before = start, kind.kind, start
    if kind.kind in ("item", "text"):
        for sentence in sentences(text, start, end):
            broken = "\n" in text[before : sentence.start]
            long = before - begin >= PARAGRAPH and end - before >= PARAGRAPH // 3
            if before > begin and (broken or (long and text[before - 1] in _FULL_STOPS)):
                yield Block(begin, sentence.start, name, kind.level, kind.lead if begin == start else 0)
                begin, name = sentence.start, "text"
            before = sentence.end
    yield Block(begin, end, name, kind.level, kind.lead if begin == start else 0)


# --- Characters --------------------------------------------------------------------------------------


def _block(text: str, block: Block, marks: Marks) -> str:
    """One block's element; its characters are those of the text, all of them."""
    marks = _within(block, marks)
    content = "".join(_sentence(text, span, block, marks) for span in _spans(text, block))
    depth = f"depth-{min(block.level, 4)}"
    if block.kind == "heading":
        level = min(block.level + 2, 6)
        return f'<h{level} class="{depth}" data-start="{block.start}">{content}</h{level}>'
    marked = " cited" if block.kind == "title" and marks else ""
    return f'<p class="{block.kind} {depth}{marked}" data-start="{block.start}">{content}</p>'


def _within(span: Span, marks: Marks) -> Marks:
    return tuple(mark for mark in marks if mark.overlap(span))


@dataclass(frozen=True, slots=True)
class _Stretch(Span):
    sentence: bool


def _spans(text: str, block: Block) -> Iterator[_Stretch]:
    """The block's sentences and the white space around them; a title, shown above already, is no sentence."""
    at = block.start
    for span in sentences(text, block.start, block.end) if block.kind != "title" else ():
        if at < span.start:
            yield _Stretch(at, span.start, False)
        yield _Stretch(span.start, span.end, True)
        at = span.end
    if at < block.end:
        yield _Stretch(at, block.end, False)


def _sentence(text: str, span: _Stretch, block: Block, marks: Marks) -> str:
    marks = _within(span, marks)
    borders = {_gap_end(text, block), block.lead, *(m.start for m in marks), *(m.end for m in marks)}
    cuts = [span.start, *sorted(b for b in borders if span.start < b < span.end), span.end]
    runs = "".join(_run(text, Span(a, b), block, marks) for a, b in pairwise(cuts))
    return f'<span class="s" id="s-{span.start}">{runs}</span>' if span.sentence else runs


def _run(text: str, run: Span, block: Block, marks: Marks) -> str:
    """Characters that no border divides: white space before a block, its opening words, marked or not."""
    content = escape(text[run.start : run.end])
    if run.end <= _gap_end(text, block):
        content = f'<span class="gap">{content}</span>'
    elif run.end <= block.lead:
        content = f"<b>{content}</b>"
    held = _within(run, marks)
    others = " ".join(str(mark.also) for mark in held if mark.also is not None)
    names = ["evidence"] if any(mark.also is None for mark in held) else []
    if others:
        return f'<mark class="{" ".join([*names, "also"])}" data-also="{others}">{content}</mark>'
    return f'<mark class="evidence">{content}</mark>' if names else content


def _gap_end(text: str, block: Block) -> int:
    """Where the white space that a block begins with ends."""
    at = block.start
    while at < block.end and text[at].isspace():
        at += 1
    return at
