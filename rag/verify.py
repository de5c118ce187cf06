"""A sentence against the text it cites: quoted, supported or not.

An extract is ``quoted`` where its words stand in the citation. A sentence of a language model is checked in two steps.
What can be looked up must be there: each number with its unit, each date, name and quotation. Then a ``Checker`` says how
likely the text supports the sentence as a whole: ``LexicalChecker`` by its words, negation and obligation, or a model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import exp
from typing import Protocol

from rag.claims import Quantity, missing, modality, names, negations, quantities
from rag.clauses import clauses
from rag.fold import squeeze
from rag.lexicon import content, fold
from rag.records import Citation, Span, Support

_MARKER = re.compile(
    r"[一二三四五六七八九十百]{1,4}、|\([一二三四五六七八九十\d]{1,3}\)|\d{1,2}[.、]?|[①-⑳]|#{1,6}|第.{1,5}[编章节条]"
)
SUPPORTED = 0.65  # a checker's word from here on is a yes: rather miss what is true than let pass what is not
MOST = 3  # sentences that one sentence of an answer may cite
_CANDIDATES = 4  # sentences looked at to repair a citation


# -- extracts -----------------------------------------------------------------------------------------------


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


# -- sentences of a language model --------------------------------------------------------------------------

Paths = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Source:
    """A sentence that may be cited, and the headings above it (title, then sections), which count as known. Several
    joined to one have as many paths of headings as they stood under."""

    text: str
    above: Paths = ()

    @property
    def known(self) -> str:
        """Text and headings."""
        return "\n".join((*(label for path in self.above for label in path), self.text))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a sentence rests on: places among the sources, none where nothing supports it. ``stray`` are the
    numbers, names and quotations that no source has."""

    support: Support
    sources: tuple[int, ...] = ()
    stray: tuple[str, ...] = ()


class Checker(Protocol):
    """Says how likely each text supports its sentence, in [0, 1]; ``SUPPORTED`` and more is a yes. One that ``waits``
    does so for something else than this machine's cores."""

    @property
    def waits(self) -> bool: ...

    def supports(self, pairs: Sequence[tuple[str, Source]]) -> list[float]: ...


class Verifier:
    """Checks the sentences of one answer against the sources that it may cite."""

    def __init__(self, sources: Sequence[Source], checker: Checker, question: str = "") -> None:
        """A name in ``question`` that some source has may be repeated beside any source; a number may not."""
        self._sources = tuple(sources)
        self._checker = checker
        self._words = [set(content(source.text)) for source in self._sources]
        self._everything = self._joined(range(len(self._sources)))
        strange = absent(question, self._everything)
        self._asked = " ".join(name for name in names(question) if name not in strange)

    def verdict(self, sentence: str, cited: Sequence[int]) -> Verdict:
        """What supports the sentence: the sources that it cites, as few of them as do, or others that do."""
        known = self._nearest(sentence, [i for i in dict.fromkeys(cited) if 0 <= i < len(self._sources)])[
            :MOST
        ]
        if known and self._holds(sentence, known):
            return Verdict("supported", tuple(sorted(self._fewest(sentence, known))))
        for group in self._others(sentence, known):
            if self._holds(sentence, group):
                return Verdict("supported", group)
        return Verdict("unsupported", (), tuple(absent(sentence, self._everything)))

    def _holds(self, sentence: str, places: Sequence[int]) -> bool:
        joined = self._joined(places)
        return self._fits(sentence, joined) and self._likely(sentence, joined) >= SUPPORTED

    def _fits(self, sentence: str, source: Source) -> bool:
        """Whether the source has what can be looked up, each number said of the same thing."""
        return not absent(sentence, source, self._asked) and not misplaced(sentence, source.text)

    def _likely(self, sentence: str, source: Source) -> float:
        return self._checker.supports([(sentence, source)])[0]

    def _joined(self, places: Sequence[int]) -> Source:
        """Several sources as one."""
        chosen = [self._sources[i] for i in places]
        return Source(
            " ".join(s.text for s in chosen), tuple(dict.fromkeys(p for s in chosen for p in s.above))
        )

    def _fewest(self, sentence: str, places: Sequence[int]) -> Sequence[int]:
        """One of the sources where it supports the sentence alone, else all."""
        if len(places) == 1:
            return places
        alone = [i for i in places if self._fits(sentence, self._sources[i])]
        likely = self._checker.supports([(sentence, self._sources[i]) for i in alone])
        best = max(zip(likely, alone, strict=True), default=(0.0, 0))
        return [best[1]] if best[0] >= SUPPORTED else places

    def _others(self, sentence: str, cited: Sequence[int]) -> list[tuple[int, ...]]:
        """What may support the sentence in the place of what it cites: the sources nearest to it by their words, alone
        and in pairs, that have all its numbers and names."""
        nearest = self._nearest(sentence, range(len(self._sources)))[:_CANDIDATES]
        groups = [(i,) for i in nearest] + [tuple(sorted(pair)) for pair in combinations(nearest[:3], 2)]
        fitting = [g for g in groups if not absent(sentence, self._joined(g), self._asked)]
        return [g for g in fitting if set(g) != set(cited)][:_CANDIDATES]

    def _nearest(self, sentence: str, places: Sequence[int]) -> list[int]:
        """Those of the sources that share words with the sentence, the most first."""
        said = set(content(sentence))
        shared = {i: len(said & self._words[i]) for i in places}
        return sorted((i for i in places if shared[i]), key=lambda i: (-shared[i], i))


def absent(sentence: str, source: Source, known: str = "") -> list[str]:
    """The numbers, names and quotations of ``sentence`` that the source does not have. Names in ``known`` do not count,
    nor does a small number of things, which the source may list and not count."""
    text = source.known
    folded = fold(sentence)
    lost = [q for q in missing(quantities(sentence), quantities(text)) if not q.counted]
    held = squeeze(fold(text + "\n" + known))[0]
    strange = [n for n in names(sentence) if squeeze(n)[0] not in held]
    return [folded[q.start : q.end].strip() for q in lost] + sorted(strange)


def misplaced(sentence: str, text: str) -> list[Quantity]:
    """The numbers of ``sentence`` that the text gives to something else: another number of the same unit, which the
    sentence does not have, stands beside all the words that this one stands beside, and beside more of them."""
    said = set(content(sentence))
    stated, given = quantities(sentence), quantities(text)
    found = []
    for number in stated:
        if not number.unit or number.ordinal or number.round:
            continue
        own = [said & _beside(text, q, given) for q in given if number.same(q)]
        others = [
            said & _beside(text, q, given)
            for q in given
            if q.alike(number) and not any(s.same(q) for s in stated)
        ]
        if own and any(len(near) >= _TELLING and all(near > words for words in own) for near in others):
            found.append(number)
    return found


def _beside(text: str, number: Quantity, given: Sequence[Quantity]) -> set[str]:
    """The words that a number stands beside: from its sentence's beginning, or from the end of the piece with the
    number of its unit before it, to the end of its own piece."""
    folded = fold(text)
    start = max((m.end() for m in _SENTENCE_END.finditer(folded, 0, number.start)), default=0)
    for before in given:
        if before.alike(number) and before.end <= number.start:
            cut = _PIECE_END.search(folded, before.end, number.start)
            start = max(start, cut.end() if cut else before.end)
    cut = _PIECE_END.search(folded, number.end)
    end = cut.start() if cut else len(folded)
    return {*content(folded[start : number.start]), *content(folded[number.end : end])}


_PIECE_END, _SENTENCE_END = re.compile(r"[,;:。!?、]"), re.compile(r"[。!?]")
_TELLING = 2  # words by which another number is the one that is meant


def connects(sentence: str) -> bool:
    """Whether a sentence only leads on (具体如下：) and says nothing that could be true or false."""
    return len(fold(sentence)) <= 24 and not content(_LEADS.sub("", fold(sentence)))


_LEADS = re.compile(
    r"(?:综上(?:所述)?|总之|总的来看|总体(?:来看|而言)|根据(?:以上|上述|所给|提供的)?(?:材料|文档|证据|内容|资料)|因此|所以|此外|另外|同时|首先|其次|最后|"
    r"具体(?:内容|措施|做法|要求|来说|而言)?(?:如下|包括|有|是)?|主要(?:包括|有|是)?|以下(?:几|方面|内容|措施|要点|几个方面|几点)*|如下|包括|答案|回答|问题|可以|得出|"
    r"分为|方面|几个|几点|the answer is|as follows|according to the (?:text|documents?))[：:,，]*"
)


# -- a checker that needs no model --------------------------------------------------------------------------


class LexicalChecker:
    """Support by words: how much of the sentence, and of its weakest clause, the text has, and whether negation and
    obligation agree. The weights are set by hand: docs/language-models.md has what they are worth."""

    waits = False
    BIAS, COVERAGE, WEAKEST, NEGATED, OBLIGED = -2.4, 4.0, 2.0, -1.0, -1.5

    def supports(self, pairs: Sequence[tuple[str, Source]]) -> list[float]:
        return [1 / (1 + exp(-self.logit(signals(*pair)))) for pair in pairs]

    def logit(self, found: tuple[float, ...]) -> float:
        weights = (self.COVERAGE, self.WEAKEST, self.NEGATED, self.OBLIGED)
        return self.BIAS + sum(w * x for w, x in zip(weights, found, strict=True))


def signals(sentence: str, source: Source) -> tuple[float, float, float, float]:
    """Coverage of the sentence, coverage of its weakest clause, 1 where the two negate differently, and 1 where the
    sentence obliges as the text does not."""
    parts = [sentence[c.start : c.end] for c in clauses(sentence, Span(0, len(sentence)))]
    held = _pairs(source.known)
    shares = [share for part in parts if (share := _share(part, held)) is not None]
    near = _aligned(sentence, source.text)
    return (
        _share(sentence, held) or 0.0,
        min(shares, default=0.0),
        float(negations(sentence) % 2 != negations(near) % 2),
        float(bool(modality(sentence) - modality(near))),
    )


def _pairs(text: str) -> set[str]:
    folded = squeeze(fold(text))[0]
    return {folded[i : i + 2] for i in range(len(folded) - 1)}


def _share(text: str, held: set[str]) -> float | None:
    """The share of the words of ``text`` whose characters, two by two, mostly stand in the text behind ``held``."""
    telling = [w for w in content(text) if not w.isdigit()]
    if not telling:
        return None
    found = 0.0
    for word in telling:
        own = [word[i : i + 2] for i in range(len(word) - 1)] or [word]
        found += len(word) * sum(p in held for p in own) / len(own)
    return found / sum(map(len, telling))


def _aligned(sentence: str, text: str) -> str:
    """The clauses of ``text`` that share words with ``sentence``."""
    said = set(content(sentence))
    parts = [text[c.start : c.end] for c in clauses(text, Span(0, len(text)))]
    return "".join(p for p in parts if said & set(content(p)))
