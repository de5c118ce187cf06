"""An article's text to its tree of sections.

Markers are ambiguous one by one (``1`` may number a heading or count things, 一、 may stand in a quotation),
but not together: the best consistent numbering of the whole article is searched for with a beam.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from functools import cache

from rag.markers import FAMILIES, Family, Marker, headings, markers
from rag.records import Section

BEAM = 48
_STOPS = "。！？!?；;"
_RANK_MARKDOWN = -10
_LIST_ENTRY = re.compile(r"\d{1,2}\.\s")  # in Markdown a list, not a heading


@cache
def _markdown_family(depth: int) -> Family:
    return replace(FAMILIES[0], name=f"markdown-{depth}", rank=_RANK_MARKDOWN + depth, level=depth)


@dataclass(frozen=True, slots=True)
class _Numbering:
    """A partial reading of the markers: which were taken, which lists are open, what each form reached."""

    score: float = 0.0
    taken: tuple[tuple[Marker, int], ...] = ()  # the marker and its depth
    stack: tuple[tuple[Family, int], ...] = ()  # open lists from outer to inner with their last number
    reached: dict[str, int] = field(default_factory=dict)  # last number by form, kept when a list closes

    def readings(self, marker: Marker) -> list[_Numbering]:
        """Ways to take ``marker`` as the next section."""
        family, number = marker.family, marker.number
        names = [f.name for f, _ in self.stack]
        out: list[_Numbering] = []
        if family.name in names:
            at = names.index(family.name)
            step = number - self.stack[at][1]
            if step == 1:
                # the second of a list proves the first
                out.append(self._take(marker, at, marker.weight + (_doubt(family) if number == 2 else 0)))
            elif 2 <= step <= 3 and family.level != "item":
                out.append(self._take(marker, at, marker.weight - 1.2 * step))
            elif number == 1:
                restart = 0.3 if family.level == "item" else 2.4
                out.append(self._take(marker, at, marker.weight - _doubt(family) - restart))
            return out
        at = next((i for i, (f, _) in enumerate(self.stack) if f.rank >= family.rank), len(self.stack))
        if number == 1:
            out.append(self._take(marker, at, marker.weight - _doubt(family)))
            if family.level == "item" and at < len(self.stack):  # an enumeration inside an enumeration
                out.append(self._take(marker, len(self.stack), marker.weight - _doubt(family) - 0.4))
        elif number == self.reached.get(family.name, 0) + 1 and family.level != "item":
            out.append(self._take(marker, at, marker.weight - 0.4))  # numbers that run on across sections
        elif number <= 3 and family.level != "item":
            out.append(self._take(marker, at, marker.weight - 1.2 * number))
        return out

    def _take(self, marker: Marker, depth: int, gain: float) -> _Numbering:
        return _Numbering(
            self.score + gain,
            (*self.taken, (marker, depth)),
            (*self.stack[:depth], (marker.family, marker.number)),
            {**self.reached, marker.family.name: marker.number},
        )

    @property
    def key(self) -> tuple[object, ...]:
        return tuple((f.name, n) for f, n in self.stack), tuple(sorted(self.reached.items()))


def _doubt(family: Family) -> float:
    """What a list of a single entry costs; given back when the second entry is found."""
    return 2.0 if family.level == "item" else 0.5 if family.rank < 4 else 1.3


def sections(text: str, start: int, end: int) -> tuple[Section, ...]:
    """The tree of sections in ``text[start:end]``.

    Sections nest, do not overlap, and reach to the start of what follows them; an enumeration's last item
    ends with its sentence where the items are clauses of one sentence.
    """
    written = _markdown(text, start, end)
    found = [m for m in markers(text, start, end) if not (written and _LIST_ENTRY.match(text, m.start))]
    candidates = sorted([*written, *found], key=lambda m: m.start)
    beam = [_Numbering()]
    for marker in candidates:
        grown: dict[tuple[object, ...], _Numbering] = {}
        for state in beam:
            options = state.readings(marker)
            if marker.family.rank > _RANK_MARKDOWN + 6:  # Markdown headings are never in doubt
                options.append(state)
            for option in options:
                known = grown.get(option.key)
                if known is None or option.score > known.score:
                    grown[option.key] = option
        beam = sorted(grown.values(), key=lambda s: -s.score)[:BEAM] or beam
    return _tree(text, list(beam[0].taken), 0, end)


def _markdown(text: str, start: int, end: int) -> list[Marker]:
    return [
        Marker(m.start(), m.end(), _markdown_family(len(m[1])), 1, 5.0) for m in headings(text, start, end)
    ]


def _tree(
    text: str, taken: list[tuple[Marker, int]], depth: int, end: int, above: Family | None = None
) -> tuple[Section, ...]:
    """The sections at ``depth`` among ``taken``, with their descendants."""
    heads = [i for i, (_, d) in enumerate(taken) if d <= depth]
    out: list[Section] = []
    for order, i in enumerate(heads):
        marker = taken[i][0]
        last = heads[order + 1] if order + 1 < len(heads) else len(taken)
        stop = taken[last][0].start if last < len(taken) else end
        inner = taken[i + 1 : last]
        # (一) under 第X条 is an enumeration, not a heading
        clause = marker.family.name == "paren" and above is not None and above.name == "provision"
        item = clause or marker.family.level == "item"
        if item:
            following = taken[last][0] if last < len(taken) else None
            if following is None or following.family is not marker.family or following.number == 1:
                stop = max(_last_item_end(text, out, marker, stop), inner[-1][0].end if inner else 0)
        title, body = heading(text, marker, inner[0][0].start if inner else stop, item=item)
        out.append(
            Section(
                marker.start,
                stop,
                "item" if item else marker.family.level,
                text[marker.start : marker.end].strip(),
                title,
                _tree(text, inner, depth + 1, stop, marker.family),
                body,
            )
        )
    return tuple(out)


def _last_item_end(text: str, before: list[Section], marker: Marker, stop: int) -> int:
    """Where the last item of an enumeration ends: with its sentence, if the others are clauses of one."""
    earlier = [s for s in before if s.level == "item"]
    clauses = [text[s.start : s.end].rstrip() for s in earlier]
    if clauses and all(c and c[-1] in "；;，,、" for c in clauses[-1:]):
        found = re.compile(r"[。！？!?][”’」』)）]*").search(text, marker.end, stop)
        return found.end() if found else stop
    newline = text.find("\n", marker.end, stop)
    return newline if newline > 0 else stop


def heading(text: str, marker: Marker, stop: int, *, item: bool = False) -> tuple[str, int]:
    """The heading after ``marker`` and where the text after it begins (``marker.start``: within a sentence).

    It reaches to the end of its line, its sentence, or the gap before the text.
    """
    begin = marker.end
    while begin < stop and text[begin].isspace() and text[begin] not in "\r\n":
        begin += 1
    line_end = next((i for i in range(begin, stop) if text[i] in "\r\n"), stop)
    if marker.family.name == "provision":
        named = re.compile(r"[【\[(（]([^】\])）]{1,30})[】\])）]").match(text, begin, line_end)
        return (named[1], named.end()) if named else ("", marker.start)
    if marker.family.rank < _RANK_MARKDOWN + 7:
        return re.sub(r"[*_`#]+", "", text[begin:line_end]).strip(), line_end
    if item:
        cut = re.compile(r"[，,。！？!?；;：:\r\n]").search(text, begin, stop)
        return text[begin : cut.start() if cut else stop].strip(), marker.start
    sentence = next((i for i in range(begin, line_end) if text[i] in _STOPS), line_end)
    if sentence == line_end and line_end < stop:  # alone on its line
        return text[begin:line_end].strip(), line_end
    end = _heading_gap(text, begin, sentence, whole=sentence == stop)
    found = text[begin:end].strip()
    if len(found) > 50 or re.search(r"[：:]\s?.{20}", found):
        return re.split(r"[：:]" if re.search(r"^.{2,24}[：:]", found) else r"[，,]", found)[0], marker.start
    closed = end + 1 if end < stop and text[end] == "。" else end
    return found, closed if closed == stop or text[closed].isspace() or closed > end else marker.start


def _heading_gap(text: str, begin: int, end: int, *, whole: bool) -> int:
    """Where a heading without closing mark ends in a text without line breaks: at a gap.

    A gap inside the heading is a stray space: one followed by a few characters and another gap, and any
    gap where nothing but the next marker comes after the heading (``whole``).
    """
    if whole:
        return end
    gaps = [i for i in range(begin + 2, end) if text[i].isspace()]
    if gaps and end - gaps[0] <= 10 and not re.search(r"[，,：:]", text[gaps[0] : end]):
        return end  # closed by its own full stop
    for order, gap in enumerate(gaps):
        piece = text[gap + 1 : gaps[order + 1]] if order + 1 < len(gaps) else ""
        closed = text[gap - 1] in "”』」）)》"
        if closed or not piece or len(piece) > 9 or re.search(r"[，,、\d]", piece):
            return gap
    return end
