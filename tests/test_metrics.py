"""Each metric on an example small enough to check by eye."""

from __future__ import annotations

import math

import pytest

from eval import metrics
from eval.metrics import Place


def at(start: int, end: int, document: str = "d") -> Place:
    return Place(document, start, end)


# -- retrieval, in characters -------------------------------------------------------------------------------


def test_a_budget_keeps_whole_passages_and_cuts_the_last() -> None:
    assert metrics.within_budget([at(0, 4), at(10, 14), at(20, 24)], 6) == [at(0, 4), at(10, 12)]


def test_evidence_recall_is_the_mean_share_of_each_piece() -> None:
    passages = [at(0, 10), at(20, 30)]
    # the first piece is inside, of the second two of four characters
    assert metrics.evidence_recall([at(2, 6), at(28, 32)], passages, 1000) == 0.75
    # 15 characters reach to 25, before the second piece
    assert metrics.evidence_recall([at(2, 6), at(28, 32)], passages, 15) == 0.5


def test_characters_of_another_document_are_no_evidence() -> None:
    assert metrics.evidence_recall([at(2, 6)], [at(0, 10, "other")], 1000) == 0


def test_overlapping_passages_count_once() -> None:
    assert metrics.covered(at(0, 4), [at(0, 2), at(0, 2), at(1, 3)]) == 0.75


def test_recall_without_evidence_does_not_apply() -> None:
    assert metrics.evidence_recall([], [at(0, 10)], 1000) is None


# -- retrieval, in ranks ------------------------------------------------------------------------------------


def test_gains_of_ids_count_each_gold_id_once() -> None:
    assert metrics.gains_of_ids(["a", "g", "g", "h"], {"g", "h"}) == [0, 1, 0, 1]


def test_a_passage_gains_the_evidence_of_which_it_is_the_first_to_hold_half() -> None:
    evidence = [at(0, 4), at(6, 10)]
    assert metrics.gains_of_places([at(3, 6), at(0, 10), at(0, 10)], evidence) == [0, 2, 0]
    assert metrics.gains_of_places([at(2, 8)], evidence) == [2]


@pytest.mark.parametrize(("k", "expected"), [(1, 0), (2, 0.5), (4, 1)])
def test_recall_at_k(k: int, expected: float) -> None:
    assert metrics.recall_at([0, 1, 0, 1], 2, k) == expected
    assert metrics.failure_at([0, 1, 0, 1], 2, k) == 1 - expected


def test_reciprocal_rank() -> None:
    assert metrics.reciprocal_rank([0, 0, 1, 1], 2) == 1 / 3
    assert metrics.reciprocal_rank([0] * 10 + [1], 1) == 0  # rank 11


def test_ndcg() -> None:
    # found at rank 2 of 2: (1 / log2 3) / 1
    assert metrics.ndcg([0, 1], 1) == pytest.approx(0.6309, abs=1e-4)
    # one of two, at rank 1; the other would stand at rank 2: 1 / (1 + 1 / log2 3)
    assert metrics.ndcg([1, 0], 2) == pytest.approx(0.6131, abs=1e-4)
    assert metrics.ndcg([2, 0], 2) == 1  # both at once


def test_ranks_without_gold_do_not_apply() -> None:
    assert metrics.recall_at([], 0, 5) is None
    assert metrics.failure_at([], 0) is None
    assert metrics.reciprocal_rank([], 0) is None
    assert metrics.ndcg([], 0) is None


# -- citations ----------------------------------------------------------------------------------------------

EVIDENCE = [at(0, 10), at(50, 60)]


def test_citation_recall_counts_evidence_cited_to_half() -> None:
    assert metrics.citation_recall(EVIDENCE, [at(5, 20)]) == 0.5
    assert metrics.citation_recall(EVIDENCE, [at(6, 20)]) == 0
    assert metrics.citation_recall(EVIDENCE, [at(0, 3), at(3, 5), at(50, 60)]) == 1  # half by two citations


def test_citation_precision_asks_for_three_tenths_of_the_shorter() -> None:
    assert metrics.citation_precision(EVIDENCE, [at(7, 17), at(8, 18)]) == 0.5  # 3 and 2 of 10
    assert metrics.citation_precision(EVIDENCE, [at(0, 100)]) == 1
    assert metrics.citation_precision(EVIDENCE, []) == 0


def test_character_precision_and_recall_are_of_unions() -> None:
    cited = [at(0, 5), at(0, 5), at(20, 25)]
    assert metrics.character_precision(EVIDENCE, cited) == 0.5  # 5 of 10
    assert metrics.character_recall(EVIDENCE, cited) == 0.25  # 5 of 20
    assert metrics.character_precision(EVIDENCE, []) == 0


def test_citing_a_page_to_be_safe_costs_character_precision() -> None:
    assert metrics.character_precision([at(0, 10)], [at(0, 1000)]) == 0.01


def test_right_article_goes_by_where_a_citation_begins() -> None:
    articles = [at(0, 100), at(200, 300)]
    assert (
        metrics.right_article(articles, [at(99, 120), at(100, 120), at(0, 5, "other"), at(210, 215)]) == 0.5
    )
    assert metrics.right_article(articles, []) == 0
    assert metrics.articles_cited(articles, [at(99, 120), at(3, 8)]) == 0.5


def test_f1() -> None:
    assert metrics.f1(0.5, 1.0) == pytest.approx(2 / 3)
    assert metrics.f1(0.0, 0.0) == 0
    assert metrics.f1(None, 1.0) is None


@pytest.mark.parametrize(
    ("start", "end", "quote", "expected"),
    [
        (1, 3, "乙丙", True),
        (0, 2, "乙丙", False),
        (1, 3, "乙丁", False),
        (2, 2, "", False),
        (-2, 3, "丙", False),
        (1, 9, "乙丙", False),
    ],
)
def test_exact(start: int, end: int, quote: str, expected: bool) -> None:
    assert metrics.exact("甲乙丙", start, end, quote) is expected


def test_a_quote_of_a_document_that_is_not_there_is_not_exact() -> None:
    assert not metrics.exact(None, 0, 1, "甲")


def test_resolved_and_supported() -> None:
    assert metrics.resolved([[1, 2], [], [3]], {1, 2}) == 2 / 3
    assert metrics.resolved([[]], {1}) is None
    assert metrics.supported(["quoted", "supported", "unsupported", "quoted"]) == 0.75


# -- ALCE ---------------------------------------------------------------------------------------------------


def holds(premise: str, claim: str) -> bool:
    """An entailment by eye: each character of the claim is in the premise."""
    return set(claim) <= set(premise)


QUOTES = {1: "甲乙", 2: "丙", 3: "丁"}


@pytest.mark.parametrize(
    ("sentences", "recall", "precision"),
    [
        ([("甲", [1])], 1, 1),
        ([("甲", [2])], 0, 0),
        ([("甲", [])], 0, 0),  # no citation
        ([("甲", [1]), ("丙", [])], 0.5, 1),
        ([("甲丙", [1, 2])], 1, 1),  # only together
        ([("甲", [1, 2])], 1, 0.5),  # 2 alone does not entail it, and 1 does without it
        ([("甲", [1, 9])], 0, 0),  # 9 is out of range: the sentence and both its citations are wrong
        ([("甲", [1]), ("甲", [9])], 0.5, 0.5),
        ([("甲", [1, 1])], 1, 1),  # twice the same is one
    ],
)
def test_alce(sentences: list[tuple[str, list[int]]], recall: float, precision: float) -> None:
    assert metrics.alce(sentences, QUOTES, holds) == metrics.Alce(recall, precision)


def test_alce_without_sentences_does_not_apply() -> None:
    assert metrics.alce([], QUOTES, holds) == metrics.Alce(None, None)


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ("共建成 12 个站点", True),
        ("建成１２个站点", True),  # full width
        ("建成13个站点", False),  # another number
        ("建成2个站点", False),  # a number within a number
        ("东河区关闭了学校", False),
    ],
)
def test_lexical_entailment(claim: str, expected: bool) -> None:
    assert metrics.lexical_entails("东河区去年共建成12个站点。", claim) is expected


# -- answers ------------------------------------------------------------------------------------------------


def test_key_points_are_met_by_any_alternative_white_space_removed() -> None:
    points = [["12 个", "十二个"], ["站 点"], ["三年"]]
    assert metrics.key_point_recall("共十二个站点", points) == 2 / 3
    assert metrics.key_point_recall("共 十 二 个 站 点", points, 4) == 1 / 3  # 共十二个
    assert metrics.key_point_recall("共十二个站点", []) is None


def test_a_false_premise_is_flagged_by_refusing_or_denying() -> None:
    assert metrics.flags_premise("文档中没有这样说", False)
    assert metrics.flags_premise("", True)
    assert not metrics.flags_premise("一共三个", False)


def test_cmrc_exact_match_ignores_case_and_punctuation() -> None:
    assert metrics.cmrc_em("《 QQ堂》", ["qq堂", "泡泡堂"]) == 0  # white space inside counts
    assert metrics.cmrc_em("《QQ堂》。", ["泡泡堂", "qq堂"]) == 1
    assert metrics.cmrc_em("堂", []) is None


def test_cmrc_f1_is_over_the_longest_common_run() -> None:
    # 4 分 钟 / 约 4 分 钟 内: run of 3, precision 3/3, recall 3/5
    assert metrics.cmrc_f1("4分钟", ["约4分钟内"]) == pytest.approx(0.75)
    # 甲 乙 丁 丙 / 甲 乙 丙: the run is 甲乙, not the subsequence 甲乙丙: 2/4 and 2/3
    assert metrics.cmrc_f1("甲乙丁丙", ["甲乙丙"]) == pytest.approx(4 / 7)
    assert metrics.cmrc_f1("甲", ["乙", "甲"]) == 1  # the best of the answers
    assert metrics.cmrc_f1("Windows系统", ["windows"]) == pytest.approx(0.5)  # one word of three units
    assert metrics.cmrc_f1("", ["甲"]) == 0


# -- refusals -----------------------------------------------------------------------------------------------


def test_refusals() -> None:
    # refused, answerable
    outcomes = [(True, False), (False, False), (True, True), (False, True), (False, True), (True, False)]
    assert metrics.refusals(outcomes) == metrics.Refusals(
        recall=2 / 3, precision=2 / 3, false_refusals=pytest.approx(1 / 3)
    )
    assert metrics.refusals([(False, True)]) == metrics.Refusals(None, None, 0)


def test_the_refusal_curve_refuses_what_is_below_each_threshold() -> None:
    outcomes = [(0.2, False), (0.4, True), (0.6, True)]
    curve = dict(metrics.refusal_curve(outcomes, [0.0, 0.3, 0.5, 1.0]))
    assert curve[0.0] == metrics.Refusals(0, None, 0)
    assert curve[0.3] == metrics.Refusals(1, 1, 0)
    assert curve[0.5] == metrics.Refusals(1, 0.5, 0.5)
    assert curve[1.0] == metrics.Refusals(1, 1 / 3, 1)
    every = metrics.refusal_curve(outcomes)
    assert [threshold for threshold, _ in every[:-1]] == [0.0, 0.2, 0.4, 0.6]
    assert every[-1][1].false_refusals == 1


# -- estimates ----------------------------------------------------------------------------------------------


def test_the_mean_leaves_out_what_does_not_apply() -> None:
    found = metrics.mean_interval([1, None, 0, True])
    assert found and (found.mean, found.n) == (pytest.approx(2 / 3), 3)
    assert metrics.mean_interval([None]) is None


def test_the_interval_of_equal_values_is_a_point() -> None:
    assert metrics.mean_interval([0.5] * 7) == metrics.Estimate(0.5, 0.5, 0.5, 7)


def test_the_interval_is_near_the_normal_one_and_the_same_each_time() -> None:
    values = [1.0] * 80 + [0.0] * 20
    found = metrics.mean_interval(values)
    assert found and found == metrics.mean_interval(values)
    half = 1.96 * math.sqrt(0.8 * 0.2 / 100)  # 0.078
    assert found.low == pytest.approx(0.8 - half, abs=0.02)
    assert found.high == pytest.approx(0.8 + half, abs=0.02)


def test_a_paired_difference_is_surer_than_two_intervals() -> None:
    old = [i / 100 for i in range(100)]
    found = metrics.paired_difference([value + 0.1 for value in old], old)
    assert found and (found.mean, found.low, found.high) == (pytest.approx(0.1),) * 3
    assert metrics.paired_difference([1, None, 3], [0, 1, None]) == metrics.Estimate(1, 1, 1, 1)
