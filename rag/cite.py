"""Evidence to citations: one number for one place, through a whole conversation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rag.extract import Evidence, Source
from rag.records import Citation

_Key = tuple[str, int, int]


class Numbering:
    """Gives out the numbers of an answer's citations. A place that was cited earlier in the conversation keeps its
    number; new ones go on from the highest."""

    def __init__(self, source: Source, earlier: Sequence[Citation] = ()) -> None:
        self._source = source
        self._earlier = {(c.document, c.start, c.end): c for c in earlier}
        self._next = max((c.n for c in earlier), default=0) + 1
        self._given: dict[_Key, Citation] = {}

    @property
    def given(self) -> tuple[Citation, ...]:
        """The citations of this answer so far, in the order of their first use."""
        return tuple(self._given.values())

    def again(self) -> Numbering:
        """A numbering of the same answer begun anew."""
        return Numbering(self._source, tuple(self._earlier.values()))

    def cite_all(self, evidence: Iterable[Evidence]) -> tuple[tuple[Citation, ...], tuple[Citation, ...]]:
        """The citations of a sentence, and those of them that this answer had not yet."""
        known = len(self._given)
        cited = tuple(map(self.cite, evidence))
        return cited, self.given[known:]

    def cite(self, evidence: Evidence) -> Citation:
        passage, span = evidence.passage, evidence.span
        key = passage.document, span.start, span.end
        if key not in self._given:
            known = self._earlier.get(key)
            same = known is not None and known.sha256 == passage.sha256
            self._given[key] = Citation(
                start=span.start,
                end=span.end,
                n=known.n if known and same else self._next,
                document=passage.document,
                sha256=passage.sha256,
                article=passage.article,
                section=evidence.section,
                quote=self._source.quote(evidence),
                page=passage.page,
            )
            self._next += not same
        return self._given[key]
