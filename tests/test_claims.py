"""Numbers, names, negation and obligation in sentences."""

from __future__ import annotations

import pytest

from rag.claims import missing, modality, names, negations, number, quantities


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2800", 2800), ("1.2万", 12_000), ("两千万", 20_000_000), ("2 000万", 20_000_000), ("1亿2000万", 120_000_000),
        ("二〇三五", 2035), ("二百三十七", 237), ("一千零五十", 1050), ("十二", 12), ("三点五", 3.5), ("1万亿", 1e12),
        ("三十万", 300_000), ("两", 2),
    ],
)  # fmt: skip
def test_numerals_are_read_in_any_form(text: str, value: float) -> None:
    assert number(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "元", "第", "十x"])
def test_what_is_no_numeral_has_no_value(text: str) -> None:
    assert number(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("每亩投入2800元,其中省级财政１６００元", [(2800, "元"), (1600, "元")]),
        ("占百分之二十三点五", [(23.5, "%")]),
        ("五分之一的村民,三成五的农户", [(20, "%"), (35, "%")]),
        ("二十个工作日内,不少于十五人", [(20, "日"), (15, "人")]),
        ("每千名老年人42张", [(1000, "人"), (42, "")]),
        ("一是统一标准,进一步加强一般管理,十分重要", []),
        ("陪诊每半天 40 元", [(40, "元")]),
        ("到二〇三五年", [(2035, "年")]),
        ("今年5月29日,一年3.2万元", [(5, "月"), (29, "日"), (32_000, "元")]),
    ],
)
def test_quantities_have_values_and_units(text: str, expected: list[tuple[float, str]]) -> None:
    assert [(q.value, q.unit) for q in quantities(text)] == expected


@pytest.mark.parametrize(
    ("said", "given", "held"),
    [
        ("补助两千元", "补助2000元", True),
        ("补助2000元", "补助3000元", False),
        ("六百多亩", "640亩", True),
        ("六百多亩", "740亩", False),
        ("三天内", "72小时内", True),
        ("一年半以上,18个月", "18个月", True),
        ("20人", "20户", False),
        ("占五分之一", "占20%", True),
        ("第三条", "3条", False),
        ("第三条", "第3条", True),
        ("近三千人", "2960人", True),
        ("近三千人", "3100人", False),
        ("约两万册", "1.9万册", True),
        ("约两万册", "2.5万册", False),
        ("超过5万元", "5.2万元", True),
        ("不到8万元", "8.2万元", False),
        ("九成以上", "92%", True),
        ("四成左右", "38%", True),
        ("四成", "38%", False),
        ("多了16人", "由24人增加到40人", True),
        ("多了18人", "由24人增加到40人", False),
        ("多了16台", "由24台增加到40台", False),  # 台 is no unit that is known
        ("还剩九万元", "48万元中追回39万元", True),
        ("占28.2%", "抽查500户,有141户关着", True),
        ("占29%", "抽查500户,有141户关着", False),
        ("市里出六成", "由市、区两级按六比四分担", True),
        ("省里出三成", "省、市、县按照4:3:3分担", True),
        ("省里出五成", "省、市、县按照4:3:3分担", False),
        ("留下百分之五十", "一半留给部门", True),
        ("晚上9点", "21时", True),
        ("上午9点", "21时", False),
    ],
)
def test_a_quantity_is_held_by_its_equal(said: str, given: str, held: bool) -> None:
    assert (not missing(quantities(said), quantities(given))) is held


def test_names_are_quotations_latin_words_people_and_places() -> None:
    found = names("北京市的“两山”办公室用GPT管理《工作条例》，由王小明负责")
    assert {"两山", "gpt", "工作条例"} <= found
    assert any("北京" in name for name in found) and "王小明" in found


@pytest.mark.parametrize(
    "text", ["上门探访", "买东西", "馆里有人登门", "各乡镇的古建筑", "把钱里最大的一块张贴出来"]
)
def test_common_words_are_no_names(text: str) -> None:
    assert not names(text)


@pytest.mark.parametrize(
    ("text", "count"),
    [("不得使用", 1), ("没有不同意见", 1), ("不断完善", 0), ("未来三年", 0), ("尚未完成", 1), ("非常重要", 0), ("禁止入内", 1)],
)  # fmt: skip
def test_negations_are_counted(text: str, count: int) -> None:
    assert negations(text) == count


def test_obligation_is_told_from_permission() -> None:
    assert modality("应当公示") == {"must"}
    assert modality("可以申请") == {"may"}
    assert modality("不得转让") == {"forbid"}
    assert modality("已经公示") == frozenset()
