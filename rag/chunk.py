"""Sections to sentences, and sentences to the chunks that are retrieved. Spans only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from rag.records import Article, Chunk, Document, Section, Span

TARGET = 150  # characters of a chunk; chosen by measuring, see docs/evaluation.md
LONGEST = 300  # a single sentence longer than this is cut at its clauses
_CLOSING = '”’」』）)】》〉"'
_END = re.compile(
    rf"(?:[。！？!?]+|…{{2,}}|\.{{3,}}(?=[\s{_CLOSING}]))[{re.escape(_CLOSING)}]*|[\r\n]+|(?<=[^\d\s])\.(?=\s)"
)
_CLAUSE = re.compile(r"[；;]")
_SOFT = re.compile(r"[，,、：:\s]")


def sentences(text: str, start: int, end: int) -> list[Span]:
    """The sentences of ``text[start:end]``, without the white space between them.

    A sentence ends with 。！？ or … and the quotes and brackets that close after it, or at a line's end;
    never inside an open quotation or bracket that closes soon after.
    """
    out: list[Span] = []
    begin = start
    for match in _END.finditer(text, start, end):
        if match.end() > begin and not _inside(text, begin, match, end):
            out.extend(_stripped(text, begin, match.end()))
            begin = match.end()
    out.extend(_stripped(text, begin, end))
    return [piece for span in out for piece in _cut(text, span)]


def _inside(text: str, begin: int, match: re.Match[str], end: int) -> bool:
    """Whether a stop stands in a bracket or quotation opened in this sentence and closed within reach."""
    if match[0][0] in "\r\n":
        return False
    so_far = text[begin : match.end()]
    for opening, closing in ("“”", "（）", "()", "《》", "「」", "【】"):
        if so_far.count(opening) > so_far.count(closing):
            ahead = text[match.end() : min(end, match.end() + 60)]
            close, reopen = ahead.find(closing), ahead.find(opening)
            if close >= 0 and (reopen < 0 or close < reopen) and "\n" not in ahead[:close]:
                return True
    return False


def _stripped(text: str, start: int, end: int) -> Iterator[Span]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start < end:
        yield Span(start, end)


def _cut(text: str, span: Span) -> Iterator[Span]:
    """A sentence too long to be one unit, cut at its clauses."""
    start = span.start
    while span.end - start > LONGEST:
        window = (start + LONGEST // 3, start + LONGEST)
        cuts = [m.end() for m in _CLAUSE.finditer(text, *window)] or [
            m.end() for m in _SOFT.finditer(text, *window)
        ]
        cut = cuts[-1] if cuts else window[1]
        yield from _stripped(text, start, cut)
        start = cut
    yield from _stripped(text, start, span.end)


def chunks(document: Document, article: Article) -> list[Chunk]:
    """The chunks of an article's body: neighbouring sentences of one section, up to ``TARGET`` characters."""
    out: list[Chunk] = []
    for start, end, path in _leaves(article):
        body = path[-1].body if path else start
        cuts = (start, body, end) if start < body < end else (start, end)
        spans = [s for a, b in pairwise(cuts) for s in sentences(document.text, a, b)]
        labels = tuple(section.label for section in path)
        packed: list[Span] = []
        for span in spans:
            if packed and span.end - packed[0].start > TARGET:
                out.append(_chunk(article, labels, packed))
                packed = []
            packed.append(span)
        if packed:
            out.append(_chunk(article, labels, packed))
    return out


def _chunk(article: Article, labels: tuple[str, ...], packed: list[Span]) -> Chunk:
    return Chunk(packed[0].start, packed[-1].end, article.number, labels, tuple(packed))


_Leaf = tuple[int, int, tuple[Section, ...]]


def _leaves(article: Article) -> Iterator[_Leaf]:
    """Runs of text that belong to one section directly, with the path of that section."""

    def inner(
        start: int, end: int, children: tuple[Section, ...], path: tuple[Section, ...]
    ) -> Iterator[_Leaf]:
        at = start
        for child in children:
            if at < child.start:
                yield at, child.start, path
            yield from inner(child.start, child.end, child.sections, (*path, child))
            at = child.end
        if at < end:
            yield at, end, path

    return inner(max(article.start, article.body), article.end, article.sections, ())
