"""A sentence against the text it cites: quoted, supported or not."""

from __future__ import annotations

import re

from rag.fold import squeeze
from rag.records import Citation, Support

_MARKER = re.compile(
    r"[一二三四五六七八九十百]{1,4}、|\([一二三四五六七八九十\d]{1,3}\)|\d{1,2}[.、]?|[①-⑳]|#{1,6}|第.{1,5}[编章节条]"
)


def support(sentence: str, citations: tuple[Citation, ...]) -> Support:
    """``quoted`` if a citation's words are in the sentence as they stand, white space aside.

    The number of a heading that the quotation begins with may be left out; no other number may. A sentence without
    citation is ``unsupported``.
    """
    said = squeeze(sentence)[0]
    for citation in citations:
        quote = squeeze(citation.quote)[0]
        if quote and (quote in said or _unnumbered(quote, citation.section) in said):
            return "quoted"
    return "unsupported"


def _unnumbered(quote: str, section: tuple[str, ...]) -> str:
    """The quotation without its section's marker, if it begins with that section's heading."""
    label = squeeze(section[-1])[0] if section else ""
    marker = _MARKER.match(label)
    if marker and quote.startswith(marker[0]) and quote[: len(label)] == label[: len(quote)]:
        return quote[marker.end() :] or quote
    return quote
