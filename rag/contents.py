"""A table of contents aligned with the body: where each listed article begins.

A title may be wrapped, hold spaces, differ in white space from the body's, and occur elsewhere as a phrase.
So titles are not looked up one by one: the grouping of the table's words into titles and the places of all
titles in the body are found together, by the best monotone alignment (dynamic programming).
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass

from rag.fold import squeeze
from rag.records import Span

_CONTENTS = re.compile(
    r"(?:^|(?<=[\s*#]))(?:目\s{0,6}[录錄次]|contents)(?=[\s*:：]|$)", re.IGNORECASE | re.MULTILINE
)
_HAN = "一二三四五六七八九十"
_CATEGORY = re.compile(
    rf"^(?:[{_HAN}]+、|[(（][{_HAN}]+[)）]|第[{_HAN}\d]+(?:部分|编|篇|辑|单元|板块|类)[、:： ]?|[【〔\[]|#{{1,3}}$)"
)
_NUMBERED = re.compile(
    rf"^(?:[{_HAN}]+、|[(（][{_HAN}\d]+[)）]|\d{{1,3}}[.．、]|第[{_HAN}\d]+篇[、:：]?|[-*•]|#+)\s*"
)
_DIVISION = re.compile(rf"^第[{_HAN}百零〇\d]+[编章节条]")
_LEADER = re.compile(r"(?:[.·•…．]{2,}|\s-{2,})\s*\d{0,4}\s*$")
_ENDS = "。！？!?…；;”’』」)）:："
_MAX_WORDS, _MAX_TITLE, _MIN_BODY = 8, 90, 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One title of a table of contents and the place in the text where its article begins."""

    title: str
    category: str | None
    start: int  # of the title in the body, a leading number included
    body: int  # just after the title
    category_at: int | None = None  # where the body repeats the category before this title


@dataclass(frozen=True, slots=True)
class Contents:
    """An aligned table of contents."""

    place: Span  # of the table itself
    entries: tuple[Entry, ...]
    unplaced: tuple[str, ...]  # words of the table that were found nowhere in the body

    @property
    def lists_divisions(self) -> bool:
        """Whether the table lists the chapters of one work rather than articles."""
        return all(_DIVISION.match(e.title) for e in self.entries)


@dataclass(frozen=True, slots=True)
class _Word(Span):
    text: str  # folded, without white space and page number
    line: int
    raw: str


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """A cell of the alignment: the best reading of the first ``end`` words whose last title is at ``place``."""

    score: float
    begin: int  # of the words that this step reads
    end: int
    place: int
    back: _Step | None  # the cell before
    kind: str = ""
    matched: int = 0  # characters of the title, from ``place``


@dataclass(frozen=True, slots=True)
class _Path:
    """One reading of all words of a table."""

    score: float
    steps: tuple[_Step, ...]


def find_contents(text: str) -> Contents | None:
    """The table of contents of ``text`` and its alignment with the body, or None where there is none."""
    best: tuple[float, Contents] | None = None
    for heading in list(_CONTENTS.finditer(text))[:4]:
        found = _align(text, heading.end())
        if found and (best is None or found[0] > best[0]):
            best = found
    return best[1] if best else None


def _words(text: str, start: int) -> list[_Word]:
    """The words of a table of contents from ``start`` on: until a sentence begins, at most 3,000 words."""
    words: list[_Word] = []
    line = 0
    for match in re.finditer(r"\n|[^\s]+", text[start : start + 60_000]):
        if match[0] == "\n":
            line += 1
            continue
        raw = _LEADER.sub("", match[0])
        if "。" in raw or len(words) >= 3_000:
            break
        folded, _ = squeeze(raw)
        words.append(_Word(start + match.start(), start + match.end(), folded, line, raw))
    return words


def _align(text: str, start: int) -> tuple[float, Contents] | None:
    """The best alignment over all places where the first title may come again."""
    words = _words(text, start)
    flat, places = squeeze(text, start)
    best: tuple[float, Contents] | None = None
    tried: set[int] = set()
    for first in range(min(6, len(words))):
        joined = ""
        for word in words[first : first + _MAX_WORDS]:
            joined += word.text
            own = flat.find(joined)
            for variant in {joined, _NUMBERED.sub("", joined)}:
                if len(variant) < 4:
                    continue
                at = flat.find(variant, own + len(joined))
                for _ in range(6):
                    if at < 0:
                        break
                    if at not in tried and _fit(text, places, at, len(variant)) > 0:
                        tried.add(at)
                        inside = [w for w in words if w.start < places[at]]
                        found = _alignment(text, flat, places, inside, at)
                        if found and (best is None or found[0] > best[0]):
                            best = found
                    at = flat.find(variant, at + 1)
    return best


def _fit(text: str, places: list[int], at: int, length: int) -> float:
    """How much the surroundings of ``length`` characters at ``at`` look like a title's: < 0 for a phrase."""
    begin, end = places[at], places[at + length - 1] + 1
    gap_before = text[max(0, begin - 40) : begin]
    before = _NUMBERED_BEFORE.sub("", gap_before).rstrip(" \t\u3000*#")
    if not before or before[-1] in "\r\n":
        score = 2.0
    elif before[-1] in _ENDS:
        score = 1.6
    else:
        score = 0.5 if gap_before[-1:].isspace() else -6.0
    after = text[end : end + 1]
    if not after or after in "\r\n":
        return score + 2.0
    if after.isspace() or after in "*#":
        return score + 1.5
    return score - (6.0 if after in "，,。、；;：:”》的" else 2.5)


_NUMBERED_BEFORE = re.compile(
    rf"(?:[{_HAN}]{{1,3}}、|[(（][{_HAN}\d]{{1,3}}[)）]|\d{{1,3}}[.．、]|第[{_HAN}\d]{{1,3}}篇[、:：]?)\s*$"
)
_HASHES_BEFORE = re.compile(r"(?:^|(?<=[\r\n]))#{1,6}[ \t]+\**$")


def _alignment(
    text: str, flat: str, places: list[int], words: list[_Word], body: int
) -> tuple[float, Contents] | None:
    """The best reading of the table's words; ``body`` is the place of the first title.

    Where the body repeats its categories, a category and the title after it come again side by side like one
    title. They are read apart if the table shows that: by a line's end, or by titles without number.
    """
    best = _best_path(_readings(text, flat, places, words, body))
    if best is None:
        return None
    titles = [step for step in best.steps if step.kind == "title"]
    joined = [s for s in titles if s.end - s.begin > 1 and _CATEGORY.match(words[s.begin].raw)]
    lines = any(words[s.begin].line < words[s.begin + 1].line for s in joined)
    if joined and (lines or any(not _CATEGORY.match(words[s.begin].raw) for s in titles)):
        apart = _best_path(_readings(text, flat, places, words, body, apart=True))
        if apart and apart.score > best.score - 3 * len(joined):
            best = apart
    return _read_back(text, places, words, best)


def _readings(
    text: str, flat: str, places: list[int], words: list[_Word], body: int, *, apart: bool = False
) -> list[dict[int, _Step]]:
    """Dynamic programming over (words read, place of the last title): the best step to each such cell.

    ``apart``: a category's number does not begin a title of several words.
    """
    found: dict[str, list[tuple[int, float]]] = {}

    def occurrences(key: str) -> list[tuple[int, float]]:
        if key not in found:
            hits: list[tuple[int, float]] = []
            at = flat.find(key, body)
            while at >= 0 and len(hits) < 60:
                fit = _fit(text, places, at, len(key))
                if fit > -4:
                    hits.append((at, fit))
                at = flat.find(key, at + 1)
            found[key] = hits
        return found[key]

    table: list[dict[int, _Step]] = [{} for _ in range(len(words) + 1)]
    table[0][-1] = _Step(0.0, 0, 0, -1, None)

    def offer(step: _Step) -> None:
        known = table[step.end].get(step.place)
        if known is None or step.score > known.score:
            table[step.end][step.place] = step

    for i, word in enumerate(words):
        marked = bool(_CATEGORY.match(word.raw))
        groups = _groups(words, i)
        other = {
            count: _explain(word, key, count, whole_lines)
            for count, key, whole_lines in groups
            if whole_lines or count == 1 or (count <= 3 and len(key) <= 12 and marked)
        }
        titles = [
            (count, len(variant), occurrences(variant))
            for count, key, _ in groups
            if not (apart and marked and count > 1)
            for variant in dict.fromkeys((key, _NUMBERED.sub("", key)))
            if len(variant) >= 4
        ]
        for place, step in table[i].items():
            for count, (kind, cost) in other.items():
                offer(_Step(step.score - cost, i, i + count, place, step, kind, step.matched))
            for count, length, hits in titles:
                for at, fit in hits[bisect_left(hits, (place + 1, -9.0)) :]:
                    room = at - place - step.matched if place >= 0 else _MIN_BODY
                    crowded = 8.0 if room < _MIN_BODY else 0.0
                    first = 0.0 if place >= 0 or at - body < _MIN_BODY else 6.0
                    gain = 2.0 + fit + 0.1 * length - crowded - first
                    offer(_Step(step.score + gain, i, i + count, at, step, "title", length))
    return table


def _best_path(table: list[dict[int, _Step]]) -> _Path | None:
    """The steps of the best reading of all words."""
    last = max(table[-1].values(), key=lambda step: step.score, default=None)
    if last is None:
        return None
    steps: list[_Step] = []
    step = last
    while step.back is not None:
        steps.append(step)
        step = step.back
    return _Path(last.score, tuple(reversed(steps)))


def _groups(words: list[_Word], i: int) -> list[tuple[int, str, bool]]:
    """Groups of words that may make a title from ``i`` on: (count, joined, whether they fill their lines)."""
    out, joined = [], ""
    for count in range(1, _MAX_WORDS + 1):
        if i + count > len(words):
            break
        joined += words[i + count - 1].text
        if len(joined) > _MAX_TITLE:
            break
        starts = i == 0 or words[i - 1].line < words[i].line
        ends = i + count == len(words) or words[i + count].line > words[i + count - 1].line
        one_line = words[i].line == words[i + count - 1].line
        out.append((count, joined, starts and ends and one_line))
    return out


def _explain(word: _Word, key: str, count: int, whole_line: bool) -> tuple[str, float]:
    """What words that are no title are, and what it costs to read them so."""
    if re.fullmatch(r"[\d.·•…．*#_:-]*", key):
        return "page", 0.1
    if _CATEGORY.match(word.raw):
        return "category", 0.3 if whole_line else 0.3 + 0.7 * (count - 1)
    if whole_line and len(key) <= 16:
        return "category", 2.0
    return "unplaced", 1.0 + 0.35 * len(key)


def _read_back(
    text: str, places: list[int], words: list[_Word], path: _Path
) -> tuple[float, Contents] | None:
    """The entries along a path, or None where the table explains too little."""
    entries: list[Entry] = []
    unplaced: list[str] = []
    category: str | None = None
    fresh = False
    missing = _missing(text, words, path)
    for step in path.steps:
        raw = "".join(w.raw for w in words[step.begin : step.end])
        if step.kind == "unplaced" or step.begin in missing:
            unplaced.append(raw)
        elif step.kind == "category":
            category, fresh = _category_name(raw), True
        elif step.kind == "title":
            entries.append(_entry(text, places, words, step, category, fresh))
            fresh = False
    found = sum(len(squeeze(e.title)[0]) for e in entries)
    if len(entries) < 2 or found < 1.5 * sum(map(len, unplaced)):
        return None
    span = Span(words[0].start, words[-1].end)
    return path.score, Contents(span, tuple(entries), tuple(unplaced))


def _missing(text: str, words: list[_Word], path: _Path) -> set[int]:
    """The words, by their number, that were read as a category but are rather a title that the body lacks.

    A title is numbered like other titles, has no number where the categories have one, or is long. A repeated
    title of the whole document is neither.
    """
    head = squeeze(text, 0, words[0].start)[0]
    numbering = {s.begin: _numbering(words[s.begin].raw) for s in path.steps}
    categories = [s for s in path.steps if s.kind == "category"]
    forms = Counter(numbering[s.begin] for s in path.steps if s.kind == "title")
    rivals = Counter(numbering[s.begin] for s in categories)
    of_titles = {form for form, count in forms.items() if form and count > rivals[form]}
    numbered = any(numbering[s.begin] for s in categories)
    last = max((s.begin for s in path.steps if s.kind == "title"), default=0)
    missing: set[int] = set()
    for step in categories:
        key = "".join(w.text for w in words[step.begin : step.end])
        own = numbering[step.begin]
        bare = not own and (len(key) > 8 or key.startswith("关于") or (numbered and step.begin < last))
        if (own in of_titles or bare) and key not in head:
            missing.add(step.begin)
    return missing


def _numbering(raw: str) -> str:
    """The form of the number that a line begins with; empty where it has none."""
    found = _CATEGORY.match(raw) or _NUMBERED.match(raw)
    return re.sub(rf"[{_HAN}\d]+", "1", found[0].strip()) if found else ""


def _entry(
    text: str, places: list[int], words: list[_Word], step: _Step, category: str | None, fresh: bool
) -> Entry:
    start, body = places[step.place], places[step.place + step.matched - 1] + 1
    for before in (_NUMBERED_BEFORE, _HASHES_BEFORE):
        found = before.search(text[max(0, start - 12) : start])
        start -= len(found[0]) if found else 0
    title = _spaced_title(text, places, words[step.begin : step.end], step.place, step.matched)
    category_at = _category_before(text, start, category) if fresh and category else None
    return Entry(title, category, start, body, category_at)


def _spaced_title(text: str, places: list[int], words: list[_Word], at: int, matched: int) -> str:
    """The title with those of its spaces that the table and the body agree on: others come from wraps."""
    total = sum(len(w.text) for w in words)
    skip = total - matched  # a number that the body does not repeat
    breaks, done = set(), 0
    for word in words:
        breaks.add(done - skip)
        done += len(word.text)
    out = []
    for i in range(matched):
        place = places[at + i]
        if i and i in breaks and places[at + i - 1] + 1 < place:
            out.append(" ")
        out.append(text[place])
    title = re.sub(r"(?<=[“‘《(（]) | (?=[”’》)）])|(?<=\d) (?=\D)|(?<=\D) (?=[\d.]+\D)", "", "".join(out))
    return _NUMBERED.sub("", title) if len(_NUMBERED.sub("", title)) >= 4 else title


def _category_name(raw: str) -> str:
    """A category without its number or brackets."""
    return re.sub(r"^[#\s]+", "", _CATEGORY.sub("", raw, count=1)).strip("#*【】〔〕[] ") or raw


def _category_before(text: str, start: int, category: str) -> int | None:
    """Where the body repeats ``category`` as a heading directly before ``start``."""
    reach = max(0, start - len(category) * 2 - 12)
    flat, places = squeeze(text, reach, start)
    wanted = squeeze(category)[0]
    closed = len(flat.rstrip("】〕]*"))
    if not flat[:closed].endswith(wanted):
        return None
    at = places[closed - len(wanted)]
    numbered = re.search(
        rf"(?:[{_HAN}]{{1,3}}、|[(（][{_HAN}]{{1,3}}[)）]|第[{_HAN}]{{1,3}}(?:部分|编|篇|辑|单元|板块|类)[、:： ]?|[【〔\[#*]+)\s*$",
        text[max(0, at - 12) : at],
    )
    return at - len(numbered[0]) if numbered else at
