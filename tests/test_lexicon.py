"""What is searched: words, characters and numbers, however they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spans import texts

from rag.lexicon import STOPWORDS, bigrams, fold, natural, terms, tokens, words


def test_a_term_is_found_by_its_words() -> None:
    sentence = "社会保险费由税务部门统一征收。"
    assert list(words(sentence)) == ["社会", "保险", "保险费", "社会保险费", "税务", "部门", "统一", "征收"]
    for query in ("社会保险费", "保险费", "征收", "税务部门", "社会"):
        assert set(words(query)) <= set(words(sentence)), query
    assert {"社会", "保险"} <= set(words("社会保险")) & set(words(sentence))


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("關於社會保險費的徵收", "关于社会保险费的征收"),  # traditional
        ("服务 型政府", "服务型政府"),  # a stray space
        ("服务\u3000型\n政府", "服务型政府"),
        ("ＡＰＰ办理", "app办理"),  # full width, case
        ("（一）“一网通办”", "(一)「一网通办」"),  # brackets, quotation marks
        ("２０００人", "2000人"),
        ("2 000人", "2000人"),
        ("2,000人", "2000人"),
        ("1，234，567元", "1234567元"),
        ("３．５％", "3.5%"),
    ],
)
def test_ways_to_write_the_same(written: str, plain: str) -> None:
    assert tokens(written) == tokens(plain)
    assert fold(written) == fold(plain)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("二〇三五年", "2035"),
        ("二零二五年", "2025"),
        ("两千人", "2000"),
        ("二千五百户", "2500"),
        ("一百零五所", "105"),
        ("第十二条", "12"),
        ("三十分钟", "30"),
        ("十五分钟", "15"),
    ],
)
def test_chinese_numerals_are_found_by_digits_and_as_they_stand(text: str, number: str) -> None:
    assert number in words(text)
    assert set(bigrams(text)) <= set(tokens(text))


@pytest.mark.parametrize("text", ["一站式服务", "十", "三万人", "一万二千五百人", "万一"])
def test_what_is_no_number_below_ten_thousand_has_no_digits(text: str) -> None:
    assert not any(token.isdigit() and token.isascii() for token in tokens(text))


def test_numbers_stay_apart() -> None:
    assert list(words("2023年2 000人")) == ["2023", "2000"]
    assert list(words("1 2 3")) == ["1", "2", "3"]
    assert list(words("3.5和42")) == ["3.5", "42"]


def test_tokens_hold_the_pairs_that_are_no_words() -> None:
    assert list(bigrams("一长三员，好")) == ["一长", "长三", "三员"]
    assert set(tokens("社会保险费")) == {"社会", "保险", "保险费", "社会保险费", "会保", "险费"}
    assert len(tokens("社会保险费")) == 6


def test_terms_leave_out_what_questions_are_made_with() -> None:
    assert list(terms("请问护理员入职奖励有多少钱呢？")) == ["护理", "护理员", "入职", "奖励"]
    assert list(terms("養老床位是多少？")) == ["养老", "床位"]
    assert list(terms("床位、床位、床位")) == ["床位"]
    assert list(terms("的了吗？")) == []
    assert {"什么", "哪些", "多少", "的", "怎么"} <= STOPWORDS


@pytest.mark.parametrize("text", ["", " ", "？！，。", "\u200b", "👍🏽"])
def test_nothing_to_search(text: str) -> None:
    assert not tokens(text)


def test_natural_text_keeps_case_and_punctuation() -> None:
    assert natural("  推广“一長三員” ,APP  办 理\n完。 ") == "推广“一长三员” ,APP 办理完。"


@given(texts())
def test_any_text_can_be_searched(text: str) -> None:
    for token in tokens(text):
        assert token and not any(c.isspace() or c in '"*()' for c in token)  # they go into a full-text query


@given(st.text(alphabet="服务型政府社会保险", min_size=2, max_size=12), st.data())
def test_a_stray_space_anywhere_changes_nothing(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    assert tokens(text[:at] + " " + text[at:]) == tokens(text)
