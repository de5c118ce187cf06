"""Passages to an answer without a language model: the sentences that answer, quoted exactly.

What is quoted is ``text[start:end]`` of the source; what is shown is that text with stray spaces and leading
list marks removed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from math import exp
from typing import Literal

from rag.chunk import sentences
from rag.clauses import best_run, clauses, enumerated, parallel
from rag.intent import Intent
from rag.lexicon import tokens
from rag.markers import han_number
from rag.records import Article, ArticleRef, Passage, Section, Span
from rag.retrieve import Query, Retrieval
from rag.scope import Scope

LOOK_AT = 12  # passages whose sentences are candidates
LENGTH = 400  # characters of an answer that is no list
SECOND = 0.70  # a further sentence of the same article needs this share of the best one's score
OTHER = 0.9  # … of another article
_UNFIT = 0.6
MOST = 3  # sentences of an answer that is no list
SHORT = 40  # characters of a sentence that is not cut
PRICE = 0.004  # of a character, in shares of the question's weight
PAIRED = 5  # sentences of an article that a comparison chooses from
_FORM_WORTH = 0.5
_AS_MANY, _SEVERAL = 0.8, 0.2
_INLINE = 0.5
_COMMON = 0.4
_READ_WORTH = 2.0  # of the reader's word, against the other parts of a sentence's score
_TOLD, _OF, _APART = 1.5, 1.5, 0.5  # of a pair of sentences that compare
_OPEN_ENDS, _ENDS = "，,；;：:、—", "。！？!?…”’》）)"
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
    """What the composition needs of the knowledge base: texts by document, articles by key, and the scope outside of
    which nothing may be quoted (None: anything)."""

    texts: Mapping[str, str]
    articles: Mapping[int, Article]
    scope: Scope | None = None

    def quote(self, evidence: Evidence) -> str:
        return self.texts[evidence.passage.document][evidence.span.start : evidence.span.end]

    def may_quote(self, document: str, span: Span) -> bool:
        return self.scope is None or self.scope.holds(document, span)


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
        return _locate(ranked, intent, source)
    if intent.kind == "compare":
        return _compare(retrieval.query, ranked, source)
    if intent.kind == "list" or intent.count:
        found = listed(retrieval.query, intent, ranked, source)
        if found:
            return found
    return _sentences(retrieval.query, intent, ranked, source)


def rank(retrieval: Retrieval, intent: Intent) -> list[Evidence]:
    """The sentences of the best passages, best first.

    A sentence's score adds its passage's fused score (twice), its own cosine, the share of the question's
    weight that it covers, and the share that it covers together with its headings, the last three scaled to
    [0, 1], and the reader's word; one that lacks what the question asks for (a number, a date) loses ``_UNFIT``, one
    that names as many things as a question after a list asks for gains.
    """
    found: list[Evidence] = []
    features: list[tuple[float, float, float]] = []
    read = _read_sentences(retrieval)
    for passage in retrieval.passages[:LOOK_AT]:
        above = set(tokens(" ".join((passage.article.title, *passage.section))))
        for span, similarity in zip(passage.sentences, passage.similarities, strict=True):
            text = passage.text[span.start - passage.start : span.end - passage.start]
            own = set(tokens(text))
            features.append(
                (similarity, retrieval.query.coverage(own), retrieval.query.coverage(own | above))
            )
            base = 2 * passage.score - (0.0 if intent.fits(text) else _UNFIT) + _names_as_many(text, intent)
            base += _READ_WORTH * read.get((passage.chunk, span.start), 0.0)
            found.append(Evidence(span, passage, passage.section, base))
    scaled = zip(*(_scale(column) for column in zip(*features, strict=True)), strict=True)
    scored = [replace(e, score=e.score + sum(row)) for e, row in zip(found, scaled, strict=True)]
    return sorted(scored, key=lambda e: -e.score)


def _read_sentences(retrieval: Retrieval) -> dict[tuple[int, int], float]:
    """What the reader thinks of each sentence it read, by chunk and start, in [0, 1].

    The passage's relevance against the most relevant one's, times how good the sentence's best run of clauses is
    against the passage's.
    """
    read = [(p, retrieval.reads[p.chunk]) for p in retrieval.passages if p.chunk in retrieval.reads]
    top = max((one.reading.relevance for _, one in read), default=0.0)
    found: dict[tuple[int, int], float] = {}
    for passage, one in read:
        best = one.reading.best_run(0, len(one.clauses))
        for span in passage.sentences:
            inside = [i for i, c in enumerate(one.clauses) if span.contains(c)]
            if inside:
                score = one.reading.best_run(inside[0], inside[-1] + 1)
                found[passage.chunk, span.start] = exp(one.reading.relevance - top) * exp(
                    max(-20.0, (score - best) / 2)
                )
    return found


def _names_as_many(text: str, intent: Intent) -> float:
    """What a sentence gains for the enumeration in it, where the question asks for one."""
    if intent.kind != "list" and intent.count is None:
        return 0.0
    named = enumerated(text)
    if intent.count is not None:
        spans = clauses(text, Span(0, len(text)))
        return _AS_MANY if intent.count in (named, parallel(text, spans)) else 0.0
    return _SEVERAL if named >= 3 else 0.0


def _scale(values: Sequence[float]) -> list[float]:
    low, high = min(values), max(values)
    return [(v - low) / (high - low) if high > low else 1.0 for v in values]


def _sentences(query: Query, intent: Intent, ranked: Sequence[Evidence], source: Source) -> list[Part]:
    """The best sentence, and those nearly as good, in reading order within an article, each cut to what answers."""
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
    cut = [tightened(e, query, intent, source) for e in _in_order(chosen)]
    return [Part(sentence(e, source), (e,)) for e in cut]


def tightened(evidence: Evidence, query: Query, intent: Intent, source: Source) -> Evidence:
    """The evidence cut to the run of its clauses that answers, where the question asks for one thing of a form and a
    clause has it: that clause with those beside it that say what of.

    A clause is worth the share of the question's weight that it covers, and more if it has the form; length costs.
    """
    text = source.texts[evidence.passage.document]
    parts = clauses(text, evidence.span)
    fitting = [intent.form is not None and intent.fits(text[c.start : c.end]) for c in parts]
    if intent.asks > 1 or len(parts) == 1 or len(evidence.span) <= SHORT or not any(fitting):
        return evidence
    values = [
        query.coverage(tokens(text[part.start : part.end])) + (_FORM_WORTH if fits else 0.0)
        for part, fits in zip(parts, fitting, strict=True)
    ]
    first, last = best_run(values, [len(part) for part in parts], PRICE)
    return replace(evidence, span=_unpunctuated(text, parts[first].start, parts[last - 1].end))


def sentence(evidence: Evidence, source: Source) -> str:
    """The evidence as a sentence of its own: one cut at a comma ends with a full stop."""
    text = shown(evidence, source)
    return text + "。" if text and text[-1] not in _ENDS else text


def _in_order(chosen: Sequence[Evidence]) -> list[Evidence]:
    """Articles in the order of their best sentence, sentences in reading order."""
    order = list(dict.fromkeys(e.article.id for e in chosen))
    return sorted(chosen, key=lambda e: (order.index(e.article.id), e.span.start))


def _locate(ranked: Sequence[Evidence], intent: Intent, source: Source) -> list[Part]:
    """The article, and one more if it is nearly as good, with the sentence that shows it, and the section's heading
    where it is the section that is asked for."""
    parts: list[Part] = []
    seen: set[int] = set()
    for evidence in ranked:
        if evidence.article.id in seen or evidence.score < 0.85 * ranked[0].score:
            continue
        seen.add(evidence.article.id)
        cited = (*(_heading(evidence, intent, source) if intent.section else ()), evidence)
        parts.append(Part(f"{_place(evidence)}：{shown(evidence, source)}", cited))
        if len(parts) == 2:
            break
    return parts


def _heading(evidence: Evidence, intent: Intent, source: Source) -> tuple[Evidence, ...]:
    """The heading of the innermost section around the evidence, or where the question names how many there are
    (十大任务的哪一项) of the one that has as many siblings; () where it is the evidence itself or outside the scope."""
    path = source.articles[evidence.article.id].path_at(evidence.span.start)
    counted = [s for above, s in pairwise(path) if len(above.sections) == intent.count]
    headed = counted or [s for s in path if s.level != "item"][-1:]
    if not headed or not headed[0].start < headed[0].body <= evidence.span.start:
        return ()
    document = evidence.passage.document
    span = _trimmed(source.texts[document], headed[0].start, headed[0].body)
    return (replace(evidence, span=span),) if source.may_quote(document, span) else ()


def _place(evidence: Evidence) -> str:
    category = f"（{evidence.article.category}）" if evidence.article.category else ""
    path = " › ".join(map(readable, evidence.section))
    return f"《{evidence.article.title}》{category}{'，' + path if path else ''}"


def _compare(query: Query, ranked: Sequence[Evidence], source: Source) -> list[Part]:
    """Two sentences that tell both sides, each under its article's title where they are of two.

    The pair is taken that is best in itself and, with what else the passages of its articles say, covers most of the
    question: what describes either side stands in its article, the aspect compared in the sentences themselves.
    """
    around: dict[int, set[str]] = {}
    for evidence in ranked:
        text = " ".join((evidence.article.title, *evidence.section, evidence.passage.text))
        around.setdefault(evidence.article.id, set()).update(tokens(text))
    by_article: dict[int, int] = {}
    candidates: list[Evidence] = []
    for evidence in ranked:
        by_article[evidence.article.id] = by_article.get(evidence.article.id, 0) + 1
        if by_article[evidence.article.id] <= PAIRED and len(candidates) < 3 * PAIRED:
            candidates.append(evidence)
    said = {id(e): set(tokens(source.quote(e))) for e in candidates}

    def worth(pair: tuple[Evidence, Evidence]) -> float:
        a, b = pair
        told = query.coverage(said[id(a)] | said[id(b)])
        of = query.coverage(around[a.article.id] | around[b.article.id])
        apart = _APART if a.article.id != b.article.id else 0.0
        return a.score + b.score + _TOLD * told + _OF * of + apart

    pairs = list(combinations(candidates, 2))
    if not pairs:
        return [Part(shown(e, source), (e,)) for e in ranked[:1]]
    best = max(pairs, key=worth)
    if best[0].article.id == best[1].article.id:
        return [Part(shown(e, source), (e,)) for e in _in_order(best)]
    return [Part(f"《{e.article.title}》：{shown(e, source)}", (e,)) for e in best]


def listed(query: Query, intent: Intent, ranked: Sequence[Evidence], source: Source) -> list[Part]:
    """The items of the enumeration that the question asks for, under its lead; [] where there is none.

    An enumeration is the children of a section that lies in the scope as a whole. Those around the best sentences are
    looked at, and, where the question says how many, all of their articles that have as many. One that the best sentence
    itself makes inline (甲、乙、丙) comes before those of sections, if the question's number is its.
    """
    best: tuple[float, Evidence, Section] | None = None
    for place, evidence in enumerate(ranked[:4]):
        article = source.articles[evidence.article.id]
        for path in _enumerations(article, evidence.span, intent.count):
            if not source.may_quote(evidence.passage.document, path[-1]):
                continue
            fit = _list_fit(query, intent, evidence, path, ranked[:8]) - 0.15 * place
            if fit > 0 and (best is None or fit > best[0]):
                best = fit, evidence, path[-1]
    text = source.texts[ranked[0].passage.document]
    inline = text[ranked[0].span.start : ranked[0].span.end]
    if best is None or (best[0] < _INLINE and intent.count and _names_as_many(inline, intent)):
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


def _enumerations(article: Article, span: Span, count: int | None) -> list[tuple[Section, ...]]:
    """The paths of sections that may be asked for: those around ``span`` with at least two children, inner first, and
    where the number is asked for all of the article that have it.

    The outermost is the article's own body, if its title names the number (六增六提).
    """
    path = article.path_at(span.start)
    if count is not None and count in {han_number(n) for n in _NUMERAL.findall(article.title)}:
        path = (Section(article.body, article.end, 0, "", article.title, article.sections), *path)
    around = [path[: i + 1] for i in range(len(path) - 1, -1, -1) if len(path[i].sections) > 1]
    elsewhere = [
        p for p in article.walk() if count is not None and len(p[-1].sections) == count and p not in around
    ]
    return [*around, *elsewhere]


def _list_fit(
    query: Query, intent: Intent, evidence: Evidence, path: tuple[Section, ...], ranked: Sequence[Evidence]
) -> float:
    """How well a section's children answer; positive where they do."""
    section = path[-1]
    count = len(section.sections)
    if intent.count is not None and intent.count != count:
        return -1.0
    around = section.start <= evidence.span.start < section.end
    lead = around and evidence.span.start < section.sections[0].start
    inside = [
        e
        for e in ranked
        if section.start <= e.span.start < section.end and e.article.id == evidence.article.id
    ]
    items = {
        next((i for i, s in enumerate(section.sections) if s.start <= e.span.start < s.end), -1)
        for e in inside
    }
    labels = [set(tokens(s.label)) for s in section.sections]
    named = query.coverage(set(tokens(" ".join(s.label for s in path))).union(*([] if around else labels)))
    common = set.intersection(*labels) & set(query.terms)  # 五个“坚持”: each item says 坚持
    fit = 0.6 * named + 0.15 * len(items - {-1}) + (0.35 if lead else 0.0) + (_COMMON if common else 0.0)
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


def _unpunctuated(text: str, start: int, end: int) -> Span:
    """The span without a comma and the like at its end: what is cut there ends with a full stop where it is shown."""
    while end > start and (text[end - 1].isspace() or text[end - 1] in _OPEN_ENDS):
        end -= 1
    while start < end and text[start].isspace():
        start += 1
    return Span(start, end)


def _colon(lead: str) -> str:
    return lead if lead.endswith(("：", ":", "。", "；")) else lead + "："
