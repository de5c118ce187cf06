"""Passages to an answer without a language model: the sentences that answer, quoted exactly.

What is quoted is ``text[start:end]`` of the source; what is shown is that text with stray spaces and leading
list marks removed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rag.chunk import sentences
from rag.intent import Intent
from rag.lexicon import tokens
from rag.markers import han_number
from rag.records import Article, ArticleRef, Passage, Section, Span
from rag.retrieve import Query, Retrieval

LOOK_AT = 12  # passages whose sentences are candidates
LENGTH = 400  # characters of an answer that is no list
SECOND = 0.80  # a further sentence of the same article needs this share of the best one's score
OTHER = 0.93  # … of another article
_UNFIT = 0.6
MOST = 3  # sentences of an answer that is no list
_NUMERAL = re.compile(r"[一二三四五六七八九十]{1,3}|\d{1,2}")
_STRAY = re.compile(
    r"(?<=[^\x00-\x7f])\s+(?=[^\x00-\x7f])|(?<=[,;:])\s+(?=[^\x00-\x7f])|\s+(?=[,;:!?%)”’》])|(?<=[“‘《(])\s+"
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """A span of a document to be quoted, and where it belongs."""

    span: Span
    passage: Passage  # the passage it was found through
    section: tuple[str, ...]
    score: float = 0.0

    @property
    def article(self) -> ArticleRef:
        return self.passage.article


@dataclass(frozen=True, slots=True)
class Part:
    """One sentence of the answer: what is shown, and the evidence quoted for it."""

    text: str
    evidence: tuple[Evidence, ...]
    kind: Literal["text", "lead", "item"] = "text"


@dataclass(frozen=True, slots=True)
class Source:
    """What the composition needs of the knowledge base: texts by document, articles by key."""

    texts: Mapping[str, str]
    articles: Mapping[int, Article]

    def quote(self, evidence: Evidence) -> str:
        return self.texts[evidence.passage.document][evidence.span.start : evidence.span.end]


def readable(quote: str) -> str:
    """A quotation as it is shown: without the stray spaces of wrapped lines."""
    return _STRAY.sub("", " ".join(quote.split())).strip()


def shown(evidence: Evidence, source: Source) -> str:
    """The evidence as it is shown: readable, without the number of the heading that it begins with.

    Only a marker of the section tree is left out: other numbers at the beginning belong to what is said.
    """
    quote = source.quote(evidence)
    path = source.articles[evidence.article.id].path_at(evidence.span.start)
    if path and path[-1].start == evidence.span.start and path[-1].level != "item":
        quote = quote.removeprefix(path[-1].marker)
    return readable(quote)


def compose(retrieval: Retrieval, intent: Intent, source: Source) -> list[Part]:
    """The parts of the answer, in reading order; empty where nothing was found."""
    ranked = rank(retrieval, intent)
    if not ranked:
        return []
    if intent.kind == "locate":
        return _locate(ranked, source)
    if intent.kind == "compare":
        return _compare(ranked, source)
    if intent.kind == "list" or intent.count:
        found = _list(retrieval.query, intent, ranked, source)
        if found:
            return found
    return _sentences(ranked, source)


def rank(retrieval: Retrieval, intent: Intent) -> list[Evidence]:
    """The sentences of the best passages, best first.

    A sentence's score adds its passage's fused score (twice), its own cosine, the share of the question's
    weight that it covers, and the share that it covers together with its headings, the last three scaled to
    [0, 1]; one that lacks what the question asks for (a number, a date) loses ``_UNFIT``.
    """
    found: list[Evidence] = []
    features: list[tuple[float, float, float]] = []
    for passage in retrieval.passages[:LOOK_AT]:
        above = set(tokens(" ".join((passage.article.title, *passage.section))))
        for span, similarity in zip(passage.sentences, passage.similarities, strict=True):
            text = passage.text[span.start - passage.start : span.end - passage.start]
            own = set(tokens(text))
            features.append(
                (similarity, retrieval.query.coverage(own), retrieval.query.coverage(own | above))
            )
            base = 2 * passage.score - (0.0 if intent.fits(text) else _UNFIT)
            found.append(Evidence(span, passage, passage.section, base))
    scaled = zip(*(_scale(column) for column in zip(*features, strict=True)), strict=True)
    scored = [replace(e, score=e.score + sum(row)) for e, row in zip(found, scaled, strict=True)]
    return sorted(scored, key=lambda e: -e.score)


def _scale(values: Sequence[float]) -> list[float]:
    low, high = min(values), max(values)
    return [(v - low) / (high - low) if high > low else 1.0 for v in values]


def _sentences(ranked: Sequence[Evidence], source: Source) -> list[Part]:
    """The best sentence, and those nearly as good, in reading order within an article."""
    best = ranked[0]
    chosen = [best]
    length = len(best.span)
    for evidence in ranked[1:]:
        share = evidence.score / best.score
        same = evidence.article.id == best.article.id
        if len(chosen) == MOST or share < (SECOND if same else OTHER):
            continue
        if length + len(evidence.span) > LENGTH:
            continue
        chosen.append(evidence)
        length += len(evidence.span)
    return [Part(shown(e, source), (e,)) for e in _in_order(chosen)]


def _in_order(chosen: Sequence[Evidence]) -> list[Evidence]:
    """Articles in the order of their best sentence, sentences in reading order."""
    order = list(dict.fromkeys(e.article.id for e in chosen))
    return sorted(chosen, key=lambda e: (order.index(e.article.id), e.span.start))


def _locate(ranked: Sequence[Evidence], source: Source) -> list[Part]:
    """The article, and one more if it is nearly as good, with the sentence that shows it."""
    parts: list[Part] = []
    seen: set[int] = set()
    for evidence in ranked:
        if evidence.article.id in seen or evidence.score < 0.85 * ranked[0].score:
            continue
        seen.add(evidence.article.id)
        parts.append(Part(f"{_place(evidence)}：{shown(evidence, source)}", (evidence,)))
        if len(parts) == 2:
            break
    return parts


def _place(evidence: Evidence) -> str:
    category = f"（{evidence.article.category}）" if evidence.article.category else ""
    path = " › ".join(map(readable, evidence.section))
    return f"《{evidence.article.title}》{category}{'，' + path if path else ''}"


def _compare(ranked: Sequence[Evidence], source: Source) -> list[Part]:
    """The best sentence of each of the two best articles, under its title; or of one, where one tells all."""
    best: dict[int, Evidence] = {}
    for evidence in ranked:
        best.setdefault(evidence.article.id, evidence)
    first, *rest = best.values()
    others = [e for e in rest if e.score >= 0.6 * first.score][:1]
    if not others:
        return _sentences(ranked, source)
    return [Part(f"《{e.article.title}》：{shown(e, source)}", (e,)) for e in (first, *others)]


def _list(query: Query, intent: Intent, ranked: Sequence[Evidence], source: Source) -> list[Part]:
    """The items of the enumeration that the question asks for, under its lead; [] where there is none.

    An enumeration is the children of a section. It is taken when the best sentences are its lead or its items,
    and, where the question says how many, when it has as many.
    """
    best: tuple[float, Evidence, Section] | None = None
    for place, evidence in enumerate(ranked[:4]):
        article = source.articles[evidence.article.id]
        for path in _enclosing(article, evidence.span, intent.count):
            section = path[-1]
            fit = _list_fit(query, intent, evidence, path, ranked[:8]) - 0.15 * place
            if fit > 0 and (best is None or fit > best[0]):
                best = fit, evidence, section
    if best is None:
        return []
    _, evidence, section = best
    text = source.texts[evidence.passage.document]
    opening = Span(section.start, section.sections[0].start)
    lead = evidence.span if opening.contains(evidence.span) else _item(text, section)
    labels = tuple(s.label for s in source.articles[evidence.article.id].path_at(section.start))
    opening_lead = Evidence(lead, evidence.passage, labels)
    items = [Evidence(_item(text, c), evidence.passage, (*labels, c.label)) for c in section.sections]
    return [
        Part(_colon(shown(opening_lead, source)), (opening_lead,), "lead"),
        *(Part(shown(item, source), (item,), "item") for item in items),
    ]


def _enclosing(article: Article, span: Span, count: int | None) -> list[tuple[Section, ...]]:
    """The paths of the sections around ``span`` that have at least two children, inner first.

    The outermost is the article's own body, if its title names the number that is asked for (六增六提).
    """
    path = article.path_at(span.start)
    if count is not None and count in {han_number(n) for n in _NUMERAL.findall(article.title)}:
        path = (Section(article.body, article.end, 0, "", article.title, article.sections), *path)
    return [path[: i + 1] for i in range(len(path) - 1, -1, -1) if len(path[i].sections) > 1]


def _list_fit(
    query: Query, intent: Intent, evidence: Evidence, path: tuple[Section, ...], ranked: Sequence[Evidence]
) -> float:
    """How well a section's children answer; positive where they do."""
    section = path[-1]
    count = len(section.sections)
    if intent.count is not None and intent.count != count:
        return -1.0
    lead = evidence.span.start < section.sections[0].start
    inside = [
        e
        for e in ranked
        if section.start <= e.span.start < section.end and e.article.id == evidence.article.id
    ]
    items = {
        next((i for i, s in enumerate(section.sections) if s.start <= e.span.start < s.end), -1)
        for e in inside
    }
    named = query.coverage(tokens(section.label))
    fit = 0.6 * named + 0.15 * len(items - {-1}) + (0.35 if lead else 0.0)
    return fit - (0.5 if intent.count == count else 0.62)


def _first_sentence(text: str, start: int, end: int) -> Span:
    found = sentences(text, start, end)
    return found[0] if found else Span(start, end)


def _item(text: str, section: Section) -> Span:
    """What stands for an item: its heading, else its first sentence, cut at a clause where it is long."""
    end = section.sections[0].start if section.sections else section.end
    if section.start < section.body <= end:
        return _trimmed(text, section.start, section.body)
    span = _first_sentence(text, section.start, end)
    return span


def _trimmed(text: str, start: int, end: int) -> Span:
    while end > start and text[end - 1].isspace():
        end -= 1
    return Span(start, end)


def _colon(lead: str) -> str:
    return lead if lead.endswith(("：", ":", "。", "；")) else lead + "："
