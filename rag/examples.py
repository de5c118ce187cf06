"""Example questions from the documents' own headings."""

from __future__ import annotations

from collections.abc import Sequence

from rag.records import Article, Section


def examples(articles: Sequence[Article], n: int) -> list[str]:
    """Up to ``n`` questions, each from another article, spread over the documents.

    A section with several parts makes a question for its parts; an article without one, for its content.
    """
    out: list[str] = []
    step = max(1, len(articles) // max(1, n))
    order = [*range(0, len(articles), step), *range(len(articles))]
    for at in dict.fromkeys(order):
        if len(out) == n:
            break
        question = _question(articles[at])
        if question and question not in out:
            out.append(question)
    return out


def _question(article: Article) -> str | None:
    divided = [s for (*_, s) in article.walk() if 2 <= len(s.sections) <= 8 and 4 <= len(s.heading) <= 24]
    if divided:
        section: Section = divided[len(divided) // 2]
        return f"“{section.heading}”包括哪些方面？"
    named = [s for (*_, s) in article.walk() if 6 <= len(s.heading) <= 24]
    if named:
        return (
            f"怎样{named[0].heading}？" if not named[0].heading.startswith("怎") else f"{named[0].heading}？"
        )
    return None
