"""Answers, articles and lists of documents to HTML: pure functions, every text escaped.

Two promises hold for the source panel and are property-tested: the body's text is exactly the article's
characters, and the joined text of ``mark.evidence`` is exactly the quoted span. Layout adds elements,
never characters.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Literal
from urllib.parse import urlencode

from rag.chunk import sentences
from rag.records import Answer, AnswerSentence, Article, Citation, Document, Passage, Section, Span
from rag.store import StoredArticle, StoredDocument

PARAGRAPH = 150  # characters after which a paragraph of running text ends with its sentence
NEARBY = 3  # places that a refusal points to
PREVIEW = 60  # characters of a quote in a tooltip or a list of places

_FULL_STOPS = "。！？!?…”’」』）)】》"
_MARKED_ITEM = re.compile(r"\s*(?:[（(]?[一二三四五六七八九十\d]{1,3}[）)、.．是要]|第[一二三四五\d]|[①-⑳])")

Kind = Literal["title", "heading", "item", "text"]


def escape(text: str) -> str:
    """``text`` for HTML content or a quoted attribute; carriage returns survive the parser."""
    return html.escape(text).replace("\r", "&#13;")


# --- Links into the source -------------------------------------------------------------------------


def span_link(document: str, start: int, end: int) -> str:
    """The fragment that opens ``[start, end)`` of a document in the source panel, and is a permalink."""
    return "#" + urlencode({"document": document, "start": start, "end": end})


def article_link(document: str, number: int) -> str:
    """The fragment that opens an article in the source panel."""
    return "#" + urlencode({"document": document, "article": number})


def place_name(title: str, section: Sequence[str]) -> str:
    """An article and a path of sections in one line."""
    return " › ".join((f"《{title}》", *section))


def shortened(text: str, length: int = PREVIEW) -> str:
    """``text`` without line breaks, cut to ``length`` characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= length else flat[: length - 1] + "…"


# --- Messages of the conversation ------------------------------------------------------------------


def question_html(text: str, scope: Sequence[str] = ()) -> str:
    """What the user asked, and the titles that the question was restricted to."""
    within = ""
    if scope:
        titles = "".join(f"<li>{escape(title)}</li>" for title in scope)
        within = f'<div class="within"><span>仅查 within</span><ul>{titles}</ul></div>'
    return f'<div class="question"><p>{escape(text)}</p>{within}</div>'


def waiting_html(note: str = "正在查找原文… <small>Searching</small>") -> str:
    """The place of an answer that has not begun."""
    return f'<div class="answering waiting"><p>{note}</p></div>'


def draft_html(said: Sequence[AnswerSentence], citations: Sequence[Citation]) -> str:
    """An answer still being written."""
    return f'<div class="answering">{_sentences(said, citations)}</div>'


def answer_html(answer: Answer) -> str:
    """A finished answer; a refusal names nearby places."""
    if answer.refused:
        return _refusal(answer)
    understood = ""
    if answer.question:
        understood = f'<p class="understood">按此理解 <small>read as</small>：{escape(answer.question)}</p>'
    body = _sentences(answer.sentences, answer.citations)
    return f'<div class="answer answered">{understood}{body}{_footing(answer)}</div>'


def failure_html(problem: str, remedy: str) -> str:
    """An error in words that help, in the place of an answer."""
    return (
        '<div class="failure"><p class="verdict">没有完成 <small>Not done</small></p>'
        f"<p>{escape(problem)}</p><p>{escape(remedy)}</p></div>"
    )


def _sentences(said: Sequence[AnswerSentence], citations: Sequence[Citation]) -> str:
    """Sentences from one place as a paragraph, each lead on its own, consecutive items as one list."""
    by_number = {c.n: c for c in citations}
    out: list[str] = []
    for (kind, _), group in groupby(said, key=lambda s: (s.kind, _origin(s, by_number))):
        if kind == "item":
            out.append(_list([(s.text, _sentence(s, by_number)) for s in group]))
        elif kind == "lead":
            out.extend(f'<p class="lead">{_sentence(s, by_number)}</p>' for s in group)
        else:
            out.append(f"<p>{''.join(_sentence(s, by_number) for s in group)}</p>")
    return "".join(out)


def _origin(sentence: AnswerSentence, by_number: dict[int, Citation]) -> tuple[object, ...] | None:
    """The section that running text was taken from: sentences of two sections make two paragraphs."""
    first = next((by_number[n] for n in sentence.citations if n in by_number), None)
    if sentence.kind != "text" or first is None:
        return None
    return first.document, first.article.number, first.section


def _list(items: Sequence[tuple[str, str]]) -> str:
    """Items that carry their own numbers (一是, 1.) get no bullet."""
    own = all(_MARKED_ITEM.match(text) for text, _ in items)
    rows = "".join(f"<li>{rendered}</li>" for _, rendered in items)
    return f'<ul class="items{" marked" if own else ""}">{rows}</ul>'


def _sentence(sentence: AnswerSentence, by_number: dict[int, Citation]) -> str:
    marks = "".join(_mark(by_number[n]) for n in sentence.citations if n in by_number)
    state = sentence.support
    hint = ' title="文件中没有找到这句话的依据 (no support found)"' if state == "unsupported" else ""
    return f'<span class="sentence {state}"{hint}>{escape(sentence.text)}{marks}</span>'


def _mark(citation: Citation) -> str:
    """A citation mark: a link whose text is the number and whose tooltip is the place and the quote."""
    href = span_link(citation.document, citation.start, citation.end)
    place = place_name(citation.article.title, citation.section)
    title = f"{place}\n“{shortened(citation.quote)}”"
    return f'<a class="cite" href="{escape(href)}" title="{escape(title)}">{citation.n}</a>'


def _footing(answer: Answer) -> str:
    """How the answer was made, in one small line."""
    support = Counter(s.support for s in answer.sentences)
    if answer.engine == "extractive":
        made = "原文摘录，逐句有出处 <small>quoted from the documents</small>"
        if answer.fallback:
            made += f" · {escape(answer.fallback)}"
    else:
        made = f"由 {escape(answer.engine)} 撰写，逐句核对 <small>checked sentence by sentence</small>"
    doubt = ""
    if support["unsupported"]:
        doubt = (
            f' · <strong class="doubt">{support["unsupported"]} 句未找到依据'
            " <small>unsupported</small></strong>"
        )
    seconds = sum(answer.timings_ms.values()) / 1000
    return f'<p class="footing">{made}{doubt} · {seconds:.2g} 秒</p>'


def _refusal(answer: Answer) -> str:
    body = _sentences(answer.sentences, answer.citations)
    return (
        '<div class="answer refused">'
        '<p class="verdict">不作回答 <small>Not in the documents</small></p>'
        f"{body}{_nearby(answer.retrieved)}</div>"
    )


def _nearby(passages: Sequence[Passage]) -> str:
    """The first places that retrieval found, one for each section."""
    places: dict[tuple[str, int, tuple[str, ...]], Passage] = {}
    for passage in passages:
        places.setdefault((passage.document, passage.article.number, passage.section), passage)
    if not places:
        return ""
    rows = "".join(
        f'<li><a class="place" href="{escape(span_link(p.document, p.start, p.end))}">'
        f"{escape(place_name(p.article.title, p.section))}</a>"
        f"<span>{escape(shortened(p.text))}</span></li>"
        for p in list(places.values())[:NEARBY]
    )
    return (
        '<div class="nearby"><p>字面相近、但没有直接回答的地方 <small>Nearby, not an answer</small></p>'
        f"<ul>{rows}</ul></div>"
    )


# --- The source panel ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Block(Span):
    """A stretch of an article's text that is laid out as one element.

    ``lead`` is where the block's opening words (an item's marker and heading) end.
    """

    kind: Kind
    level: int = 0
    lead: int = 0


def article_html(document: Document, article: Article, evidence: Span | None = None) -> str:
    """An article laid out from its section tree, under its title and the path of sections.

    With ``evidence`` the characters of that span that the article holds stand in ``mark.evidence``.
    """
    path = article.path_at(evidence.start) if evidence else ()
    steps = "".join(f"<li>{escape(section.label)}</li>" for section in path)
    crumbs = f'<ol class="path" aria-label="章节 Sections">{steps}</ol>' if steps else ""
    category = f'<span class="category">{escape(article.category)}</span>' if article.category else ""
    body = "".join(_block(document.text, block, evidence) for block in blocks(document.text, article))
    return (
        '<article class="source">'
        f'<header><p class="place"><span class="document">{escape(document.name)}</span>'
        f'<span class="number">第 {article.number} 篇</span>{category}</p>'
        f"<h2>{escape(article.title)}</h2>{crumbs}</header>"
        f'<div class="body" lang="zh-CN">{body}</div></article>'
    )


def blocks(text: str, article: Article) -> list[Block]:
    """The article's characters as blocks in reading order, without a gap or an overlap."""
    starts = [Block(article.start, article.start, "title")]
    if article.body > article.start:
        starts.append(Block(article.body, article.body, "text"))
    for path in article.walk():
        starts.extend(_openings(text, path[-1], len(path)))
    starts = [s for s in starts if article.start <= s.start < article.end]
    starts.sort(key=lambda s: s.start)  # stable: at one place the innermost opening is the last
    opened = {s.start: s for s in starts}
    places = [*sorted(opened), article.end]
    out: list[Block] = []
    for start, end in pairwise(places):
        kind = opened[start]
        for piece in _paragraphs(text, start, end, kind):
            if out and not text[piece.start : piece.end].strip():
                last = out.pop()
                piece = Block(last.start, piece.end, last.kind, last.level, last.lead)
            out.append(piece)
    return out


def _openings(text: str, section: Section, depth: int) -> Iterator[Block]:
    """Where a section's head, its text and what follows the section begin."""
    # what follows is opened first, so that a section that begins there overrides it
    yield Block(section.end, section.end, "text", depth - 1)
    if section.start < section.body:
        yield Block(section.start, section.start, "heading", depth)
        yield Block(section.body, section.body, "text", depth)
    else:
        yield Block(section.start, section.start, "item", depth, lead_end(text, section))


def lead_end(text: str, section: Section) -> int:
    """Where marker and heading end in a section that begins within a running sentence."""
    at = section.start
    for char in section.marker + section.heading:
        if char.isspace():
            continue
        found = next((i for i in range(at, section.end) if not text[i].isspace()), section.end)
        if text[found : found + 1] != char:
            break  # the heading was read without its brackets: the rest of it is running text
        at = found + 1
    return at


def _paragraphs(text: str, start: int, end: int, kind: Block) -> Iterator[Block]:
    """A block cut at line breaks and, where it is long, between sentences."""
    begin, name, before = start, kind.kind, start
    if kind.kind in ("item", "text"):
        for sentence in sentences(text, start, end):
            broken = "\n" in text[before : sentence.start]
            long = before - begin >= PARAGRAPH and end - before >= PARAGRAPH // 3
            if before > begin and (broken or (long and text[before - 1] in _FULL_STOPS)):
                yield Block(begin, sentence.start, name, kind.level, kind.lead if begin == start else 0)
                begin, name = sentence.start, "text"
            before = sentence.end
    yield Block(begin, end, name, kind.level, kind.lead if begin == start else 0)


def _block(text: str, block: Block, evidence: Span | None) -> str:
    """One block's element; its characters are those of the text, all of them."""
    content = _characters(text, block, evidence)
    if block.kind == "heading":
        level = min(block.level + 2, 6)
        return f'<h{level} class="depth-{min(block.level, 4)}">{content}</h{level}>'
    cited = evidence is not None and block.overlap(evidence) > 0
    shown = " cited" if block.kind == "title" and cited else ""
    return f'<p class="{block.kind} depth-{min(block.level, 4)}{shown}">{content}</p>'


def _characters(text: str, block: Block, evidence: Span | None) -> str:
    """The block's characters, escaped, in runs: leading white space, opening words, evidence."""
    written = text[block.start : block.end]
    gap = block.start + len(written) - len(written.lstrip())
    lead = max(block.start, min(block.lead, block.end))
    mark = evidence or Span(0, 0)
    cuts = sorted(
        {block.start, block.end, *(c for c in (gap, lead, mark.start, mark.end) if c in range(*_open(block)))}
    )
    out: list[str] = []
    for start, end in pairwise(cuts):
        run = escape(text[start:end])
        if end <= gap:
            run = f'<span class="gap">{run}</span>'
        elif end <= lead:
            run = f"<b>{run}</b>"
        if mark.start <= start and end <= mark.end:
            run = f'<mark class="evidence">{run}</mark>'
        out.append(run)
    return "".join(out)


def _open(span: Span) -> tuple[int, int]:
    return span.start + 1, span.end


# --- The list of documents and the first screen ----------------------------------------------------


def documents_html(articles: Iterable[StoredArticle]) -> str:
    """Documents, their categories and articles: each article to open and to tick."""
    out = []
    for document, stored in groupby(articles, key=lambda a: a.document):
        held = [a.article for a in stored]
        groups = "".join(
            _category(document, category, list(group))
            for category, group in groupby(held, key=lambda a: a.category)
        )
        out.append(
            f'<details class="document" open><summary><span>{escape(document)}</span>'
            f"<small>{len(held)} 篇</small></summary>{groups}</details>"
        )
    return "".join(out) or '<p class="empty">还没有文件 <small>No documents yet</small></p>'


def _category(document: str, category: str | None, articles: Sequence[Article]) -> str:
    head = ""
    if category:
        head = (
            f'<label class="category"><input type="checkbox" class="tick-all">'
            f"<span>{escape(category)}</span><small>{len(articles)}</small></label>"
        )
    rows = "".join(_row(document, article) for article in articles)
    return f'<section class="group">{head}<ul>{rows}</ul></section>'


def _row(document: str, article: Article) -> str:
    title = escape(article.title)
    return (
        f'<li><input type="checkbox" class="tick" aria-label="只在此篇中提问：{title}" title="只在此篇中提问"'
        f' data-document="{escape(document)}" data-article="{article.number}" data-title="{title}">'
        f'<a class="open" href="{escape(article_link(document, article.number))}">'
        f'<span class="n">{article.number}</span> {title}</a></li>'
    )


def welcome_html(
    documents: Sequence[StoredDocument], articles: Sequence[StoredArticle], examples: Sequence[str]
) -> str:
    """The first screen: what the documents are, and what can be asked."""
    if not documents:
        return (
            '<div class="welcome"><h1>还没有文件 <small>No documents yet</small></h1>'
            "<p>先在命令行读入文件或文件夹，再刷新本页：</p><pre><code>youju ingest 路径</code></pre></div>"
        )
    counts = "".join(
        f"<li><strong>{number:,}</strong> {unit} <small>{english}</small></li>"
        for number, unit, english in (
            (len(documents), "份文件", "documents" if len(documents) > 1 else "document"),
            (len(articles), "篇文章", "articles" if len(articles) > 1 else "article"),
            (sum(d.characters for d in documents), "字", "characters"),
        )
    )
    topics = Counter(a.article.category for a in articles if a.article.category)
    names = "、".join(f"{escape(topic)}（{count}）" for topic, count in topics.items())
    about = f'<p class="topics">其中有：{names}。</p>' if names else ""
    asks = ""
    if examples:
        buttons = "".join(f'<li><button class="example">{escape(e)}</button></li>' for e in examples)
        asks = f'<h2>可以这样问 <small>Try asking</small></h2><ul class="examples">{buttons}</ul>'
    return (
        '<div class="welcome"><h1>向这些文件提问 <small>Ask these documents</small></h1>'
        f'<ul class="counts">{counts}</ul>{about}'
        "<p>可以问事实和数字、要求列出几条做法、找哪一篇讲某件事。回答逐句取自原文，"
        '点句末的编号 <span class="sample-cite">1</span> 就打开出处；文件里没有的，会直说没有。</p>'
        f"{asks}</div>"
    )
