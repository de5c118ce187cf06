"""Sentences and chunks: where they are cut, and that together they hold the whole text once."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import document
from hypothesis import given, settings
from hypothesis import strategies as st
from spans import Compilation, check_chunks, compilations, split, texts

from rag.chunk import LONGEST, TARGET, chunks, sentences
from rag.load import read_document
from rag.outline import outline

SAMPLES = Path(__file__).parent.parent / "samples"


def cut(text: str) -> list[str]:
    return [text[s.start : s.end] for s in sentences(text, 0, len(text))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("今天开会。明天呢？后天！完了", ["今天开会。", "明天呢？", "后天！", "完了"]),
        ("真的吗？！当然。", ["真的吗？！", "当然。"]),
        ("没有标点的一行", ["没有标点的一行"]),
        ("一是甲；二是乙；三是丙。", ["一是甲；二是乙；三是丙。"]),
        # quotations and brackets close with their sentence
        ("他说：“先干。再说。”大家都笑了。", ["他说：“先干。再说。”", "大家都笑了。"]),
        ("他说：「好。」走了。", ["他说：「好。」", "走了。"]),
        ("“好。”他说。", ["“好。”", "他说。"]),
        ("要抓紧（见附件一。）下一步。", ["要抓紧（见附件一。）", "下一步。"]),
        ("《关于。的》文件。下一句。", ["《关于。的》文件。", "下一句。"]),
        ("他问：“行吗？”我说：“行。”", ["他问：“行吗？”", "我说：“行。”"]),
        ("“没有闭合的引号。下一句。再下一句。", ["“没有闭合的引号。", "下一句。", "再下一句。"]),
        # ellipsis
        ("等等……”他停住了。", ["等等……”", "他停住了。"]),
        ("省略……然后呢。", ["省略……", "然后呢。"]),
        # numbers
        ("增长3.5%。投资2.3亿元。", ["增长3.5%。", "投资2.3亿元。"]),
        ("1.修路。2.架桥。3.通电。", ["1.修路。", "2.架桥。", "3.通电。"]),
        ("(一)抓实。(二)抓细。", ["(一)抓实。", "(二)抓细。"]),
        # lines and Latin text
        ("第一行\n第二行\r\n第三行", ["第一行", "第二行", "第三行"]),
        ("- 先开窗；\n- 再开灯。\n", ["- 先开窗；", "- 再开灯。"]),
        ("Hello world. This is 3.14 or so. End", ["Hello world.", "This is 3.14 or so.", "End"]),
        (" 前后有空格。  中间也有。 ", ["前后有空格。", "中间也有。"]),
        ("", []),
        (" \n\u3000", []),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert cut(text) == expected


def test_sentences_without_line_breaks() -> None:
    text = "水费公开 ,账目上墙。 每月一查 。年底评议"  # with stray spaces, as in the real compilation
    assert cut(text) == ["水费公开 ,账目上墙。", "每月一查 。", "年底评议"]


@pytest.mark.parametrize("mark", ["；", "，", "、", " ", ""])
def test_a_long_sentence_is_cut_at_its_clauses(mark: str) -> None:
    text = mark.join(["各村轮流值守"] * 150) + "。"
    pieces = cut(text)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert max(map(len, pieces)) <= LONGEST
    assert len(pieces) >= 4
    if mark.strip():
        assert all(piece.endswith(mark) for piece in pieces[:-1])


def test_a_sentence_is_cut_at_semicolons_before_commas() -> None:
    clause = "村里开会，商量修渠，" * 12 + "定下来；"
    assert cut(clause * 4) == [clause * 2, clause * 2]


def test_chunks_are_packed_up_to_their_target_and_know_their_place() -> None:
    sentence = "水费公开，账目贴在墙上，每月由村民代表查一次。"
    assert len(sentence) == 23
    text = f"关于水站管理的意见\n一、怎样管\n{sentence * 8}\n(一)收费\n{sentence}\n二、怎样查\n{sentence}\n"
    (article,) = split(text).articles
    found = chunks(document(text), article)
    assert [(c.section, text[c.start : c.end].replace(sentence, "句")) for c in found] == [
        (("一、怎样管",), "一、怎样管\n句句句句句句"),
        (("一、怎样管",), "句句"),
        (("一、怎样管", "(一)收费"), "(一)收费\n句"),
        (("二、怎样查",), "二、怎样查\n句"),
    ]
    assert max(len(c) for c in found) <= TARGET


def test_a_sentence_longer_than_the_target_is_a_chunk_of_its_own() -> None:
    long = "各村轮流值守，" * 30 + "完。"
    text = f"关于水站管理的意见\n短句一。{long}短句二。"
    (article,) = split(text).articles
    assert [text[c.start : c.end] for c in chunks(document(text), article)] == ["短句一。", long, "短句二。"]


def test_the_title_is_in_no_chunk() -> None:
    text = "关于水站管理的意见\n水费公开。"
    (article,) = split(text).articles
    (chunk,) = chunks(document(text), article)
    assert text[chunk.start : chunk.end] == "水费公开。"


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(p, id=p.name)
        for p in sorted(SAMPLES.rglob("*"))
        if p.suffix in (".txt", ".md") and p.stem != "README"
    ],
)
def test_chunks_of_the_samples(path: Path) -> None:
    source = read_document(path)
    assert all(check_chunks(source.text, article) for article in outline(source).articles)


def test_chunks_of_the_compilation(shared: Path) -> None:
    source = read_document(shared / "corpus" / "governance31.txt")
    found = outline(source).articles
    assert len(found) == 31
    assert sum(check_chunks(source.text, article) for article in found) > 500


@given(compilations(), st.booleans())
@settings(max_examples=25)
def test_chunks_of_generated_compilations(written: Compilation, lines: bool) -> None:
    text = written.lines() if lines else written.one_line()
    assert all(check_chunks(text, article) for article in split(text).articles)


@given(texts())
@settings(max_examples=200)
def test_chunks_of_any_text(text: str) -> None:
    for article in split(text).articles:
        check_chunks(text, article)


@given(texts())
@settings(max_examples=200)
def test_sentences_of_any_text_hold_it_all(text: str) -> None:
    pieces = cut(text)
    assert "".join("".join(pieces).split()) == "".join(text.split())
    assert all(piece and piece == piece.strip() for piece in pieces)
    assert all(len(piece) <= LONGEST for piece in pieces)
