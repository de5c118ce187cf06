"""Answers and the first screen to HTML: pure functions, every text escaped."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from urllib.parse import urlencode

from rag.records import Answer, AnswerSentence, Citation, Passage
from rag.store import StoredArticle, StoredDocument

NEARBY = 3  # places that a refusal points to
PREVIEW = 60  # characters of a quote in a tooltip or a list of places

_MARKED_ITEM = re.compile(r"\s*(?:[（(]?[一二三四五六七八九十\d]{1,3}[）)、.．是要]|第[一二三四五\d]|[①-⑳])")


def escape(text: str) -> str:
    """``text`` for HTML content or a quoted attribute; carriage returns survive the parser."""
    return html.escape(text).replace("\r", "&#13;")


# --- Links into the source -------------------------------------------------------------------------


def span_link(document: str, start: int, end: int) -> str:
    """The fragment that opens ``[start, end)`` of a document in the source panel, and is a permalink."""
    return "#" + urlencode({"document": document, "start": start, "end": end})


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


# --- The first screen ------------------------------------------------------------------------------


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
