"""Documents, their categories, articles and sections as compact JSON: what the page browses and searches."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from rag.records import Section
from rag.store import StoredArticle


def tree_json(articles: Iterable[StoredArticle]) -> str:
    """Nested arrays, as names of fields would be most of the text of a large tree::

        [[document, [[category | null, [[number, title, start, end, sections], …]], …]], …]

    with each section as ``[label, start, end, sections]``. Neighbouring articles of one category are a group.
    """
    documents = [
        [name, [_group(category, held) for category, held in groupby(stored, lambda a: a.article.category)]]
        for name, stored in groupby(articles, lambda a: a.document)
    ]
    return json.dumps(documents, ensure_ascii=False, separators=(",", ":"))


def _group(category: str | None, stored: Iterable[StoredArticle]) -> list[Any]:
    articles = (a.article for a in stored)
    return [category, [[a.number, a.title, a.start, a.end, _branch(a.sections)] for a in articles]]


def _branch(sections: Iterable[Section]) -> list[Any]:
    return [[s.label, s.start, s.end, _branch(s.sections)] for s in sections]
