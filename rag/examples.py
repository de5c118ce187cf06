"""Questions to try, and to go on with, from the documents' own headings."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice, zip_longest

from rag.condense import refers
from rag.extract import readable
from rag.fold import squeeze
from rag.records import Article, Section

_STRAIGHT = re.compile('"([^"]*)"')
_NESTED = str.maketrans("“”‘’", "‘’“”")


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


def follow_ups(
    asked: str, cited: Sequence[tuple[Article, int]], n: int = 3, refused: bool = False
) -> list[str]:
    """Up to ``n`` questions that go on from the answer to ``asked``, on sections near what it cites.

    ``cited`` holds the article and the position of each citation; each of the articles has its turn. For a refusal they
    are those of the nearest passages, whose own sections are then asked for first. A section around a citation, or
    whose heading stands in ``asked``, is not asked for again.
    """
    first: dict[Article, int] = {}
    for article, position in cited:
        first.setdefault(article, position)
    told = set() if refused else {s for article, position in cited for s in article.path_at(position)}
    words = _unquoted(asked)
    near = [
        [s for s in _near(*place) if s not in told and _unquoted(s.heading) not in words]
        for place in first.items()
    ]
    turns = filter(None, chain.from_iterable(zip_longest(*near)))
    return list(islice(dict.fromkeys(filter(None, map(_goes_on, turns))), n))


def _near(article: Article, position: int) -> Iterator[Section]:
    """The sections around a position from the inside out, those in the innermost, and then their siblings: what follows
    before what came before. One without a heading to ask for stands for those in it."""
    path = article.path_at(position)
    yield from reversed(path)
    yield from path[-1].sections if path else article.sections
    parents: tuple[Article | Section, ...] = (article, *path)
    for parent, section in reversed([*zip(parents, path, strict=False)]):
        at = parent.sections.index(section)
        for sibling in (*parent.sections[at + 1 :], *reversed(parent.sections[:at])):
            yield from (sibling,) if _fit(sibling) else sibling.sections


def _goes_on(section: Section) -> str | None:
    """A question for a section, or None where its heading makes none that is understood without what was said before.

    A gap in a heading may be where it ends.
    """
    if not _fit(section) or any(map(str.isspace, section.heading)):
        return None
    question = f"{_quoted(section.heading)}说的是什么？" if not _divided(section) else _of_parts(section)
    return None if refers(question) else question


def _parts(article: Article) -> str | None:
    divided = [s for s in _headed(article) if _divided(s)]
    return _of_parts(divided[0]) if divided else None


def _of_parts(section: Section) -> str:
    return f"{_quoted(readable(section.heading))}包括哪些方面？"


def _quoted(heading: str) -> str:
    """A heading in quotation marks; double ones in it become single and the other way (GB/T 15834-2011, 4.8)."""
    nested = _STRAIGHT.sub(r"“\1”", heading).translate(_NESTED)
    return f"“{nested}”"


def _unquoted(text: str) -> str:
    """As compared: whichever quotation marks stand in it."""
    return re.sub("[\"']", "", squeeze(text)[0])


def _divided(section: Section) -> bool:
    return 2 <= len(section.sections) <= 8


def _how(article: Article) -> str | None:
    headed = _headed(article)
    return f"怎样{readable(headed[0].heading)}？" if headed else None


def _headed(article: Article) -> list[Section]:
    """Sections with a heading fit to be asked for: neither a mere word nor a sentence."""
    return [s for (*_, s) in article.walk() if _fit(s)]


def _fit(section: Section) -> bool:
    return 6 <= len(section.heading) <= 24 and section.level != "item"
