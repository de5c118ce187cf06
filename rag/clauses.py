"""A sentence to its clauses, and to the few of them that answer. Spans only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from rag.records import Span

_STOP = re.compile(r"[，,；;：:。！？!?]|——")
_PAIRS = tuple(map(tuple, ("“”", "（）", "()", "《》", "「」", "【】", "‘’")))
_LISTED = re.compile(r"[^，,；;：:。！？!?、]{1,24}(?:、[^，,；;：:。！？!?、]{1,24})+")
_LAST_TWO = re.compile(r"(?<=[\u4e00-\u9fff”》）])(?:以及|和|与|及)(?=[\u4e00-\u9fff“《])")


def clauses(text: str, span: Span) -> list[Span]:
    """The clauses of ``text[span]``, each with the punctuation that ends it; they cover the span.

    A clause does not end inside a quotation or bracket, nor between the digits of a number.
    """
    out: list[Span] = []
    start = span.start
    for match in _STOP.finditer(text, span.start, span.end):
        end = match.end()
        digits = text[match.start() - 1 : match.start()].isdigit() and text[end : end + 1].isdigit()
        if end >= span.end or digits or _open(text[start:end]):
            continue
        out.append(Span(start, end))
        start = end
    if start < span.end:
        out.append(Span(start, span.end))
    return out


def _open(piece: str) -> bool:
    return any(piece.count(opening) > piece.count(closing) for opening, closing in _PAIRS)


def enumerated(text: str) -> int:
    """How many things the longest enumeration within one clause names (甲、乙和丙: 3); 1 where there is none."""
    longest = 1
    for match in _LISTED.finditer(text):
        parts = match[0].split("、")
        longest = max(longest, len(parts) + (1 if _LAST_TWO.search(parts[-1]) else 0))
    return longest


def parallel(text: str, spans: Sequence[Span]) -> int:
    """How many neighbouring clauses begin with the same two characters (如何…,如何…,如何…: 3)."""
    heads = [text[s.start : s.end].lstrip()[:2] for s in spans]
    longest = run = 1
    for previous, head in pairwise(heads):
        run = run + 1 if head == previous and len(head) == 2 else 1
        longest = max(longest, run)
    return longest


def best_run(values: Sequence[float], lengths: Sequence[int], price: float) -> tuple[int, int]:
    """The run of neighbours ``[i, j)`` around the most valuable one that is worth most, each character at ``price``."""
    top = max(range(len(values)), key=lambda i: values[i])
    gains = [value - price * length for value, length in zip(values, lengths, strict=True)]
    first, last = _reach(gains[:top][::-1]), _reach(gains[top + 1 :])
    return top - first, top + 1 + last


def _reach(gains: Sequence[float]) -> int:
    """How many of these in turn are worth most together; 0 where none are."""
    best = total = 0.0
    reach = 0
    for i, gain in enumerate(gains, 1):
        total += gain
        if total > best:
            best, reach = total, i
    return reach
