"""Other chains and retrievers than the project's own, measured by the same commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from builders import compilation, document, fill
from fakes import FakeEncoder
from fakes_eval import NAME, ROWS, library, lines
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from typer.testing import CliRunner, Result

from eval.chains import RetrieverChain, as_chain, ask, named
from eval.cli import app
from rag.errors import ConfigError, FormatError

ROOT = Path(__file__).parent.parent
TEXT = library().texts[NAME]


class Found(BaseRetriever):
    """Always finds the same."""

    documents: list[Document]

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        return self.documents


def piece(start: int, end: int, **metadata: Any) -> Document:
    return Document(TEXT[start:end], metadata={"document": NAME, "start": start, **metadata})


def answer(*documents: Document, **question: Any) -> dict[str, Any]:
    chain = as_chain(Found(documents=list(documents)), library())
    return ask(chain, {"question": "塔高多少？", **question}, "q1")


# -- a retriever as a chain ---------------------------------------------------------------------------------


def test_the_first_400_characters_are_the_answer_each_passage_a_citation() -> None:
    found = answer(piece(100, 350), piece(400, 690), piece(0, 50))
    assert [(c["n"], c["start"], c["end"]) for c in found["citations"]] == [(1, 100, 350), (2, 400, 550)]
    assert [c["quote"] for c in found["citations"]] == [TEXT[100:350], TEXT[400:550]]
    assert [(p["start"], p["end"]) for p in found["retrieved"]] == [(100, 350), (400, 690), (0, 50)]
    assert found["answer"] == f"{TEXT[100:350]}[1]{TEXT[400:550]}[2]" and not found["refused"]


def test_places_come_from_the_metadata_or_from_the_text_itself() -> None:
    by_index = Document(TEXT[100:150], metadata={"source": NAME, "start_index": 100})
    searched = Document(TEXT[200:260], metadata={"source": NAME})
    assert [p["start"] for p in answer(by_index, searched)["retrieved"]] == [100, 200]


@pytest.mark.parametrize(
    "wrong",
    [
        Document(TEXT[100:150], metadata={"document": NAME, "start": 101}),
        Document("别处的话", metadata={"document": NAME}),
        Document(TEXT[100:150], metadata={"document": "无此文件"}),
        Document(TEXT[100:150]),
        Document("", metadata={"document": NAME, "start": 0}),
    ],
)
def test_what_is_not_verbatim_is_an_error_and_not_scored_as_zero(wrong: Document) -> None:
    with pytest.raises(FormatError, match="verbatim"):
        answer(wrong)


def test_passages_are_named_after_their_article_and_kept_within_those_asked_for() -> None:
    first, second = (article.place for article in library().articles[:2])
    passages = (piece(first.start, first.start + 20), piece(second.start, second.start + 20))
    assert [c["article"]["number"] for c in answer(*passages)["citations"]] == [1, 2]
    assert [p["article"] for p in answer(*passages, articles=[2])["retrieved"]] == [2]
    assert [p["article"] for p in answer(*passages, articles=[[NAME, 1]])["retrieved"]] == [1]
    assert answer(*passages, articles=[3])["refused"]


def test_a_chain_stays_itself() -> None:
    chain = RetrieverChain(Found(documents=[]), library())
    assert as_chain(chain, library()) is chain
    assert ask(chain, {"question": "塔高多少？"}, "q1")[
        "refused"
    ]  # nothing retrieved: nothing to answer with


# -- by name, on the command line ---------------------------------------------------------------------------

OWN_CODE = """
from langchain_core.runnables import RunnableLambda

def shouting(store, encoder, settings):
    from eval.bench import youju
    inner = youju(store, encoder, settings)
    return RunnableLambda(lambda asked: inner.invoke({**asked, "question": asked["question"] + "！"}))

number = 3
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a knowledge base, a file of cases and a user's own module."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [p for p in __import__("sys").path if Path(p or ".") != ROOT])
    monkeypatch.setattr("rag.ingest.sentence_encoder", lambda settings: FakeEncoder())
    monkeypatch.setenv("YOUJU_READER", "none")
    fill(tmp_path / "kb", document(compilation()))
    (tmp_path / "cases.jsonl").write_bytes(lines(*ROWS))
    (tmp_path / "mine.py").write_text(OWN_CODE, encoding="utf-8")
    return tmp_path


def evaluate(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["cases", "cases.jsonl", "--kb", "kb", "--json", "out.json", *arguments])


def test_a_chain_of_ones_own_is_measured_by_name(place: Path) -> None:
    run = evaluate("--chain", "mine:shouting")
    assert run.exit_code == 0, run.output
    result = json.loads((place / "out.json").read_text("utf-8"))
    assert result["settings"]["chain"] == "mine:shouting"
    assert result["cases"][0]["answer"]["engine"] == "extractive"


@pytest.mark.parametrize("name", ["mine", "mine:", ":shouting", "mine:number", "mine:none", "nowhere:stock"])
def test_a_name_that_is_none_is_an_error(place: Path, name: str) -> None:
    run = evaluate("--chain", name)
    assert run.exit_code == 2 and "--chain benchmarks.stock:stock" in run.stderr
    with pytest.raises(ConfigError):
        named(name)


def test_a_retriever_of_the_projects_own_and_another_chain_exclude_each_other(place: Path) -> None:
    run = evaluate("--chain", "mine:shouting", "--retriever", "dense")
    assert run.exit_code == 2 and "--retriever" in run.stderr


def test_the_stock_pipeline_is_measured_by_every_command(place: Path) -> None:
    pytest.importorskip("langchain_text_splitters")
    shutil.copytree(ROOT / "benchmarks", place / "benchmarks")
    run = evaluate("--chain", "benchmarks.stock:stock")
    assert run.exit_code == 0, run.output
    result = json.loads((place / "out.json").read_text("utf-8"))
    assert result["metrics"]["exact"]["mean"] == 1
    assert result["metrics"]["refusal"]["mean"] == 0  # it has no means to refuse
    pieces = result["cases"][0]["retrieved"]
    assert max(p["end"] - p["start"] for p in pieces) <= 500

    paragraphs = [
        {"id": f"p{i}", "text": f"{name}镇有{i + 3}座桥。"}
        for i, name in enumerate(("青禾", "云泽", "松岭", "白石"))
    ]
    questions = [
        {"id": f"q{i}", "paragraph": f"p{i}", "question": f"{name}镇有几座桥？", "answers": [f"{i + 3}座"]}
        for i, name in enumerate(("青禾", "云泽", "松岭", "白石"))
    ]
    Path("p.jsonl").write_bytes(lines(*paragraphs))
    Path("q.jsonl").write_bytes(lines(*questions))
    row = {
        "id": 1,
        "query": "青禾镇有几座桥？",
        "answer": ["3座"],
        "positive": ["青禾镇有3座桥。"],
        "negative": ["无桥。"],
    }
    Path("rgb.jsonl").write_bytes(lines(row))
    public = ["--paragraphs", "p.jsonl", "--questions", "q.jsonl", "--chain", "benchmarks.stock:stock"]
    commands = {
        "retrieval": ["retrieval", *public],
        "openqa": ["openqa", *public],
        "rgb": ["rgb", "rgb.jsonl", "--noise", "0,1", "--chain", "benchmarks.stock:stock"],
    }
    found = {}
    for name, command in commands.items():
        run = CliRunner().invoke(app, [*command, "--json", f"{name}.json"])
        assert run.exit_code == 0, run.output
        found[name] = json.loads(Path(f"{name}.json").read_text("utf-8"))
    assert found["retrieval"]["retrievers"]["benchmarks.stock:stock"]["recall@1"]["mean"] == 1
    assert found["openqa"]["metrics"]["refusals"] == {"mean": 0, "low": 0, "high": 0, "n": 2}
    assert found["rgb"]["noise"]["0.0"]["accuracy"]["mean"] == 1
    assert found["rgb"]["noise"]["1.0"] == {
        "accuracy": {"mean": 0, "low": 0, "high": 0, "n": 1},
        "refused": {"mean": 0, "low": 0, "high": 0, "n": 1},
    }
