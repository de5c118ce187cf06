"""The first screen: what the documents are, and what can be asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rag.store import StoredArticle, StoredDocument
from ui.markup import escape

_INGESTING = "<p>先在命令行读入文件或文件夹，再刷新本页：</p><pre><code>youju ingest 路径</code></pre>"
_ADDING = "<p>在左边的“添加文件”里放进第一份文件。 <small>Add the first one on the left.</small></p>"


def welcome_html(
    documents: Sequence[StoredDocument],
    articles: Sequence[StoredArticle],
    examples: Sequence[str],
    uploads: bool = False,
) -> str:
    """``examples``: questions that the documents answer; ``uploads``: documents can be added in the page."""
    if not documents:
        return (
            '<div class="welcome"><h1>还没有文件 <small>No documents yet</small></h1>'
            f"{_ADDING if uploads else _INGESTING}</div>"
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
