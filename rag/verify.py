"""A sentence against the text it cites: quoted, supported or not."""

from __future__ import annotations

from rag.fold import squeeze
from rag.records import Citation, Support


def support(sentence: str, citations: tuple[Citation, ...]) -> Support:
    """``quoted`` if a citation's words are in the sentence as they stand, white space and list marks aside.

    A sentence without citation is ``unsupported``.
    """
    said = squeeze(sentence)[0]
    for citation in citations:
        quote = squeeze(citation.quote)[0]
        # the number that a quotation begins with is not shown
        if any(quote[skip:] and quote[skip:] in said for skip in range(min(6, len(quote)))):
            return "quoted"
    return "unsupported"
