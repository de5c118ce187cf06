"""``youju eval``: runs that resume, baselines, gates, drafts, and their exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from builders import compilation, document, fill
from fakes import FakeEncoder
from fakes_eval import ROWS, Break, Json, Oracle, answered, gold_cases, library, lines
from typer.testing import CliRunner, Result

from eval.cases import GoldCase
from eval.cli import app
from eval.gate import Bound, read_gate
from eval.run import evaluate
from eval.score import METRICS
from rag.config import Settings
from rag.errors import FormatError
from rag.store import Store

ROOT = Path(__file__).parent.parent


class Bench:
    """A folder with a knowledge base, a file of cases, and a chain that tests can break or interrupt."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cases = folder / "cases.jsonl"
        self.cases.write_bytes(lines(*ROWS))
        self.out = folder / "out.json"
        self.broken: Break | None = None
        self.fails_at: int | None = None
        self.asked: list[str] = []
        self.modes: list[str] = []

    def open_chain(self, settings: Settings) -> Any:
        oracle = Oracle(gold_cases(), library(), self.broken, self.fails_at)
        self.asked = oracle.asked
        retriever = SimpleNamespace(mode="hybrid")

        def invoke(question: Json) -> Json:
            self.modes.append(retriever.mode)
            return oracle.invoke(question)

        return SimpleNamespace(invoke=invoke, retriever=retriever, store=Store.open(settings.kb))

    def run(self, *arguments: str | Path) -> Result:
        return CliRunner().invoke(app, list(map(str, arguments)))

    def evaluate(self, *arguments: str | Path) -> Result:
        return self.run("cases", self.cases, "--json", self.out, *arguments)

    def result(self) -> Json:
        return dict(json.loads(self.out.read_text("utf-8")))

    def gate(self, text: str) -> Path:
        path = self.folder / "gate.toml"
        path.write_text(f"[metrics]\n{text}\n", encoding="utf-8")
        return path


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("YOUJU_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("YOUJU_KB", str(tmp_path / "kb"))
    fill(tmp_path / "kb", document(compilation()))
    bench = Bench(tmp_path)
    monkeypatch.setattr("rag.chain.open_chain", bench.open_chain)
    return bench


def refuses(one: GoldCase, answer: Json) -> Json:
    return answered([], library())


# -- results ------------------------------------------------------------------------------------------------


def test_a_result_has_what_a_report_and_a_later_comparison_need(bench: Bench) -> None:
    run = bench.evaluate()
    assert run.exit_code == 0, run.output
    result = bench.result()
    assert set(result) == {"metrics", "by_type", "recall_curve", "refusal_curve", "cases", "settings"}
    assert result["metrics"]["recall@1000"] == {"mean": 1, "low": 1, "high": 1, "n": 3}
    assert list(result["by_type"]) == ["fact", "compare", "followup", "unanswerable", "false_premise"]
    assert result["by_type"]["unanswerable"]["refusal"]["mean"] == 1
    fact, compare, *_ = result["cases"]
    assert fact["gold"][0]["text"] == ROWS[0]["evidence"][0]
    assert fact["retrieved"] and "retrieved" not in fact["answer"]
    assert [(article["number"], article["title"][-1]) for article in compare["articles"]] == [
        (2, "2"),
        (3, "3"),
    ]
    assert compare["metrics"]["articles_cited"] == 1


def test_the_settings_say_what_produced_a_result(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eval.provenance._SECRET", ("host",))
    assert bench.evaluate("--retriever", "dense").exit_code == 0
    settings = bench.result()["settings"]
    assert settings["model"] == {"identity": "fake@1", "dimension": 32}
    assert settings["retriever"] == "dense" and set(bench.modes) == {"dense"}
    assert settings["chain"] == "youju"
    assert len(settings["files"][0]["sha256"]) == len(settings["code_sha256"]) == 64
    assert settings["documents"][0]["name"] == "汇编.txt"
    assert {"python", "torch", "langchain-core"} <= set(settings["versions"])
    assert settings["settings"]["refuse_below"] == 0.5 and "host" not in settings["settings"]
    assert {"commit", "date", "seconds", "seed", "resamples"} <= set(settings)


def test_the_table_shows_each_metric_with_its_interval(bench: Bench) -> None:
    assert "cite_f1" in bench.evaluate().stdout


def test_an_unknown_retriever_is_an_error(bench: Bench) -> None:
    run = bench.evaluate("--retriever", "magic")
    assert run.exit_code == 2 and "magic" in run.stderr and not bench.asked


def test_a_chain_that_answers_in_another_shape_is_an_error() -> None:
    gold, known = gold_cases(), library()

    def broken(one: GoldCase, answer: Json) -> Json:
        return {**answer, "citations": [{"n": 1}]}

    with pytest.raises(FormatError, match=r"f1 .*citations\.document"):
        evaluate(Oracle(gold, known, broken), gold, known, {})


# -- resuming -----------------------------------------------------------------------------------------------


def journal(bench: Bench) -> Path:
    return bench.folder / "out.json.answers.jsonl"


def test_an_interrupted_run_goes_on_where_it_stopped(bench: Bench) -> None:
    bench.fails_at = 2
    bench.evaluate()
    assert not bench.out.exists()
    assert len(journal(bench).read_text("utf-8").splitlines()) == 3  # the settings and two answers
    bench.fails_at = None
    assert bench.evaluate().exit_code == 0
    assert bench.asked == [row["question"] for row in ROWS[2:]]
    assert len(bench.result()["cases"]) == len(ROWS)
    assert not journal(bench).exists()


def test_a_line_cut_off_is_asked_again(bench: Bench) -> None:
    bench.fails_at = 2
    bench.evaluate()
    raw = journal(bench).read_bytes()
    journal(bench).write_bytes(raw[:-20])
    bench.fails_at = None
    assert bench.evaluate().exit_code == 0
    assert len(bench.asked) == len(ROWS) - 1


def test_other_settings_start_anew(bench: Bench) -> None:
    bench.fails_at = 2
    bench.evaluate()
    bench.fails_at = None
    assert bench.evaluate("--retriever", "lexical").exit_code == 0
    assert len(bench.asked) == len(ROWS)


def test_a_result_that_cannot_be_written_is_an_error_before_anything_runs(bench: Bench) -> None:
    run = bench.run("cases", bench.cases, "--json", bench.folder / "none" / "out.json")
    assert run.exit_code == 2 and "无法写入" in run.stderr and not bench.asked


# -- gate and baseline --------------------------------------------------------------------------------------


def test_a_gate_that_holds(bench: Bench) -> None:
    run = bench.evaluate(
        "--gate", bench.gate('"recall@1000" = { min = 0.9 }\nfalse_refusal = { max = 0.05 }')
    )
    assert run.exit_code == 0 and "the gate holds" in run.stderr, run.output


def test_a_gate_names_the_lines_that_fell(bench: Bench) -> None:
    bench.broken = refuses
    gate = bench.gate("refusal = { min = 0.9 }\nfalse_refusal = { max = 0.05 }\nexact = { min = 1 }")
    run = bench.evaluate("--gate", gate)
    assert run.exit_code == 1
    assert "false_refusal = 1.0000 > max 0.05 (n = 3)" in run.stderr
    assert "exact: 没有适用的题" in run.stderr  # it must not pass for want of citations
    assert " refusal = " not in run.stderr
    assert bench.out.exists()  # the result is written all the same


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("kp400 = { min = 0.5 }", "kp400"),
        ("kp = { least = 0.5 }", "kp 应有 min 或 max"),
        ("kp = 0.5", "kp 应有 min 或 max"),
        ('kp = { min = "0.5" }', "应是数"),
        ("kp = { min = nan }", "应是数"),
        ("kp = ", "不是 TOML"),
        ("", "非空"),
    ],
)
def test_a_gate_that_cannot_be_used_is_an_error_before_anything_runs(
    bench: Bench, text: str, problem: str
) -> None:
    run = bench.evaluate("--gate", bench.gate(text))
    assert run.exit_code == 2 and problem in run.stderr
    assert not bench.asked


def test_a_baseline_shows_paired_differences(bench: Bench) -> None:
    assert bench.evaluate().exit_code == 0
    old = bench.out.rename(bench.folder / "old.json")
    bench.broken = refuses
    run = bench.evaluate("--baseline", old)
    assert run.exit_code == 0
    (line,) = [line for line in run.stdout.splitlines() if line.startswith("cite_recall") and "*" in line]
    assert line.split() == ["cite_recall", "-1.0000*", "-1.0000", "–", "-1.0000", "3"]


@pytest.mark.parametrize("text", ["{}", "[]", "{", '{"cases": [1]}'])
def test_a_baseline_that_is_no_result_is_an_error(bench: Bench, text: str) -> None:
    old = bench.folder / "old.json"
    old.write_text(text, encoding="utf-8")
    run = bench.evaluate("--baseline", old)
    assert run.exit_code == 2 and "不是评测结果" in run.stderr and not bench.asked


def test_a_baseline_without_a_common_case_is_an_error(bench: Bench) -> None:
    old = bench.folder / "old.json"
    old.write_text('{"cases": [{"id": "other", "metrics": {}}]}', encoding="utf-8")
    run = bench.evaluate("--baseline", old)
    assert run.exit_code == 2 and "没有共同的题" in run.stderr


def test_the_samples_gate_names_known_metrics(samples: Path) -> None:
    bounds = read_gate(samples / "gate.toml")
    assert Bound("exact", low=1.0) in bounds
    assert {bound.name for bound in bounds} <= set(METRICS)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_sample_passes_its_gate(
    samples: Path, sample_kb: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["--kb", sample_kb, "--json", tmp_path / "out.json", "--gate", samples / "gate.toml"]
    run = CliRunner().invoke(app, ["cases", *map(str, [samples / "questions.jsonl", *arguments])])
    assert run.exit_code == 0, run.output


# -- check and draft ----------------------------------------------------------------------------------------


def test_check_counts_what_is_fine(bench: Bench) -> None:
    run = bench.run("check", bench.cases)
    assert run.exit_code == 0 and run.stdout.startswith("5 题")


@pytest.mark.parametrize("command", ["check", "cases"])
def test_faults_are_told_a_line_each(bench: Bench, command: str) -> None:
    bench.cases.write_bytes(lines({**ROWS[0], "articles": [9]}, {**ROWS[1], "kind": "x"}))
    run = bench.run(command, bench.cases)
    assert run.exit_code == 2 and not bench.asked
    first, second = run.stderr.splitlines()
    assert "line 1" in first and "没有第 9 篇" in first
    assert "line 2" in second and "kind" in second


def test_a_knowledge_base_that_is_not_there_is_an_error(bench: Bench) -> None:
    assert bench.run("check", bench.cases, "--kb", bench.folder / "none").exit_code == 2


def test_drafts_are_valid_cases(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    out = bench.folder / "draft.jsonl"
    text = compilation().replace("二、重点任务", "二、扎实推进重点任务", 1)
    fill(bench.folder / "other", document(text))
    monkeypatch.setenv("YOUJU_KB", str(bench.folder / "other"))
    assert bench.run("draft", "--out", out).exit_code == 0
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    found = {row["question"]: (row["type"], row["evidence"], row["key_points"]) for row in rows}
    assert found["“扎实推进重点任务”包括哪些方面？"] == (
        "list",
        ["(一)健全机制", "(二)压实责任"],
        [["健全机制"], ["压实责任"]],
    )
    assert found["哪一篇讲到“扎实推进重点任务”？"][:2] == ("locate", ["二、扎实推进重点任务"])
    assert found["养老服务责任落实到多少名专职人员？"] == (
        "fact",
        ["养老服务责任落实到8名专职人员"],
        [["8名"]],
    )
    assert all(row["draft"] and row["evidence"] and row["key_points"] for row in rows)
    assert bench.run("check", out).exit_code == 0


def test_drafts_are_as_many_as_asked_and_spread_over_the_articles(bench: Bench) -> None:
    out = bench.folder / "draft.jsonl"
    assert bench.run("draft", "--out", out, "--limit", "4").exit_code == 0
    rows = [json.loads(line) for line in out.read_text("utf-8").splitlines()]
    assert [row["articles"] for row in rows] == [[1], [2], [3], [4]]


def test_a_draft_does_not_replace_a_file(bench: Bench) -> None:
    before = bench.cases.read_bytes()
    run = bench.run("draft", "--out", bench.cases)
    assert run.exit_code == 2 and bench.cases.read_bytes() == before


# -- the whole command --------------------------------------------------------------------------------------


def test_retrievers_by_flag_on_the_real_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rag.chain.sentence_encoder", lambda settings: FakeEncoder())
    fill(tmp_path / "kb", document(compilation()))
    bench = Bench(tmp_path)
    for mode in ("dense", "lexical", "hybrid"):
        run = bench.evaluate("--retriever", mode, "--kb", tmp_path / "kb")
        assert run.exit_code == 0, run.output
        found = bench.result()
        assert found["metrics"]["recall@2000"]["mean"] == 1
        assert found["settings"]["retriever"] == mode


def test_eval_is_part_of_youju() -> None:
    command = [sys.executable, "-c", "from rag.cli import main; main()", "eval", "--help"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0 and "draft" in run.stdout


def test_importing_the_command_line_stays_light() -> None:
    code = "import sys, rag.cli; assert 'eval' not in sys.modules; import eval.cli; assert 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, check=True)
