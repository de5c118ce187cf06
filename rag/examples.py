"""Example questions from the documents' own headings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rag.extract import readable
from rag.records import Article, Section


def examples(articles: Sequence[Article], n: int) -> list[str]:
    """Up to ``n`` questions, each from another article, spread over the documents.

    A section with several parts is asked for its parts; where too few articles have one, headings that say what is
    done are asked for how.
    """
    step = max(1, len(articles) // max(1, n))
    spread = dict.fromkeys([*range(0, len(articles), step), *range(len(articles))])
    asked: dict[int, str] = {}
    kinds: tuple[Callable[[Article], str | None], ...] = (_parts, _how)
    for kind in kinds:
        for at in spread:
            question = kind(articles[at]) if at not in asked else None
            if question and len(asked) < n and question not in asked.values():
                asked[at] = question
    return [asked[at] for at in sorted(asked)]


def _parts(article: Article) -> str | None:
    divided = [s for s in _headed(article) if 2 <= len(s.sections) <= 8]
    return f"“{readable(divided[0].heading)}”包括哪些方面？" if divided else None


def _how(article: Article) -> str | None:
    headed = _headed(article)
    return f"怎样{readable(headed[0].heading)}？" if headed else None


def _headed(article: Article) -> list[Section]:
    """Sections with a heading fit to be asked for: neither a mere word nor a sentence."""
    return [s for (*_, s) in article.walk() if 6 <= len(s.heading) <= 24 and s.level != "item"]
