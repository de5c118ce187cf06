"""Files of cases: what is wrong with them, by line; and what the figures of a broken chain give away."""

from __future__ import annotations

import importlib.util
import json
import random
import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fakes_eval import NAME, ROWS, Break, Json, Oracle, answered, gold_cases, library, lines, rendered

from eval.cases import CasesError, GoldArticle, GoldCase, Library, find, load_cases, read_cases
from eval.gate import Bound, faults
from eval.metrics import Place
from eval.run import evaluate
from eval.score import summarise
from rag.chain import Chain
from rag.config import read_settings
from rag.errors import InputError
from rag.retrieve import HybridRetriever
from rag.store import Store

FACT, COMPARE, FOLLOWUP, NONE, FALSE = ROWS


def told(*rows: Mapping[str, Any] | bytes, known: Library | None = None) -> list[tuple[int, str]]:
    """The faults of these rows as (line, problem)."""
    raw = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    return [(fault.line, fault.problem) for fault in read_cases(raw, known or library())[1]]


# -- what is read -------------------------------------------------------------------------------------------


def test_evidence_is_resolved_to_its_place() -> None:
    known = library()
    fact, compare, *_ = gold_cases(known)
    assert [known.text(place) for place in fact.evidence] == FACT["evidence"]
    assert [known.text(place) for place in compare.evidence] == COMPARE["evidence"]
    numbers = [found.number for p in compare.articles if (found := known.article_at(p.document, p.start))]
    assert numbers == [2, 3]


def test_evidence_is_found_exactly_first_and_else_without_white_space() -> None:
    texts = {"d": "甲 乙丙。甲乙丙。"}
    assert find("甲乙丙", [Place("d", 0, 9)], texts) == Place("d", 5, 8)
    assert find("甲乙丙", [Place("d", 0, 5)], texts) == Place("d", 0, 4)
    assert find("甲\n乙丙", [Place("d", 5, 9)], texts) == Place("d", 5, 8)
    assert find("甲丙", [Place("d", 0, 9)], texts) is None


def test_a_question_goes_with_its_history_and_without_the_gold() -> None:
    _, _, followup, *_ = gold_cases()
    assert followup.case.as_question() == {"question": FOLLOWUP["question"], "history": FOLLOWUP["history"]}


def test_drafts_blank_lines_and_a_missing_history_are_fine() -> None:
    fact = {key: value for key, value in FACT.items() if key != "history"}
    assert told({**fact, "draft": True}, b"", b"  \r", COMPARE) == []


# -- what is wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (b"{", "不是 JSON"),
        (b"[1]", "不是 JSON 对象"),
        (b'{"id": "\xff"}', "不是 JSON"),
        ({k: v for k, v in FACT.items() if k != "evidence"}, "缺少键 evidence"),
        ({**FACT, "evidences": []}, "没有这个键: evidences"),
        ({**FACT, "type": "facts"}, "type 应是其中之一"),
        ({**FACT, "type": ["fact"]}, "type 应是其中之一"),
        ({**FACT, "id": 3}, "id 应是文字"),
        ({**FACT, "question": " "}, "question 应是文字"),
        ({**FACT, "articles": [True]}, "articles 应是编号"),
        ({**FACT, "articles": "1"}, "articles 应是编号"),
        ({**FACT, "evidence": [""]}, "evidence 应是文字的列表"),
        ({**FACT, "key_points": ["100"]}, "key_points 应是"),
        ({**FACT, "key_points": [[]]}, "key_points 应是"),
        ({**FACT, "history": [{"role": "system", "content": ""}]}, "history 应是"),
        ({**FACT, "draft": "yes"}, "draft 应是"),
        ({**FACT, "evidence": []}, "fact 题需要 evidence"),
        ({**FACT, "articles": []}, "fact 题需要 articles"),
        ({**FOLLOWUP, "history": []}, "followup 题需要 history"),
        ({**NONE, "key_points": [["鱼"]]}, "unanswerable 题不能有"),
        ({**FACT, "evidence": ["到2025年建成101个示范点"]}, "evidence 不在所列文章中"),
        ({**FACT, "articles": [2]}, "evidence 不在所列文章中"),
        ({**FACT, "articles": [1, 9]}, "没有第 9 篇文章"),
        ({**FACT, "articles": [[NAME, 9]]}, f"没有第 {NAME}:9 篇文章"),
        ({**FACT, "articles": [["别的.txt", 1]]}, "知识库中没有文档 别的.txt"),
    ],
)
def test_a_fault_is_named_by_its_line(row: Json | bytes, problem: str) -> None:
    ((line, found),) = told(COMPARE, b"", row)
    assert line == 3
    assert found.startswith(problem)


def test_all_faults_are_told_at_once() -> None:
    found = told(b"{", {**FACT, "evidence": ["甲", "乙"]}, {**COMPARE, "articles": [8, 9]})
    assert [line for line, _ in found] == [1, 2, 2, 3, 3]


def test_duplicates_name_the_first_line() -> None:
    found = told(FACT, {**COMPARE, "id": "f1"}, {**FACT, "id": "f2"})
    assert [line for line, _ in found] == [2, 3]
    assert all("第 1 行重复" in problem for _, problem in found)


def test_the_same_words_after_another_history_are_another_question() -> None:
    other = [{"role": "user", "content": "养老服务由几个部门负责？"}]
    assert told(FOLLOWUP, {**FOLLOWUP, "id": "t2", "history": other}) == []


def test_an_empty_file_is_a_fault() -> None:
    assert told(b"", b"\n") == [(0, "文件是空的 (the file is empty)")]


def test_a_number_that_several_documents_have_must_name_one() -> None:
    known = library("甲.txt", "乙.txt")
    ((_, problem),) = told(FACT, known=known)
    assert "[文档, 1]" in problem and "甲.txt" in problem and "乙.txt" in problem
    cases, found = read_cases([lines({**FACT, "articles": [["乙.txt", 1]]})], known)
    assert not found
    assert [place.document for place in cases[0].evidence] == ["乙.txt"]


def test_a_file_with_faults_is_one_error(tmp_path: Path) -> None:
    path = tmp_path / "cases.jsonl"
    path.write_bytes(lines(FACT, {**COMPARE, "articles": [9]}))
    with pytest.raises(CasesError, match="第 2 行") as raised:
        load_cases(path, library())
    assert isinstance(raised.value, InputError)
    with pytest.raises(InputError, match="读不到"):
        load_cases(tmp_path / "none.jsonl", library())


def test_the_sample_cases_serve_the_clean_and_the_messy_form(samples: Path) -> None:
    clean = (samples / "compilation.clean.txt").read_bytes().decode("utf-8")
    messy = (samples / "compilation.messy.txt").read_bytes().decode("utf-8")
    for row in map(json.loads, (samples / "questions.jsonl").read_text("utf-8").splitlines()):
        for piece in row["evidence"]:
            for text in (clean, messy):
                assert find(piece, [Place("d", 0, len(text))], {"d": text}), piece


# -- a broken chain is caught -------------------------------------------------------------------------------


def _change_citations(**change: Any) -> Break:
    def broken(one: GoldCase, answer: Json) -> Json:
        changed = [
            {**c, **{key: how(c) if callable(how) else how for key, how in change.items()}}
            for c in answer["citations"]
        ]
        return {**answer, "citations": changed}

    return broken


wrong_offsets = _change_citations(start=lambda c: c["start"] + 1, end=lambda c: c["end"] + 1)
wrong_label = _change_citations(article=lambda c: {**c["article"], "number": c["article"]["number"] + 1})
unknown_document = _change_citations(document="别的.txt")


def wrong_article(one: GoldCase, answer: Json) -> Json:
    """Quotes the beginning of an article that is none of the gold ones, exactly."""
    known = library()
    other = next(a.place for a in known.articles if a.place not in one.articles)
    return answered([Place(other.document, other.start, other.start + 12)], known) if one.evidence else answer


def dropped_citations(one: GoldCase, answer: Json) -> Json:
    sentences = [{**s, "citations": [], "support": "unsupported"} for s in answer["sentences"]]
    return rendered({**answer, "sentences": sentences, "citations": []})


def dangling_marks(one: GoldCase, answer: Json) -> Json:
    return rendered({**answer, "sentences": [{**s, "citations": [9]} for s in answer["sentences"]]})


def forged_numbers(one: GoldCase, answer: Json) -> Json:
    sentences = [
        {**s, "text": re.sub(r"\d+", lambda m: str(int(m[0]) + 1), s["text"])} for s in answer["sentences"]
    ]
    return rendered({**answer, "sentences": sentences})


def cites_the_whole_article(one: GoldCase, answer: Json) -> Json:
    return answered(one.articles, library()) if one.evidence else answer


def finds_nothing(one: GoldCase, answer: Json) -> Json:
    return {**answer, "retrieved": []}


def always_refuses(one: GoldCase, answer: Json) -> Json:
    return answered([], library())


def never_refuses(one: GoldCase, answer: Json) -> Json:
    return answered(one.evidence or [Place(NAME, 20, 40)], library())


BOUNDS = [
    *(
        Bound(name, low=0.9)
        for name in ("exact", "placed", "resolved", "supported", "alce_recall", "alce_precision")
    ),
    *(Bound(name, low=0.9) for name in ("recall@1000", "kp@400", "cite_recall", "cite_precision")),
    *(Bound(name, low=0.9) for name in ("cite_article", "cite_char_precision", "refusal")),
    Bound("false_refusal", high=0.1),
]


def test_a_perfect_chain_passes() -> None:
    known, gold = library(), gold_cases()
    result = evaluate(Oracle(gold, known), gold, known, {})
    assert faults(result, BOUNDS) == []
    assert result["metrics"]["cite_f1"]["mean"] == 1
    assert result["metrics"]["chars"]["n"] == 3


@pytest.mark.parametrize(
    ("broken", "caught"),
    [
        (wrong_offsets, {"exact"}),
        (unknown_document, {"exact", "placed", "cite_article"}),
        (wrong_label, {"placed"}),
        (wrong_article, {"cite_article", "cite_recall", "kp@400"}),
        (dropped_citations, {"cite_recall", "alce_recall", "supported"}),
        (dangling_marks, {"resolved", "alce_recall", "alce_precision"}),
        (forged_numbers, {"alce_recall"}),
        (cites_the_whole_article, {"cite_char_precision"}),
        (finds_nothing, {"recall@1000"}),
        (always_refuses, {"false_refusal", "kp@400"}),
        (never_refuses, {"refusal"}),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_broken_chain_is_caught_by_its_metric_and_the_gate(broken: Break, caught: set[str]) -> None:
    known, gold = library(), gold_cases()
    failed = faults(evaluate(Oracle(gold, known, broken), gold, known, {}), BOUNDS)
    assert caught <= {re.split(r"[: ]", line)[0] for line in failed}, failed


def test_what_does_not_apply_is_absent_rather_than_zero() -> None:
    known, gold = library(), gold_cases()
    only = [one for one in gold if one.case.type == "unanswerable"]
    found = evaluate(Oracle(gold, known), only, known, {})["metrics"]
    assert {"refusal", "refusal_precision"} <= set(found)
    assert not {"kp", "recall@1000", "cite_f1", "exact", "false_refusal", "chars", "alce_recall"} & set(found)
    assert faults({"metrics": found}, [Bound("kp", low=0.1)]) == ["kp: 没有适用的题 (no case measures it)"]


def test_f1_is_that_of_the_means_and_exact_is_over_citations() -> None:
    figures = [
        {"cite_precision": 1.0, "cite_recall": 0.0, "exact": 1.0, "citations": 3.0, "chars": 10.0},
        {"cite_precision": 0.0, "cite_recall": 1.0, "exact": 0.0, "citations": 1.0, "chars": 40.0},
        {"cite_precision": 0.5, "cite_recall": 0.5, "citations": 0.0, "chars": 20.0},
    ]
    found = summarise(figures)
    assert found["cite_f1"].mean == pytest.approx(0.5)
    assert (found["exact"].mean, found["exact"].n) == (0.75, 2)
    assert found["chars"].mean == 20


# -- agreement with the independent scorer ------------------------------------------------------------------


@pytest.fixture(scope="module")
def scorer(shared: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("independent_score", shared / "tools" / "score.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def agree(scorer: ModuleType, rows: list[Json], result: Json) -> None:
    """Each figure of the independent scorer, on the same answers, is the harness's own to 4 digits."""
    answers = [{"id": c["id"], **c["answer"], "retrieved": c["retrieved"]} for c in result["cases"]]
    theirs = scorer.score(rows, answers)
    by_type = theirs.pop("by_type")
    assert {name: round(result["metrics"][name]["mean"], 4) for name in theirs} == pytest.approx(
        theirs, abs=1e-4
    )
    for kind, found in by_type.items():
        for name in found.keys() - {"n"}:
            assert result["by_type"][kind][name]["mean"] == pytest.approx(found[name], abs=6e-4)


def test_agreement_with_the_independent_scorer(scorer: ModuleType, shared: Path) -> None:
    text = scorer.RAW
    known = Library(
        {NAME: text},
        tuple(GoldArticle(n, "", Place(NAME, a["start"], a["end"])) for n, a in scorer.ARTS.items()),
    )
    path = shared / "eval" / "governance31.questions.jsonl"
    gold = load_cases(path, known)
    chance = random.Random(7)

    def near(place: Place) -> Place:
        start = max(0, place.start + chance.randint(-60, 60))
        return Place(NAME, start, min(len(text), start + chance.randint(1, 150)))

    def loose(one: GoldCase, answer: Json) -> Json:
        """Places on, near and far from the evidence, some of them empty-handed."""
        if chance.random() < 0.15:
            return answered([], known)
        aims = [*one.evidence, Place(NAME, chance.randrange(len(text)), 0)]
        cited = [near(chance.choice(aims)) for _ in range(chance.randint(1, 4))]
        got = [near(chance.choice(aims)) for _ in range(40)]
        made = answered(cited, known, got)
        return {**made, "citations": made["citations"] if chance.random() < 0.9 else []}

    agree(scorer, scorer.load(path), evaluate(Oracle(gold, known, loose), gold, known, {}))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_agreement_on_the_chains_own_answers(
    scorer: ModuleType, shared: Path, compilation_kb: Path, encoder: Any
) -> None:
    path = shared / "eval" / "governance31.questions.jsonl"
    with Store.open(compilation_kb) as store:
        known = Library.of(store)
        gold = load_cases(path, known)[::6]
        chain = Chain(HybridRetriever(store=store, encoder=encoder), read_settings(kb=compilation_kb))
        result = evaluate(chain, gold, known, {})
    asked = {one.case.id for one in gold}
    agree(scorer, [row for row in scorer.load(path) if row["id"] in asked], result)
