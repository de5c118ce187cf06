"""Benchmark rows, and what is measured on them. All texts are invented."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import FakeEncoder

from eval import openqa, retrieval, rgb
from eval.bench import Bench, QueryMemory, knowledge_base
from eval.datasets import (
    DatasetError,
    Paragraph,
    RgbRow,
    read_paragraphs,
    read_questions,
    read_rgb,
    sample,
)
from rag.config import Settings
from rag.errors import PathError
from rag.records import Answer, AnswerSentence, ArticleRef, Citation

PARAGRAPHS = [
    {"id": "p1", "title": "青禾塔", "text": "青禾塔建于1907年，高三十二米。塔身由青砖砌成，共有七层。"},
    {"id": "p2", "title": "云泽鱼", "text": "云泽鱼生活在深水中，体长约两尺。它以水草为食，冬季洄游。"},
    {"id": "p3", "title": "", "text": "松岭铁路全长八十公里，由陆远山主持修建，沿线设九个车站。"},
    {"id": "p4", "title": "白石茶", "text": "白石茶產於白石村，清明前採摘。茶湯金黃，香氣近於蘭花。"},
]
QUESTIONS = [
    {"id": "q1", "paragraph": "p1", "question": "青禾塔建于哪一年？", "answers": ["1907年"]},
    {"id": "q2", "paragraph": "p2", "question": "云泽鱼以什么为食？", "answers": ["水草"]},
    {"id": "q3", "paragraph": "p3", "question": "松岭铁路由谁主持修建？", "answers": ["陆远山"]},
    {"id": "q4", "paragraph": "p4", "question": "白石茶什么時候採摘？", "answers": ["清明前"]},
]


def written(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Paragraphs and questions."""
    return written(tmp_path / "p.jsonl", PARAGRAPHS), written(tmp_path / "q.jsonl", QUESTIONS)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(Settings(kb=tmp_path / "unused", refuse_below=0, reader="none"), encoder=FakeEncoder())


# -- readers ------------------------------------------------------------------------------------------------


def test_reads_paragraphs_and_questions(files: tuple[Path, Path]) -> None:
    paragraphs = read_paragraphs(files[0])
    questions = read_questions(files[1], paragraphs)
    assert [p.title for p in paragraphs] == ["青禾塔", "云泽鱼", "", "白石茶"]
    assert questions[2].answers == ("陆远山",)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([PARAGRAPHS[0], {"id": "x", "text": " "}], "第 2 行.*text"),
        ([PARAGRAPHS[0], PARAGRAPHS[0]], "第 2 行.*重复"),
        ([PARAGRAPHS[0], ["p2"]], "第 2 行.*不是 JSON 对象"),
        ([{**PARAGRAPHS[0], "title": 3}], "第 1 行.*title"),
        ([], "空的"),
    ],
)
def test_faults_of_paragraphs_are_named_by_line(tmp_path: Path, rows: list[Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_paragraphs(written(tmp_path / "p.jsonl", rows))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"paragraph": "p9"}, "第 2 行.*没有这一段.*p9"),
        ({"answers": []}, "第 2 行.*answers"),
        ({"answers": "水草"}, "第 2 行.*answers"),
        ({"id": "q1"}, "第 2 行.*重复"),
        ({"question": None}, "第 2 行.*question"),
    ],
)
def test_faults_of_questions_are_named_by_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    paragraphs = [Paragraph("p1", "", "一"), Paragraph("p2", "", "二")]
    with pytest.raises(DatasetError, match=message):
        read_questions(written(tmp_path / "q.jsonl", [QUESTIONS[0], {**QUESTIONS[1], **change}]), paragraphs)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(PathError, match="nowhere"):
        read_paragraphs(tmp_path / "nowhere.jsonl")


def test_a_sample_is_spread_over_the_file_and_leaves_blank_questions_out(tmp_path: Path) -> None:
    rows = [{**QUESTIONS[0], "id": str(i), "question": "" if i == 0 else f"第{i}题？"} for i in range(9)]
    questions = read_questions(written(tmp_path / "q.jsonl", rows), [Paragraph("p1", "", "一")])
    assert [q.id for q in sample(questions, 4)] == ["1", "3", "5", "7"]
    assert len(sample(questions, None)) == 8
    with pytest.raises(DatasetError, match="limit 0"):
        sample(questions, 0)


# -- a knowledge base of them -------------------------------------------------------------------------------


def test_each_paragraph_is_a_document_of_one_article(files: tuple[Path, Path]) -> None:
    with knowledge_base(read_paragraphs(files[0]), FakeEncoder()) as store:
        assert [d.name for d in store.documents()] == ["p1", "p2", "p3", "p4"]
        assert [a.article.title for a in store.articles()] == ["青禾塔", "云泽鱼", "", "白石茶"]
        for passage in store.passages(store.vectors()[0]):
            document = store.document(passage.document)
            assert document is not None
            assert passage.text == document.text[passage.start : passage.end]


# -- open retrieval -----------------------------------------------------------------------------------------


def test_measures_of_a_rank() -> None:
    third = retrieval.measures(["a", "b", "gold"], "gold")
    assert third == pytest.approx(
        {
            "recall@1": 0,
            "recall@5": 1,
            "recall@10": 1,
            "recall@20": 1,
            "mrr@10": 1 / 3,
            "ndcg@10": 0.5,  # 1 / log2(3 + 1)
            "failure@20": 0,
        }
    )
    assert retrieval.measures(["a"], "gold")["failure@20"] == 1


def test_retrieval_of_each_retriever_and_the_difference(files: tuple[Path, Path], bench: Bench) -> None:
    steps: set[str] = set()
    result = retrieval.run(*files, replace(bench, progress=lambda step, done, total: steps.add(step)))
    assert set(result["retrievers"]) == {"dense", "lexical", "hybrid"}
    assert result["retrievers"]["lexical"]["recall@1"] == {"mean": 1.0, "low": 1.0, "high": 1.0, "n": 4}
    assert set(result["differences"]) == {"hybrid - dense", "hybrid - lexical"}
    difference = result["differences"]["hybrid - dense"]["mrr@10"]["mean"]
    means = {name: found["mrr@10"]["mean"] for name, found in result["retrievers"].items()}
    assert difference == pytest.approx(means["hybrid"] - means["dense"])
    assert steps == {"embed", "dense", "lexical", "hybrid"}
    assert result["settings"]["questions"] == 4


def test_a_question_is_encoded_once() -> None:
    class Counting(FakeEncoder):
        asked = 0

        def encode_query(self, text: str) -> Any:
            self.asked += 1
            return super().encode_query(text)

    inner = Counting()
    memory = QueryMemory(inner)
    assert (memory.encode_query("塔高多少？") == memory.encode_query("塔高多少？")).all()
    assert inner.asked == 1


# -- open question answering --------------------------------------------------------------------------------


def answer(text: str, document: str = "p1", refused: bool = False, confidence: float = 0.9) -> Answer:
    """An answer of one sentence, cited from the start of a document."""
    citation = Citation(0, len(text), 1, document, "", ArticleRef(1, "", None), (), text)
    sentence = AnswerSentence(text, () if refused else (1,), "quoted")
    return Answer((sentence,), () if refused else (citation,), (), refused, "test", {}, confidence)


class Script:
    """A chain that gives prepared answers by question, and else refuses; interrupted at question ``fails_at``."""

    def __init__(self, answers: dict[str, Answer], fails_at: int | None = None) -> None:
        self.answers = answers
        self.fails_at = fails_at
        self.asked: list[str] = []

    def invoke(self, question: dict[str, Any], /) -> Answer:
        if len(self.asked) == self.fails_at:
            raise KeyboardInterrupt
        self.asked.append(question["question"])
        return self.answers.get(question["question"], answer("文档中没有。", refused=True, confidence=0.1))


def test_half_of_the_paragraphs_are_withheld(files: tuple[Path, Path], bench: Bench) -> None:
    chain = Script({"青禾塔建于哪一年？": answer("青禾塔建于1907年。")})
    seen: list[str] = []

    def make(store: Any, encoder: Any, settings: Any) -> Script:
        seen.extend(document.name for document in store.documents())
        return chain

    result = openqa.run(*files, replace(bench, make=make, name="script"), seed=1)
    assert len(seen) == 2
    assert result["settings"]["kept"] == 2
    assert result["metrics"]["refusals"]["n"] == 2
    assert result["metrics"]["false_refusals"]["n"] == 2
    assert [point["threshold"] for point in result["curve"]][:2] == [0, 0.05]
    about = result["settings"]
    assert (about["chain"], about["seed"], about["model"]["identity"]) == ("script", 1, "fake@1")
    assert [file["name"] for file in about["files"]] == ["p.jsonl", "q.jsonl"]
    assert {"versions", "commit", "code_sha256", "refuse_below"} <= set(about)


def test_an_interrupted_run_goes_on_without_embedding_again(
    files: tuple[Path, Path], bench: Bench, tmp_path: Path
) -> None:
    out, first = tmp_path / "out.json", FakeEncoder()
    stopped = Script({}, fails_at=2)
    with pytest.raises(KeyboardInterrupt):
        openqa.run(*files, replace(bench, out=out, encoder=first, make=lambda *_: stopped, name="script"))
    second, going_on = FakeEncoder(), Script({})
    result = openqa.run(
        *files, replace(bench, out=out, encoder=second, make=lambda *_: going_on, name="script")
    )
    assert first.encoded and not second.encoded
    assert stopped.asked + going_on.asked == [row["question"] for row in QUESTIONS]
    assert result["metrics"]["refusals"]["n"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "p.jsonl",
        "q.jsonl",
    ]  # nothing is left behind


def test_a_run_with_other_options_starts_anew(files: tuple[Path, Path], bench: Bench, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    with pytest.raises(KeyboardInterrupt):
        openqa.run(*files, replace(bench, out=out, make=lambda *_: Script({}, fails_at=2), name="script"))
    again = Script({})
    openqa.run(*files, replace(bench, out=out, make=lambda *_: again, name="script"), seed=1)
    assert len(again.asked) == len(QUESTIONS)


def test_measures_of_an_answer() -> None:
    question = sample_question("q1", "p1", "1907年")
    right = openqa.Outcome(question, True, answer("建于1907年。").as_json())
    # 1907 and 年 are two units; the sentence has four.
    assert openqa.measures(right) == pytest.approx(
        {"answer@400": 1, "exact": 0, "f1": 2 * 2 / (4 + 2), "cited_first": 1, "false_refusals": 0}
    )
    elsewhere = openqa.Outcome(question, True, answer("1907 年", document="p2").as_json())
    assert openqa.measures(elsewhere)["cited_first"] == 0
    assert openqa.measures(elsewhere)["exact"] == 0  # a space is a difference to CMRC …
    assert openqa.measures(elsewhere)["answer@400"] == 1  # … and none here
    refused = openqa.Outcome(question, True, answer("没有。", refused=True).as_json())
    assert openqa.measures(refused)["false_refusals"] == 1
    assert openqa.measures(refused)["answer@400"] == 0
    assert openqa.measures(openqa.Outcome(question, False, answer("没有。", refused=True).as_json())) == {
        "refusals": 1
    }


def sample_question(key: str, paragraph: str, *answers: str) -> Any:
    from eval.datasets import ParagraphQuestion

    return ParagraphQuestion(key, paragraph, "建于哪一年？", answers)


def test_answers_are_compared_simplified_and_in_the_first_400_characters() -> None:
    assert openqa.holds("清明前採摘，茶湯金 黃", ["汤金黄"])
    assert openqa.holds("字" * 397 + "水草茶", ["水草"])
    assert not openqa.holds("字" * 399 + "水草", ["水草"])


def test_the_curve_says_what_other_thresholds_would_refuse() -> None:
    question = sample_question("q1", "p1", "x")
    outcomes = [
        openqa.Outcome(question, True, answer("x", confidence=0.9).as_json()),
        openqa.Outcome(question, True, answer("x", confidence=0.4).as_json()),
        openqa.Outcome(question, False, answer("x", confidence=0.2).as_json()),
    ]
    at = {point["threshold"]: point for point in openqa.curve(outcomes, (0.0, 0.3, 0.5))}
    assert (at[0.0]["recall"], at[0.0]["false_refusals"]) == (0, 0)
    assert (at[0.3]["recall"], at[0.3]["false_refusals"]) == (1, 0)
    assert (at[0.5]["recall"], at[0.5]["false_refusals"]) == (1, 0.5)


def test_something_must_be_left(files: tuple[Path, Path], bench: Bench) -> None:
    with pytest.raises(DatasetError, match="withheld 是 1"):
        openqa.run(*files, bench, withheld=1)


def test_the_projects_own_chain_answers(files: tuple[Path, Path], bench: Bench) -> None:
    result = openqa.run(*files, bench, withheld=0)
    assert result["metrics"]["answer@400"]["mean"] == 1
    assert result["metrics"]["cited_first"]["mean"] == 1
    assert "refusals" not in result["metrics"]  # nothing is withheld: absent, not zero


# -- RGB ----------------------------------------------------------------------------------------------------

RGB = {
    "id": 7,
    "query": "青禾塔高多少米？",
    "answer": [["32米", "三十二米"], "青砖"],
    "positive": ["青禾塔高三十二米。", "塔由青砖砌成，高32 米。", "青禾塔很高。"],
    "negative": [f"第{i}种云泽鱼住在水里。" for i in range(6)],
}


def rgb_row(**changes: Any) -> RgbRow:
    row = RgbRow("7", "塔高多少？", (("32米",),), (("甲", "乙", "丙", "丁", "戊"),), tuple("一二三四五六"))
    return RgbRow(**{**{name: getattr(row, name) for name in RgbRow.__slots__}, **changes})


@pytest.mark.parametrize(
    ("noise", "expected"),
    [(0.0, "甲乙丙丁戊"), (0.2, "甲乙丙丁一"), (0.6, "甲乙一二三"), (0.8, "甲一二三四"), (1.0, "一二三四五")],
)
def test_documents_are_mixed_by_the_noise_rate(noise: float, expected: str) -> None:
    assert "".join(rgb.documents(rgb_row(), noise)) == expected


def test_where_one_kind_runs_out_the_other_fills_up() -> None:
    assert "".join(rgb.documents(rgb_row(negative=("一",)), 0.8)) == "甲乙丙丁一"
    assert "".join(rgb.documents(rgb_row(positive=(("甲",),)), 0.2)) == "甲一二三四"
    assert "".join(rgb.documents(rgb_row(negative=("一",)), 1.0)) == "一"


def test_integration_takes_a_document_of_each_group_first() -> None:
    row = rgb_row(positive=(("甲", "乙"), ("丙", "丁")))
    assert "".join(rgb.documents(row, 0.0)) == "甲丙乙丁一"
    assert "".join(rgb.documents(row, 0.8)) == "甲丙一二三"


def test_counterfactual_documents_are_the_false_ones() -> None:
    row = rgb_row(wrong=("子", "丑"), fake=(("40米",),))
    assert sorted(rgb.documents(row, 0.0)) == ["丑", "子"]
    assert rgb.documents(row, 0.8, seed=3)[1:] == list("一二三四")


def test_rgbs_rule() -> None:
    answer = (("32米", "三十二米"), ("青砖",), ("NFC",))
    assert rgb.correct("塔高 三十二 米，用青砖，有nfc", answer)
    assert not rgb.correct("塔高三十二米，有NFC", answer)


def test_reads_rgb(tmp_path: Path) -> None:
    (row,) = read_rgb(written(tmp_path / "r.jsonl", [RGB]))
    assert (row.id, row.answer) == ("7", (("32米", "三十二米"), ("青砖",)))
    assert not row.integration and not row.wrong


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": []}, "第 1 行.*answer"),
        ({"answer": [[]]}, "第 1 行.*answer"),
        ({"positive": "文"}, "第 1 行.*positive"),
        ({"negative": [1]}, "第 1 行.*negative"),
        ({"query": ""}, "第 1 行.*query"),
        ({"positive_wrong": ["一个"]}, "第 1 行.*positive_wrong"),
    ],
)
def test_faults_of_rgb_are_named_by_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_rgb(written(tmp_path / "r.jsonl", [{**RGB, **change}]))


def test_rgb_runs_over_the_questions_own_documents(tmp_path: Path, bench: Bench) -> None:
    other = {
        **RGB,
        "id": 8,
        "query": "松岭铁路多长？",
        "answer": ["80公里"],
        "positive": ["松岭铁路长80公里。"] * 5,
    }
    file = written(tmp_path / "r.jsonl", [RGB, other])
    result = rgb.run(file, bench, (0.0, 1.0))
    assert result["protocol"] == "noise"
    assert result["absent"] == ["integration", "counterfactual"]
    assert set(result["noise"]) == {"0.0", "1.0"}
    assert result["noise"]["0.0"]["accuracy"]["n"] == 2
    assert result["noise"]["1.0"]["accuracy"]["mean"] == 0  # negative documents hold no answer
    with pytest.raises(DatasetError, match="noise"):
        rgb.run(file, bench, (1.5,))


def test_a_question_that_repeats_a_false_fact_is_misled(tmp_path: Path, bench: Bench) -> None:
    row = {
        **RGB,
        "answer": ["三十二米"],
        "positive_wrong": ["青禾塔高四十米。"] * 3,
        "fakeanswer": "四十米",
    }
    result = rgb.run(written(tmp_path / "r.jsonl", [row]), bench, (0.0,))
    assert result["protocol"] == "counterfactual"
    assert result["noise"]["0.0"]["misled"]["mean"] == 1
    assert result["noise"]["0.0"]["accuracy"]["mean"] == 0
