"""A document's text to its articles and their trees of sections."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath

from rag.boilerplate import is_boilerplate, trim
from rag.contents import Contents, find_contents
from rag.fold import squeeze
from rag.markers import headings, markers
from rag.records import Article, Document, Outline, Section
from rag.sections import sections

_NOT_TITLE = re.compile(r"[。！？!?；;，,]|[:：]$")
_MARKED = re.compile(
    r"^(?:[一二三四五六七八九十]+、|[(（][一二三四五六七八九十\d]+[)）]|\d{1,2}[.．、]|第[一二三四五六七八九十百零\d]+[编章节条]|[-*•#>|])"
)
_BYLINE = re.compile(
    r"^[(（].{2,40}[)）]$|^\D{0,8}\d{4}\s?年\s?\d{1,2}\s?月|^.{2,18}(?:政府|委员会|[县市区省]委|[局厅办署部处]|办公室|研究[室院所]|课题组"
    r"|[县市区镇乡省]|公司|协会|中心|记者|作者)(?:\s.{1,12})?$|^(?:作者|来源|单位)[:：]"
)
_TITLE_ENDS = re.compile(
    r"(?:意见|决定|方案|办法|规定|规则|细则|条例|通知|通报|公告|报告|规划|计划|纲要|要点|讲话|致辞|发言|思考|探索|实践|启示|研究|调研"
    r"|总结|经验|做法|综述|纪实|制度|章程|指南|指引|手册|倡议|建议|说明|解读|体会|材料|新路子?|新路径)(?:\s?[\d一二三四五六七八九十]{1,2}|\(.{1,12}\)|（.{1,12}）)?$"
)


def outline(document: Document) -> Outline:
    """The articles of a document: by its table of contents, its Markdown or line titles, or as one."""
    text = document.text
    start, end = trim(text, 0, len(text))
    contents = find_contents(text)
    warnings: list[str] = []
    if contents and not contents.lists_divisions:
        articles = _by_contents(text, contents, end)
        warnings = [f"目录中的“{t}”未在正文中找到 (listed but not found)" for t in contents.unplaced]
    else:
        articles = _by_headings(document, start, end) or _by_lines(text, start, end)
        if not articles:
            articles = (_single(document, start, end, contents),)
    return Outline(articles, tuple(warnings))


def _by_contents(text: str, contents: Contents, end: int) -> tuple[Article, ...]:
    entries = contents.entries
    if entries[-1].body > end:  # what looked like a site's words at the end holds a title that is listed
        end = len(text)
    stops = [e.start if e.category_at is None else e.category_at for e in entries[1:]] + [end]
    return tuple(
        Article(e.start, stop, number, e.title, e.category, sections(text, e.body, stop), e.body)
        for number, (e, stop) in enumerate(zip(entries, stops, strict=True), 1)
    )


def _by_headings(document: Document, start: int, end: int) -> tuple[Article, ...]:
    """Markdown: an article for each first-level heading; () where there are only headings below that."""
    text = document.text
    found = list(headings(text, start, end))
    if not found:
        return ()
    top = min(len(m[1]) for m in found)
    heads = [m for m in found if len(m[1]) == top]
    if top > 1 and len(heads) > 1:
        return ()
    articles: list[Article] = []
    for number, match in enumerate(heads, 1):
        stop = heads[number].start() if number < len(heads) else end
        line_end = _line_end(text, match.end(), stop)
        title = re.sub(r"[*_`#]+", "", text[match.end() : line_end]).strip()
        begin = (
            min(start, match.start())
            if number == 1 and not text[start : match.start()].strip()
            else match.start()
        )
        tree = _shift_markdown(sections(text, line_end, stop), top)
        articles.append(Article(begin, stop, number, title, None, tree, line_end))
    return tuple(articles)


def _shift_markdown(tree: Sequence[Section], by: int) -> tuple[Section, ...]:
    """Markdown levels counted from below the article's own heading."""
    return tuple(
        replace(
            s,
            level=s.level - by if isinstance(s.level, int) and s.marker.startswith("#") else s.level,
            sections=_shift_markdown(s.sections, by),
        )
        for s in tree
    )


def _by_lines(text: str, start: int, end: int) -> tuple[Article, ...]:
    """Articles of a compilation without a table of contents, by title lines; () where it is one article.

    A line is a title if it reads like one and a new numbering follows, or it ends as titles do. Where there are
    several of these, other lines that read like titles, and have a text of their own, are taken as well.
    """
    lines = [(start + m.start(), start + m.end()) for m in re.finditer(r"[^\r\n]+", text[start:end])]
    lines = [(a, b) for a, b in lines if text[a:b].strip()]
    candidates = [
        (a, b)
        for i, (a, b) in enumerate(lines)
        if _is_title(text[a:b]) and not _followed_by_title(text, lines, i)
    ]
    restarts = _restarts(text, start, end)
    sure: list[tuple[int, int]] = []
    likely: list[tuple[int, int]] = []
    for order, (a, b) in enumerate(candidates):
        stop = candidates[order + 1][0] if order + 1 < len(candidates) else end
        own = len(text[b:stop].strip())
        named = bool(_TITLE_ENDS.search(text[a:b].strip()))
        if not sure or (own >= 120 and (named or any(b <= r < stop for r in restarts))):
            sure.append((a, b))
        elif own >= 200 and len(squeeze(text, a, b)[0]) >= 8 and text[:a].rstrip()[-1:] in "。！？”":
            likely.append((a, b))
    if len(sure) < 2 or sure[0][0] - start > 200:
        return ()
    heads = sorted([*sure, *(likely if len(sure) > 2 else [])])
    stops = [a for a, _ in heads[1:]] + [end]
    return tuple(
        Article(a, stop, number, text[a:b].strip(), None, sections(text, b, stop), b)
        for number, ((a, b), stop) in enumerate(zip(heads, stops, strict=True), 1)
    )


def _is_title(line: str) -> bool:
    line = line.strip()
    return (
        5 <= len(squeeze(line)[0]) <= 60
        and not _NOT_TITLE.search(line)
        and not _MARKED.match(line)
        and not is_boilerplate(line)
        and not _BYLINE.search(line)
    )


def _followed_by_title(text: str, lines: list[tuple[int, int]], i: int) -> bool:
    """A title directly above another one is the compilation's own."""
    return i + 1 < len(lines) and _is_title(text[slice(*lines[i + 1])])


def _restarts(text: str, start: int, end: int) -> list[int]:
    """Where a first-level numbering (一、 or 第一章) begins anew at the start of a line."""
    return [
        m.start
        for m in markers(text, start, end)
        if m.number == 1 and m.family.name in ("han", "chapter") and m.weight > 1.5
    ]


def _single(document: Document, start: int, end: int, contents: Contents | None) -> Article:
    """The whole text as one article; its title is its first line or words, else the file's name."""
    text = document.text
    title_end = _title_end(text, start, end)
    body = contents.entries[0].start if contents else title_end
    raw = text[start:title_end].strip()
    title = re.sub(r"\s*[\r\n]+\s*", " ", raw) if raw else PurePath(document.name).stem
    return Article(start, end, 1, title, None, sections(text, body, end), body)


def _title_end(text: str, start: int, end: int) -> int:
    """Where the title at ``start`` ends; ``start`` itself where the text begins without one."""
    line_end = _line_end(text, start, end)
    line = text[start:line_end]
    if line_end < end and len(squeeze(line)[0]) <= 60 and not _NOT_TITLE.search(line.strip()):
        return start if _MARKED.match(line) else line_end
    title_end = start
    for match in re.finditer(r"\S+", line[:200]):
        word = match[0]
        if _NOT_TITLE.search(word) or _MARKED.match(word) or match.end() > 80:
            break
        if re.fullmatch(r"目[录錄次]?|[录錄次]", word):
            break
        title_end = start + match.end()
    return title_end


def _line_end(text: str, start: int, end: int) -> int:
    match = re.compile(r"[\r\n]").search(text, start, end)
    return match.start() if match else end
