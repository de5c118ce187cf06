"""What holds for every split of a text, and generated compilations to try it on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from builders import document
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from rag.chunk import chunks
from rag.outline import outline
from rag.records import Article, Level, Outline, Section, Span

Tree = list[tuple[Level, str, str, "Tree"]]


def tree(sections: Iterable[Section]) -> Tree:
    """The sections as ``(level, marker, heading, sections)``."""
    return [(s.level, s.marker, s.heading, tree(s.sections)) for s in sections]


def split(text: str, name: str = "文.txt") -> Outline:
    return outline(document(text, name))


# -- what must hold -----------------------------------------------------------------------------------------


def check_outline(text: str, found: Outline) -> None:
    """Articles and sections lie inside the text and their parents, in order, without overlap."""
    assert [a.number for a in found.articles] == list(range(1, len(found.articles) + 1))
    _check_order(found.articles, Span(0, len(text)))
    for article in found.articles:
        assert article.start <= article.body <= article.end
        _check_sections(text, article.sections, Span(article.body, article.end))
        for path in article.walk():
            assert article.path_at(path[-1].start)[: len(path)] == path


def _check_sections(text: str, sections: Sequence[Section], parent: Span) -> None:
    _check_order(sections, parent)
    for section in sections:
        assert section.start < section.end
        assert section.start <= section.body <= section.end
        assert section.marker
        assert text.startswith(section.marker, section.start)
        assert section.heading == section.heading.strip()
        _check_sections(text, section.sections, section)


def _check_order(spans: Sequence[Span], parent: Span) -> None:
    for span in spans:
        assert parent.start <= span.start <= span.end <= parent.end, (span, parent)
    for before, after in pairwise(spans):
        assert before.end <= after.start


def check_chunks(text: str, article: Article) -> int:
    """Chunks hold whole sentences of one section; together, each character of the body once and in order.

    The number of chunks.
    """
    found = chunks(document(text), article)
    sentences = [sentence for chunk in found for sentence in chunk.sentences]
    _check_order(sentences, Span(article.body, article.end))
    said = "".join(text[s.start : s.end] for s in sentences)
    assert "".join(said.split()) == "".join(text[article.body : article.end].split())
    edges = sorted({edge for *_, s in article.walk() for edge in (s.start, s.end)})
    for chunk in found:
        assert (chunk.start, chunk.end) == (chunk.sentences[0].start, chunk.sentences[-1].end)
        assert chunk.article == article.number
        assert chunk.section == tuple(s.label for s in article.path_at(chunk.start))
        assert not any(chunk.start < edge < chunk.end for edge in edges), "a chunk crosses a section"
        for sentence in chunk.sentences:
            quote = text[sentence.start : sentence.end]
            assert quote and quote == quote.strip()
    return len(found)


# -- generated compilations ---------------------------------------------------------------------------------

_WORDS = (
    "健全 完善 推进 落实 机制 制度 服务 网格 课堂 水站 河湖 巡护 调解 养老 托育 培训 就业 议事 协商 公开 监督 台账 排查 整改 宣讲 帮扶 "
    "社区 乡村 集市 渡口 驿站 食堂 菜园 书屋 灯光 路灯 雨水 堤坝 茶园 合作 联络 值守 轮换 考评 激励 资金 保障 队伍 阵地 平台 热线 群众"
)
_HAN = "一二三四五六七八九十"


@dataclass(frozen=True)
class Part:
    """A section to be written: its heading, the text under it, the parts below, and the items it lists."""

    heading: str
    text: str
    parts: tuple[Part, ...] = ()
    items: tuple[str, ...] = ()


@dataclass(frozen=True)
class Written:
    """An article to be written."""

    title: str
    category: str | None
    opening: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Compilation:
    """Articles, how their parts of the third level are numbered, and whether the body repeats the categories."""

    articles: tuple[Written, ...]
    bare_digits: bool
    repeats: bool

    @property
    def expected(self) -> list[tuple[str, str | None, Tree]]:
        return [(a.title, a.category, self._tree(a.parts, 1)) for a in self.articles]

    def _tree(self, parts: Sequence[Part], level: int) -> Tree:
        return [
            (level, self._marker(level, n), p.heading, self._tree(p.parts, level + 1) + _items(p.items))
            for n, p in enumerate(parts, 1)
        ]

    def _marker(self, level: int, n: int) -> str:
        digit = f"{n}" if self.bare_digits else f"{n}."
        return (f"{_HAN[n - 1]}、", f"({_HAN[n - 1]})", digit)[level - 1]

    def lines(self) -> str:
        """A title, a heading, a paragraph per line."""
        return "\n".join(self._pieces())

    def one_line(self) -> str:
        """Everything in one line, with a space where a line ended."""
        return " ".join(self._pieces())

    def _pieces(self) -> list[str]:
        out = ["基层工作资料汇编", "目录"]
        for article in self.articles:
            out += [*self._category(article), article.title]
        for article in self.articles:
            out += self._category(article) if self.repeats else []
            out += [article.title, article.opening]
            self._write(out, article.parts, 1)
        return out

    def _category(self, article: Written) -> list[str]:
        """The line of its category, before the first article in it."""
        first = next(a for a in self.articles if a.category == article.category)
        if article.category is None or article is not first:
            return []
        categories = list(dict.fromkeys(a.category for a in self.articles))
        return [f"{_HAN[categories.index(article.category)]}、{article.category}"]

    def _write(self, out: list[str], parts: Sequence[Part], level: int) -> None:
        for n, part in enumerate(parts, 1):
            out += [self._marker(level, n) + part.heading, part.text]
            if part.items:
                marked = [f"{_HAN[i]}是{item},按月通报进度" for i, item in enumerate(part.items)]
                out[-1] += "具体抓好几件事:" + ";".join(marked) + "。"
            self._write(out, part.parts, level + 1)


def _items(items: Sequence[str]) -> Tree:
    return [("item", f"{_HAN[i]}是", item, []) for i, item in enumerate(items)]


def _phrases(least: int, most: int) -> SearchStrategy[str]:
    return st.lists(st.sampled_from(_WORDS.split()), min_size=least, max_size=most).map("".join)


_SENTENCES = st.lists(st.tuples(_phrases(4, 9), _phrases(3, 12)), min_size=1, max_size=3).map(
    lambda pairs: "".join(f"本地{a},并且{b}。" for a, b in pairs)
)
_LEAVES = st.builds(
    Part,
    _phrases(2, 5),
    _SENTENCES,
    items=st.just(()) | st.lists(_phrases(2, 4), min_size=2, max_size=4).map(tuple),
)


def _parts(children: SearchStrategy[Part]) -> SearchStrategy[Part]:
    below = st.lists(children, min_size=2, max_size=3).map(tuple)
    return st.builds(Part, _phrases(2, 5), _SENTENCES, below) | _LEAVES


_TITLES = st.tuples(_phrases(3, 6), st.just("") | _phrases(3, 6)).map(lambda t: " ".join(filter(None, t)))


@st.composite
def compilations(draw: DrawFn) -> Compilation:
    """Compilations of two to five articles, some in categories, with sections of up to three levels."""
    titles = draw(st.lists(_TITLES, min_size=2, max_size=5, unique_by=lambda t: t[:4]))
    names = draw(st.sampled_from([(), ("意见决定", "经验交流"), ("调研报告", "领导讲话")]))
    half = len(titles) // 2
    top = st.lists(_parts(_parts(_LEAVES)), min_size=0, max_size=3).filter(lambda parts: len(parts) != 1)
    articles = tuple(
        Written(title, names[i >= half] if names else None, draw(_SENTENCES), tuple(draw(top)))
        for i, title in enumerate(titles)
    )
    # with one article in each category and all in one line, nobody could tell a category from a title's beginning
    return Compilation(articles, draw(st.booleans()), len(titles) > 2 and draw(st.booleans()))


# -- arbitrary text -----------------------------------------------------------------------------------------

_FRAGMENTS = (
    "目录|目 录|一、|二、|三、|(一)|（二）|1.|1|2|3、|(1)|①|②|一是|二是|第一,|其二,|第一章 |第二节 |第一条 |# |## |```|~~~|“|”|《|》|（|）"
    "|。|！|？|……|；|：|，|、|.| |　|\t|\n|\r\n|\r|\u200b|关于水站的意见|社区课堂|声明: 本站不保证|查看更多|……………… 12|3个|2024年|3.5%"
    "|👍🏽|𠮷"
)


def texts() -> SearchStrategy[str]:
    """Any text, and texts made of what the splitter looks for, in any order."""
    piece = st.sampled_from(_FRAGMENTS.split("|")) | st.sampled_from(_WORDS.split()) | st.text(max_size=4)
    return st.lists(piece, max_size=60).map("".join)
