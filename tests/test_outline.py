"""Text to articles and sections: the sample in both forms, every format, and the cases that are easy to get wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from builders import document
from hypothesis import given, settings
from hypothesis import strategies as st
from spans import Compilation, Tree, check_outline, compilations, split, texts, tree

from rag.boilerplate import is_boilerplate
from rag.fold import squeeze
from rag.load import read_document
from rag.outline import outline
from rag.records import Article, Document, Outline
from rag.sections import sections

SAMPLES = Path(__file__).parent.parent / "samples"
FORMATS = SAMPLES / "formats"

# Where the messy form's headings end elsewhere than in the clean form: a space stands in the first words of the
# text after the heading, or in the heading near its comma. (article, marker): (clean, messy)
KNOWN = {
    (7, "三、"): ("做乘法,给产业赋能", "做乘法,给产业赋能 竹溆"),
    (21, "三、"): ("活血,市民当上书房主人", "活血,市民当上书房主人 每个书"),
    (25, "二、"): ("把事办扎实,着力抓好四件急事", "把事办"),
}

WATER = "水站由村民自己推选管理员，水费公开，账目贴在墙上。大家都说好，邻村也来学习。"
GRID = "本镇去年冬天开始试点，走访了全部村组，形成了一套办法。各村轮流值守，每月小结一次。"
CLASS = "课堂每天下午四点半开门，志愿者轮流辅导，家长放心。街道补贴了部分经费，运转正常。"


@cache
def sample(form: str) -> tuple[Document, Outline]:
    source = read_document(SAMPLES / f"compilation.{form}.txt")
    return source, outline(source)


def expected_tree(rows: list[dict[str, Any]]) -> Tree:
    return [(r["level"], r["marker"], r["heading"], expected_tree(r["sections"])) for r in rows]


def bare(text: str) -> str:
    return "".join(text.split())


def found_sections(text: str) -> Tree:
    return tree(sections(text, 0, len(text)))


def articles(text: str, name: str = "文.txt") -> list[tuple[str, str, str]]:
    """Title, first and last characters of each article, white space aside."""
    found = split(text, name)
    check_outline(text, found)
    return [
        (a.title, bare(text[a.body : a.end])[:4], bare(text[a.start : a.end])[-4:]) for a in found.articles
    ]


# -- the sample ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["clean", "messy"])
def test_the_sample_has_its_27_articles(form: str) -> None:
    source, found = sample(form)
    expected = json.loads((SAMPLES / "compilation.outline.json").read_text(encoding="utf-8"))
    assert [(a.title, a.category) for a in found.articles] == [(e["title"], e["category"]) for e in expected]
    assert len(found.articles) == 27
    assert found.warnings == ()
    check_outline(source.text, found)


def test_the_clean_sample_has_the_expected_sections() -> None:
    expected = json.loads((SAMPLES / "compilation.outline.json").read_text(encoding="utf-8"))
    for article, row in zip(sample("clean")[1].articles, expected, strict=True):
        assert tree(article.sections) == expected_tree(row["sections"]), article.title


def _shape(source: Document, article: Article) -> Iterator[tuple[Any, ...]]:
    """Each section's depth, level and marker, and how many characters stand before it in the article."""
    for path in article.walk():
        section = path[-1]
        before = len(bare(source.text[article.start : section.start]))
        yield len(path), section.level, section.marker, before


def test_both_forms_of_the_sample_give_the_same_articles_and_sections() -> None:
    clean, messy = sample("clean"), sample("messy")
    for a, b in zip(clean[1].articles, messy[1].articles, strict=True):
        assert bare(clean[0].text[a.start : a.end]) == bare(messy[0].text[b.start : b.end])
        assert list(_shape(clean[0], a)) == list(_shape(messy[0], b)), a.title


def test_headings_of_the_messy_sample() -> None:
    differing = {}
    count = 0
    for a, b in zip(sample("clean")[1].articles, sample("messy")[1].articles, strict=True):
        for (*_, x), (*_, y) in zip(a.walk(), b.walk(), strict=True):
            count += 1
            if bare(x.heading) != bare(y.heading):
                differing[a.number, x.marker] = (x.heading, y.heading)
    assert differing == KNOWN
    assert len(differing) / count < 0.02


def test_some_headings_of_the_sample_in_view() -> None:
    first = sample("messy")[1].articles[0]
    assert first.title == "关于推进公共服务高质量发展的实施意见"
    assert [s.label for s in first.sections] == [
        "一、指导思想",
        "二、主要目标",
        "三、重点任务",
        "四、改革举措",
        "五、组织保障",
    ]
    assert [s.label for s in first.sections[2].sections] == [
        "(一)健全就近可及的养老服务网络",
        "(二)建设安全稳定的城乡供水体系",
        "(三)完善普惠便利的公共阅读设施",
        "(四)打造好用管用的数字便民平台",
        "(五)建强扎根基层的服务队伍",
    ]


def test_the_messy_sample_is_made_from_the_clean_one(tmp_path: Path) -> None:
    for name in ("make_messy.py", "compilation.clean.txt"):
        shutil.copy(SAMPLES / name, tmp_path)
    subprocess.run([sys.executable, "make_messy.py"], cwd=tmp_path, check=True, timeout=60)
    made = (tmp_path / "compilation.messy.txt").read_bytes()
    assert made == (SAMPLES / "compilation.messy.txt").read_bytes()


@pytest.mark.parametrize("form", ["clean", "messy"])
def test_gold_evidence_stands_in_its_article(form: str) -> None:
    source, found = sample(form)
    for line in (SAMPLES / "questions.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        inside = [bare(source.text[a.start : a.end]) for a in found.articles if a.number in row["articles"]]
        for evidence in row["evidence"]:
            assert any(bare(evidence) in text for text in inside), (row["id"], evidence)


# -- formats ------------------------------------------------------------------------------------------------


def format_files() -> list[tuple[Path, dict[str, Any]]]:
    expected = json.loads((FORMATS / "expected.json").read_text(encoding="utf-8"))
    out: list[tuple[Path, Any]] = []
    for name, rows in expected.items():
        path = FORMATS / name
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        if path.is_dir():
            assert [f.stem for f in files] == sorted(row["title"] for row in rows)
            out += [(file, [row]) for file in files for row in rows if row["title"] == file.stem]
        else:
            out.append((path, rows))
    return out


def test_every_format_sample_has_its_expectation() -> None:
    listed = {path for path, _ in format_files()}
    there = {p for p in FORMATS.rglob("*") if p.is_file() and p.name != "expected.json"}
    assert listed == there


@pytest.mark.parametrize(("path", "rows"), [pytest.param(p, r, id=p.name) for p, r in format_files()])
def test_format(path: Path, rows: list[dict[str, Any]]) -> None:
    source = read_document(path)
    found = outline(source)
    check_outline(source.text, found)
    got = [(a.title, a.category, tree(a.sections)) for a in found.articles]
    assert got == [(r["title"], r["category"], expected_tree(r["sections"])) for r in rows]


def test_a_legal_text_reads_the_same_in_one_line() -> None:
    per_line, one_line = (outline(read_document(FORMATS / f"regulation{x}.txt")) for x in ("", "_oneline"))
    assert tree(per_line.articles[0].sections) == tree(one_line.articles[0].sections)


# -- sections: small cases ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "一、总体要求 会议强调，“一、要抓学习；二、要抓落实；三、要抓检查。”各地照办，按月报告。 二、重点任务 全面推进，落实到人。",
        "一、总体要求\n会议强调：“一、抓学习。二、抓落实。三、抓检查。”各地照办，按月报告。\n二、重点任务\n全面推进。",
    ],
)
def test_a_numbering_in_a_quotation_is_none(text: str) -> None:
    assert found_sections(text) == [(1, "一、", "总体要求", []), (1, "二、", "重点任务", [])]


@pytest.mark.parametrize("dot", ["", ".", "、"])
def test_numbers_may_run_on_across_sections(dot: str) -> None:
    text = (
        f"一、基础工作 1{dot}摸清底数。逐户登记造册。 2{dot}建好台账。逐月更新。 二、重点工作 3{dot}修好水渠。明年完工。 "
        f"4{dot}通上公交。每天六班。 三、保障工作 5{dot}配齐人员。年底到岗。 6{dot}落实经费。列入预算。"
    )
    assert [(label(s), [label(x) for x in s[3]]) for s in found_sections(text)] == [
        ("一、基础工作", [f"1{dot}摸清底数", f"2{dot}建好台账"]),
        ("二、重点工作", [f"3{dot}修好水渠", f"4{dot}通上公交"]),
        ("三、保障工作", [f"5{dot}配齐人员", f"6{dot}落实经费"]),
    ]


def label(row: tuple[Any, str, str, Any]) -> str:
    return row[1] + row[2]


def test_digits_directly_under_a_first_level_section() -> None:
    text = (
        "一、目标 三年见效，五年成势。 二、任务 (一)修路 1.通村。全部硬化。 2.通组。全部硬化。 (二)架桥 1.选址。先行论证。 "
        "2.施工。全程监理。 三、保障措施 1.组织领导。成立专班。 2.资金保障。列入预算。"
    )
    *_, tasks, last = found_sections(text)
    assert [(label(s), [label(x) for x in s[3]]) for s in tasks[3]] == [
        ("(一)修路", ["1.通村", "2.通组"]),
        ("(二)架桥", ["1.选址", "2.施工"]),
    ]
    assert (label(last), [(x[0], label(x)) for x in last[3]]) == (
        "三、保障措施",
        [(3, "1.组织领导"), (3, "2.资金保障")],
    )


def test_a_digit_before_a_measure_word_counts() -> None:
    text = "一、成效\n全镇建成\n3个中心和\n5所学校， 2名干部包联 1户。 1健全机制。责任到人。 2压实责任。 4名专员到岗。 3台账公开。"
    assert [label(x) for x in found_sections(text)[0][3]] == ["1健全机制", "2压实责任", "3台账公开"]
    assert found_sections("2名干部到岗。1户一策。3个中心建成。") == []
    assert found_sections("投资1.5亿元。2.3万人受益。2023年完工。") == []


def test_an_enumeration_in_a_sentence() -> None:
    text = "一、主要做法\n我们坚持三条：一是抓早，不等不靠；二是抓小；三是抓实。成效明显。\n二、下步打算\n继续努力。"
    first, second = sections(text, 0, len(text))
    assert tree([first, second]) == [
        (
            1,
            "一、",
            "主要做法",
            [("item", "一是", "抓早", []), ("item", "二是", "抓小", []), ("item", "三是", "抓实", [])],
        ),
        (1, "二、", "下步打算", []),
    ]
    quoted = [text[s.start : s.end] for s in first.sections]
    assert quoted == ["一是抓早，不等不靠；", "二是抓小；", "三是抓实。"]  # the last ends with its sentence


def test_enumerations_nest() -> None:
    text = "一是建队伍。一要招人，二要育人，三要用人。二是建阵地。其一，选址；其二，装修。三是建机制。"
    assert [(label(s), [label(x) for x in s[3]]) for s in found_sections(text)] == [
        ("一是建队伍", ["一要招人", "二要育人", "三要用人"]),
        ("二是建阵地", ["其一，选址", "其二，装修"]),
        ("三是建机制", []),
    ]


def test_a_numbering_may_restart() -> None:
    text = "做法：一是因地制宜，不搞一刀切；二是循序渐进。体会：一是靠人，二是靠钱。"
    assert [label(s) for s in found_sections(text)] == [
        "一是因地制宜",
        "二是循序渐进",
        "一是靠人",
        "二是靠钱",
    ]


def test_more_than_ten() -> None:
    numerals = [*"一二三四五六七八九十", "十一", "十二"]
    text = "".join(f"{n}、第{i}项任务\n内容说明。\n" for i, n in enumerate(numerals, 1))
    assert [s[1] for s in found_sections(text)] == [f"{n}、" for n in numerals]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "这是一段没有任何结构的文字。它只有两句话。",
        "要处理好一、二、三产业的关系。",
        "依照本法第三条的规定办理，见第二章。",
        "一是一，二是二。"[:3],
        "第一名得了奖，第二名没有。",
    ],
)
def test_a_text_without_sections(text: str) -> None:
    assert found_sections(text) == []


def test_references_to_provisions_are_no_provisions() -> None:
    text = "第一条 为了规范，制定本办法。第二条 依照第一条的规定执行。第三条 违反第二条规定的，处罚。"
    assert [s[1] for s in found_sections(text)] == ["第一条", "第二条", "第三条"]


def test_fenced_code_holds_no_heading() -> None:
    text = "# 手册\n\n## 准备\n\n```sh\n# no heading\n1. not one\n```\n\n正文。\n\n## 开始\n\n1. 打开\n2. 关上\n\n### 细节\n\n完。\n"
    found = split(text, "a.md")
    check_outline(text, found)
    (article,) = found.articles
    assert article.title == "手册"
    assert tree(article.sections) == [(1, "##", "准备", []), (1, "##", "开始", [(2, "###", "细节", [])])]
    assert text[article.sections[0].body :].startswith("\n\n```sh")


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_line_ends(newline: str) -> None:
    text = f"县里的办法\n一、甲项\n{WATER}\n(一)小项\n内容。\n(二)大项\n内容。\n二、乙项\n{GRID}\n".replace(
        "\n", newline
    )
    (article,) = split(text).articles
    assert article.title == "县里的办法"
    assert tree(article.sections) == [
        (1, "一、", "甲项", [(2, "(一)", "小项", []), (2, "(二)", "大项", [])]),
        (1, "二、", "乙项", []),
    ]


# -- articles: small cases ----------------------------------------------------------------------------------


@pytest.mark.parametrize("space", ["\n", " "], ids=["lines", "one line"])
def test_a_title_that_also_occurs_as_a_phrase(space: str) -> None:
    text = (
        "某县经验汇编\n目录\n关于水站管理的意见\n关于课堂建设的意见\n关于水站管理的意见\n"
        f"{WATER}根据关于课堂建设的意见，另行安排。另见《关于课堂建设的意见》。关于课堂建设的意见由街道提出。\n"
        f"关于课堂建设的意见\n{CLASS}落实关于水站管理的意见。\n"
    ).replace("\n", space)
    assert articles(text) == [
        ("关于水站管理的意见", "水站由村", "道提出。"),
        ("关于课堂建设的意见", "课堂每天", "的意见。"),
    ]


def test_titles_wrapped_differently_in_contents_and_body() -> None:
    text = (
        "某县经验汇编\n目录\n抓实网格管理 走出\n山区治理新路子\n关于水站管\n理的意见\n关于课堂建设的意见\n"
        f"抓实网格管理 \n走出山区治理新路子\n{GRID}\n关于水站管理的意见\n{WATER}\n关于课堂\n建设的意见\n{CLASS}\n"
    )
    assert articles(text) == [
        ("抓实网格管理 走出山区治理新路子", "本镇去年", "结一次。"),
        ("关于水站管理的意见", "水站由村", "来学习。"),
        ("关于课堂建设的意见", "课堂每天", "转正常。"),
    ]


@pytest.mark.parametrize("leader", ["……………………", "..............", " ······ ", "\t", " -------- "])
def test_dot_leaders_and_page_numbers(leader: str) -> None:
    titles = ["抓实网格管理的做法", "关于水站管理的意见", "关于课堂建设的意见"]
    contents = "\n".join(
        f"{i}.{t}{leader}{page}" for i, (t, page) in enumerate(zip(titles, (1, 3, 12), strict=True), 1)
    )
    bodies = "".join(
        f"{i}.{t}\n{body}\n" for i, (t, body) in enumerate(zip(titles, (GRID, WATER, CLASS), strict=True), 1)
    )
    text = f"某县经验汇编\n目  录\n{contents}\n{bodies}"
    found = split(text)
    assert [a.title for a in found.articles] == titles
    assert [text[a.start : a.start + 3] for a in found.articles] == ["1.抓", "2.关", "3.关"]
    assert found.warnings == ()


@pytest.mark.parametrize("space", ["\n", " "], ids=["lines", "one line"])
@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_a_listed_article_that_is_not_there_is_told(place: int, space: str) -> None:
    titles = ["抓实网格管理的做法", "关于水站管理的意见", "关于课堂建设的意见"]
    listed = [*titles[:place], "关于并不存在的报告", *titles[place:]]
    bodies = [f"{t}\n{body}" for t, body in zip(titles, (GRID, WATER, CLASS), strict=True)]
    found = split("\n".join(["某县经验汇编", "目录", *listed, *bodies]).replace("\n", space))
    assert [(a.title, a.category) for a in found.articles] == [(t, None) for t in titles]
    assert found.warnings == ("目录中的“关于并不存在的报告”未在正文中找到 (listed but not found)",)


@pytest.mark.parametrize("space", ["\n", " "], ids=["lines", "one line"])
def test_categories_repeated_in_the_body_belong_to_no_article(space: str) -> None:
    text = (
        "某县经验汇编\n目录\n一、意见决定\n关于水站管理的意见\n二、经验交流\n抓实网格管理的做法\n关于课堂建设的意见\n"
        f"一、意见决定\n关于水站管理的意见\n{WATER}\n二、经验交流\n抓实网格管理的做法\n{GRID}\n关于课堂建设的意见\n{CLASS}\n"
    ).replace("\n", space)
    found = split(text)
    assert [(a.title, a.category) for a in found.articles] == [
        ("关于水站管理的意见", "意见决定"),
        ("抓实网格管理的做法", "经验交流"),
        ("关于课堂建设的意见", "经验交流"),
    ]
    assert text[: found.articles[0].end].rstrip().endswith("邻村也来学习。")


def test_numbered_titles_keep_their_spaces() -> None:
    text = (
        "某县经验汇编\n目录\n一、抓实网格 走出新路\n二、水站办起来 村民笑起来\n"
        f"一、抓实网格 走出新路\n{GRID}\n二、水站办起来 村民笑起来\n{WATER}\n"
    )
    assert [t for t, *_ in articles(text)] == ["抓实网格 走出新路", "水站办起来 村民笑起来"]


def test_two_articles_of_the_same_title() -> None:
    speech = "在座谈会上的讲话"
    text = f"讲话汇编\n目录\n{speech}\n关于水站管理的意见\n{speech}\n{speech}\n{GRID}\n关于水站管理的意见\n{WATER}\n{speech}\n{CLASS}\n"
    assert articles(text) == [
        (speech, "本镇去年", "结一次。"),
        ("关于水站管理的意见", "水站由村", "来学习。"),
        (speech, "课堂每天", "转正常。"),
    ]


def test_titles_that_differ_in_their_number_only() -> None:
    titles = [f"座谈会上的讲话 {n}" for n in (1, 2, 3)]
    bodies = [f"{t} {body}" for t, body in zip(titles, (GRID, WATER, CLASS), strict=True)]
    found = split(" ".join(["讲话汇编 目录", *titles, *bodies]))
    assert [a.title for a in found.articles] == titles


def test_a_legal_text_with_a_table_of_its_chapters() -> None:
    text = (
        "山水县集市管理办法\n目录\n第一章 总则\n第二章 经营\n第三章 附则\n第一章 总则\n第一条 为了规范集市，制定本办法。\n"
        "第二条 本办法适用于全县集市。\n第二章 经营\n第三条 经营者应当明码标价。\n第三章 附则\n第四条 本办法自公布之日起施行。\n"
    )
    found = split(text)
    check_outline(text, found)
    (article,) = found.articles
    assert article.title == "山水县集市管理办法"
    assert [(label(s), [x[1] for x in s[3]]) for s in tree(article.sections)] == [
        ("第一章总则", ["第一条", "第二条"]),
        ("第二章经营", ["第三条"]),
        ("第三章附则", ["第四条"]),
    ]


HEAD = "首页 > 文档 > 汇编\n声明: 本站不保证文档完整,请谨慎下载。\n文档介绍\n"
TAIL = "查看更多\n相关文章\n值班安排(模板)\n您可能关注的文档:\n登记表.docx\n"


def test_boilerplate_around_a_compilation() -> None:
    titles = "抓实网格管理的做法\n关于水站管理的意见\n"
    text = (
        f"{HEAD}某县经验汇编\n目录\n{titles}抓实网格管理的做法\n{GRID}\n关于水站管理的意见\n{WATER}\n{TAIL}"
    )
    assert articles(text) == [
        ("抓实网格管理的做法", "本镇去年", "结一次。"),
        ("关于水站管理的意见", "水站由村", "来学习。"),
    ]


@pytest.mark.parametrize("above", ["", "关于水站管理的意见\n\n"], ids=["", "title above"])
def test_boilerplate_around_one_article(above: str) -> None:
    text = f"{above}{HEAD}关于水站管理的意见\n一、总则\n{WATER}\n二、附则\n{GRID}\n{TAIL}"
    (article,) = split(text).articles
    assert text[article.start : article.end] == f"关于水站管理的意见\n一、总则\n{WATER}\n二、附则\n{GRID}"
    assert article.title == "关于水站管理的意见"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("查看更多", True),
        ("申明敬告: 本站不保证该用户上传的文档完整性,不预览、不比对内容。", True),
        ("版权所有 某某网", True),
        ("原文链接：http://example.com/x", True),
        ("侵权人应当承担赔偿责任。", False),
        ("本站共有职工五人，日供水三百吨。", False),
        ("举报电话：12345", False),
        ("相关资料由县档案馆保存", False),
        ("网址：https://example.com", False),
    ],
)
def test_what_is_a_sites_own(line: str, expected: bool) -> None:
    assert is_boilerplate(line) is expected


def test_markdown_headings_belong_to_the_article_that_they_open() -> None:
    contents = "# 汇编\n\n## 目录\n\n- 抓实网格管理的做法\n- 关于水站管理的意见\n\n"
    text = f"{contents}## 抓实网格管理的做法\n\n{GRID}\n\n## 关于水站管理的意见\n\n{WATER}\n"
    found = split(text, "a.md")
    assert [text[a.start : a.start + 8] for a in found.articles] == ["## 抓实网格管", "## 关于水站管"]


@pytest.mark.parametrize("heading", ["## 目录", "**目录**", "目录：", "目　录", "CONTENTS", "目次"])
def test_ways_to_head_a_table_of_contents(heading: str) -> None:
    titles = ["抓实“网格”管理的做法", "关于水站管理的意见"]
    listed = ['- 抓实"网格"管理的做法', "- 关于水站管理的意见"]
    text = "\n\n".join(["# 汇编", heading, *listed, f"# {titles[0]}", GRID, f"# {titles[1]}", WATER])
    found = split(text, "a.md")
    assert [(a.title, a.category) for a in found.articles] == [(t, None) for t in titles]


@pytest.mark.parametrize("mark", ["一、{}", "第一部分 {}", "【{}】", "{}"])
def test_forms_of_categories(mark: str) -> None:
    text = (
        f"汇编\n目录\n{mark.format('意见决定')}\n关于水站管理的意见\n{mark.replace('一', '二').format('经验交流')}\n"
        f"抓实网格管理的做法\n关于课堂建设的意见\n关于水站管理的意见\n{WATER}\n抓实网格管理的做法\n{GRID}\n关于课堂建设的意见\n{CLASS}"
    )
    found = split(text)
    assert [(a.title, a.category) for a in found.articles] == [
        ("关于水站管理的意见", "意见决定"),
        ("抓实网格管理的做法", "经验交流"),
        ("关于课堂建设的意见", "经验交流"),
    ]
    assert found.warnings == ()


def test_a_markdown_file_of_several_articles() -> None:
    text = f"# 甲文\n\n## 背景\n\n{GRID}\n\n# 乙文\n\n## 背景\n\n{WATER}\n"
    found = split(text, "a.md")
    assert [(a.title, tree(a.sections)) for a in found.articles] == [
        ("甲文", [(1, "##", "背景", [])]),
        ("乙文", [(1, "##", "背景", [])]),
    ]


@pytest.mark.parametrize("text", ["这是一段没有任何结构的文字。它只有两句话。", "甲", " \n ", ""])
def test_a_text_without_anything_is_one_article_named_after_its_file(text: str) -> None:
    (article,) = split(text, "资料/备忘.txt").articles
    assert (article.title, article.sections) == (text.strip() if len(text) == 1 else "备忘", ())


# -- any text -----------------------------------------------------------------------------------------------


@given(compilations())
@settings(max_examples=30)
def test_generated_compilations_come_back(written: Compilation) -> None:
    for text in (written.lines(), written.one_line()):
        found = split(text)
        check_outline(text, found)
        assert [(a.title, a.category, tree(a.sections)) for a in found.articles] == written.expected


@given(texts())
@settings(max_examples=300)
def test_any_text_splits_into_spans_that_nest(text: str) -> None:
    found = split(text)
    check_outline(text, found)
    assert found.articles


@given(compilations(), texts(), st.data())
@settings(max_examples=12)
def test_a_damaged_compilation_still_splits(written: Compilation, noise: str, data: st.DataObject) -> None:
    text = written.one_line()
    at = data.draw(st.integers(0, len(text)))
    damaged = text[:at] + noise + text[data.draw(st.integers(at, len(text))) :]
    check_outline(damaged, split(damaged))


def test_a_listed_title_in_what_looks_like_a_sites_words_is_kept() -> None:
    titles = ["关于建立网格管理机制的意见", "关于完善养老服务体系的意见"]
    body = "本地坚持问题导向,建立健全各项机制,取得明显成效。"
    text = f"目录\n{titles[0]}\n{titles[1]}\n{titles[0]}\n{body}\n声明: 本站不保证 {titles[1]} {body[:12]}"
    found = split(text)
    check_outline(text, found)
    assert [a.title for a in found.articles] == titles


@given(texts())
def test_squeezing_keeps_the_places(text: str) -> None:
    flat, places = squeeze(text)
    assert len(flat) == len(places) == len("".join(text.split()))
    assert squeeze(document(text).text)[0] == flat
