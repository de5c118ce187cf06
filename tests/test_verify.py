"""Sentences of a language model against the sources that they cite."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from rag.verify import LexicalChecker, Source, Verdict, Verifier, absent, connects, misplaced

SOURCES = (
    Source("试点期为三年，由市民政局牵头。", (("关于社区食堂的意见", "一、总则"),)),
    Source("每家食堂一次性补助5万元，连锁的另奖2万元。", (("关于社区食堂的意见", "二、补助"),)),
    Source("不得把补助用于发放工资。", (("关于社区食堂的意见", "二、补助"),)),
    Source("县民政局每季度检查一次。", (("关于社区食堂的意见", "三、检查"),)),
)


class Agreeing:
    """Says yes to everything, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Source]] = []

    def supports(self, pairs: Sequence[tuple[str, Source]]) -> list[float]:
        self.asked += pairs
        return [1.0] * len(pairs)


class Literal:
    """Says yes where half of the sentence's characters stand in the text."""

    def supports(self, pairs: Sequence[tuple[str, Source]]) -> list[float]:
        return [sum(c in s.text for c in said) / len(said) for said, s in pairs]


def checked(sentence: str, *cited: int, context: str = "") -> Verdict:
    return Verifier(SOURCES, Literal(), context).verdict(sentence, cited)


def test_a_right_citation_stands() -> None:
    assert checked("试点期是三年。", 0) == Verdict("supported", (0,))


def test_of_several_the_one_that_supports_is_kept() -> None:
    assert checked("每家食堂补助5万元。", 0, 1, 2, 3) == Verdict("supported", (1,))


def test_two_are_kept_where_it_takes_both() -> None:
    assert checked("试点期三年，每家食堂补助5万元。", 0, 1).sources == (0, 1)


def test_a_wrong_or_missing_citation_is_repaired() -> None:
    assert checked("每家食堂一次性补助5万元。", 0) == Verdict("supported", (1,))
    assert checked("每家食堂一次性补助5万元。") == Verdict("supported", (1,))
    assert checked("每家食堂一次性补助5万元。", 99, -1) == Verdict("supported", (1,))


@pytest.mark.parametrize(
    ("sentence", "stray"),
    [
        ("每家食堂补助6万元。", ("6万元",)),
        ("试点期为四年。", ("四年",)),
        ("由《膳食条例》规定，试点期三年。", ("膳食条例",)),
        ("试点由OpenAI牵头，为期三年。", ("openai",)),
    ],
)
def test_a_number_or_name_that_no_source_has_is_found_whatever_the_checker_says(
    sentence: str, stray: tuple[str, ...]
) -> None:
    assert Verifier(SOURCES, Agreeing()).verdict(sentence, [0, 1]) == Verdict("unsupported", (), stray)


def test_a_number_of_another_source_is_no_support() -> None:
    """5万元 stands in the second source, which is found instead; the first alone is never accepted."""
    asking = Agreeing()
    assert Verifier(SOURCES, asking).verdict("试点期补助5万元。", [0]).sources != (0,)
    assert all("5万元" in source.text for _, source in asking.asked)


def test_the_question_lends_no_number_and_only_names_that_some_source_has() -> None:
    assert checked("每家食堂补助6万元。", 1, context="每家食堂补助6万元吗？").support == "unsupported"
    assert "天宫" in checked("“天宫”食堂试点期三年。", 0, context="“天宫”食堂试点期多久？").stray


def test_headings_count_as_known() -> None:
    source = Source("每家5万元。", (("《社区食堂》的意见", "二、补助"),))
    assert absent("《社区食堂》补助5万元。", source) == []


@pytest.mark.parametrize("text", ["具体如下：", "综上所述，", "主要包括以下几个方面：", "根据材料，"])
def test_what_only_leads_on_needs_no_citation(text: str) -> None:
    assert connects(text)


@pytest.mark.parametrize("text", ["综上所述，试点期三年。", "补助5万元。", "由市民政局牵头："])
def test_what_says_something_does(text: str) -> None:
    assert not connects(text)


def test_words_alone_tell_the_plain_cases_apart() -> None:
    source = Source("不得把补助用于发放工资，应当专款专用。")
    right, unlike, turned = LexicalChecker().supports(
        [
            ("补助不得用于发放工资。", source),
            ("食堂周末也要开门供应早餐。", source),
            ("补助可以用于发放工资。", source),
        ]
    )
    assert right > 0.5 > unlike
    assert right > turned


def test_a_changed_number_in_the_samples_pairs_is_seen_whatever_the_checker_says(samples: Path) -> None:
    caught = total = 0
    for line in (samples / "support.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        for false in row["false"]:
            if false["kind"] == "number" and absent(false["text"], Source(row["evidence"])):
                caught += 1
            total += false["kind"] == "number"
    assert total == 75
    assert caught >= 35  # the others swap two numbers that both stand in the text: for a checker to see


FEES = "基础巡访免费，助浴每次15元、助行每次8元、陪诊每半天40元，低保老人减半。"
SUBSIDIES = "对失能老人，每人每月补贴300元；对高龄独居老人，每人每月补贴200元。"
SALES = "2023年线上销售额5.7亿元，2022年线上销售额3亿元。"


@pytest.mark.parametrize(
    ("sentence", "text", "expected"),
    [
        ("陪诊半天收费40元。", FEES, []),
        ("陪诊半天收费8元。", FEES, [8]),
        ("陪诊每半天收15元。", FEES, [15]),
        ("陪诊半天收费8元。", FEES.replace("40", " 40 "), [8]),
        ("助浴、助行、陪诊分别是15元、8元和40元。", FEES, []),
        ("最便宜的只要8元。", FEES, []),
        ("失能老人每月补贴300元。", SUBSIDIES, []),
        ("失能老人每月补贴200元。", SUBSIDIES, [200]),
        ("高龄独居老人每月补贴300元。", SUBSIDIES, [300]),
        ("补贴标准是200元到300元。", SUBSIDIES, []),
        ("网上卖了5.7亿元。", SALES, []),
        ("2023年线上销售额是3亿元。", SALES, [2023, 3e8]),
        ("2022年线上销售额是3亿元。", SALES, []),
        ("到2035年基本实现现代化。", "到建国一百年时全面实现现代化，到2035年再上台阶。", []),
        ("超过八成的县建成了综治中心。", "50%的市成立综治中心，82%的县、97%的乡镇建成综治中心。", []),
    ],
)
def test_a_number_that_the_text_gives_to_something_else_is_misplaced(
    sentence: str, text: str, expected: list[float]
) -> None:
    assert [q.value for q in misplaced(sentence, text)] == expected


def test_a_misplaced_number_is_not_supported_whatever_the_checker_says() -> None:
    verifier = Verifier([Source(FEES)], Agreeing())
    assert verifier.verdict("陪诊半天收费8元。", [0]) == Verdict("unsupported")
    assert verifier.verdict("陪诊半天收费40元。", [0]) == Verdict("supported", (0,))
