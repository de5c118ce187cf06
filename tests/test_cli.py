"""The command line: what it prints, what it refuses, and that it never shows a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from builders import compilation
from fakes import FakeEncoder
from fakes_ui import NAME, FakeChain, fake_chain
from typer.testing import CliRunner, Result

from rag.chain import open_chain
from rag.cli import app
from rag.config import Settings
from rag.errors import QuestionError
from rag.records import Answer, Done, Question
from rag.store import DATABASE, Store
from rag.terminal import safe
from rag.vectors import INDEX

ROOT = Path(__file__).parent.parent


class CliChain(FakeChain):
    """The views' fake chain with ``invoke`` and the real one's refusals."""

    def invoke(self, question: Question) -> Answer:
        if not question.text.strip():
            raise QuestionError("问题是空的 (empty question)", "写出问题 (write a question)")
        (answer,) = [event.answer for event in self.stream(question) if isinstance(event, Done)]
        return answer


@pytest.fixture(autouse=True)
def no_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No model is loaded, and nothing outside the test's folder is read."""
    monkeypatch.setattr("rag.chain.open_chain", lambda settings: CliChain(Store.open(settings.kb)))
    monkeypatch.setattr("rag.ingest.sentence_encoder", lambda settings: FakeEncoder())
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("YOUJU_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("YOUJU_KB", str(tmp_path / "kb"))


@pytest.fixture
def real_chain(no_model: None, monkeypatch: pytest.MonkeyPatch, doc: Path) -> None:
    """The real chain, with the fake encoder, over a knowledge base that has been filled."""
    monkeypatch.setattr("rag.chain.open_chain", open_chain)
    monkeypatch.setattr("rag.chain.sentence_encoder", lambda settings: FakeEncoder())
    assert run("ingest", doc).exit_code == 0


@pytest.fixture
def kb(tmp_path: Path) -> Path:
    """The views' invented document, ready to be asked about."""
    fake_chain(tmp_path / "kb").store.close()
    return tmp_path / "kb"


@pytest.fixture
def doc(tmp_path: Path) -> Path:
    path = tmp_path / "汇编.txt"
    path.write_text(compilation(), encoding="utf-8")
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def out_json(*arguments: str | Path) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout_bytes.decode("utf-8"))


def refused(*arguments: str | Path, says: tuple[str, ...]) -> None:
    """Exit code 2 and one line on stderr that names the thing and, after an arrow, the remedy."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("youju: ")
    assert " → " in line
    for part in says:
        assert part in line


# -- documents -----------------------------------------------------------------------------------------------


def test_ingest_reports_each_file(doc: Path) -> None:
    report = out_json("ingest", doc)
    (row,) = report["documents"]
    assert (row["name"], row["status"], row["articles"], row["encoding"]) == ("汇编.txt", "added", 4, "utf-8")
    assert out_json("ingest", doc)["documents"][0]["status"] == "unchanged"
    shown = run("ingest", doc)
    assert shown.exit_code == 0
    assert "未变 unchanged  汇编.txt  4 篇 articles, 16 节 sections" in shown.stdout
    assert shown.stderr == ""  # bars are for terminals


def test_kb_is_where_the_flag_says(doc: Path, tmp_path: Path) -> None:
    assert out_json("ingest", doc, "--kb", tmp_path / "other")["kb"] == str(tmp_path / "other")
    assert (tmp_path / "other" / DATABASE).exists()
    assert not (tmp_path / "kb").exists()


def test_articles_as_json_is_the_contract(doc: Path) -> None:
    run("ingest", doc)
    articles = out_json("articles")
    assert [article["number"] for article in articles] == [1, 2, 3, 4]
    first = articles[0]
    assert list(first) == ["document", "sha256", "number", "category", "title", "start", "end", "sections"]
    assert first["title"] == "关于网格管理工作的实施意见之1"
    text = doc.read_text(encoding="utf-8")
    assert text[first["start"] :].startswith(first["title"])
    assert [s["marker"] + s["heading"] for s in first["sections"]] == ["一、总体要求", "二、重点任务"]
    assert list(first["sections"][0]) == ["level", "marker", "heading", "start", "end", "sections"]


def test_articles_are_shown_as_a_tree(kb: Path) -> None:
    lines = run("articles").stdout.splitlines()
    assert lines[0] == NAME
    assert lines[1].endswith("意见决定")
    assert lines[2].endswith("1 关于加快青禾县数字乡村建设的实施意见")
    assert any(line.endswith("(一)夯实网络底座") for line in lines)
    assert not any("一是" in line for line in lines)


def test_documents_and_remove(doc: Path) -> None:
    run("ingest", doc)
    (row,) = out_json("documents")
    assert (row["name"], row["articles"], row["path"]) == ("汇编.txt", 4, str(doc))
    assert "汇编.txt" in run("documents").stdout
    refused("remove", "没有.txt", says=("没有.txt", "youju documents"))
    assert "汇编.txt" in run("remove", "汇编.txt").stdout
    assert out_json("documents") == []
    refused("articles", says=("知识库是空的", "youju ingest"))


# -- questions -----------------------------------------------------------------------------------------------

QUESTION = "到2027年全县建成多少个数字乡村示范村？"


def test_search_as_json_is_the_contract(kb: Path) -> None:
    passages = out_json("search", QUESTION, "--limit", "3")["passages"]
    assert len(passages) == 3
    assert list(passages[0]) == ["document", "article", "title", "section", "start", "end", "score", "text"]
    assert "示范村36个" in passages[0]["text"]
    shown = run("search", QUESTION, "--limit", "1").stdout
    assert "第1篇 关于加快青禾县数字乡村建设的实施意见 › 一、总体目标" in shown
    assert "示范村36个" in shown


def test_ask_as_json_is_the_contract(kb: Path) -> None:
    answer = out_json("ask", QUESTION)
    assert {"answer", "refused", "engine", "sentences", "citations", "retrieved", "timings_ms"} <= set(answer)
    assert answer["answer"] == "到2027年，全县行政村5G覆盖率达到98%，建成数字乡村示范村36个。[1]"
    assert answer["sentences"][0]["citations"] == [1]
    assert answer["citations"][0]["quote"] in answer["answer"]


def test_ask_shows_sentences_then_numbered_sources(kb: Path) -> None:
    shown = run("ask", QUESTION).stdout.splitlines()
    assert shown == [
        "到2027年，全县行政村5G覆盖率达到98%，建成数字乡村示范村36个。[1]",
        "",
        "出处 Sources",
        f"[1] 第1篇 关于加快青禾县数字乡村建设的实施意见 › 一、总体目标  {NAME} 70–106",
        "    到2027年，全县行政村5G覆盖率达到98%，建成数字乡村示范村36个。",
    ]


def test_ask_shows_items_on_lines_of_their_own(kb: Path) -> None:
    shown = run("ask", "选好村级网格员、办好田间课堂、用好返乡青年").stdout
    assert "- 一是选好村级网格员" in shown


def test_ask_shows_what_is_not_supported_and_refusals(kb: Path) -> None:
    assert "这句话没有出处。 (无依据 unsupported)" in run("ask", QUESTION + "请存疑").stdout
    refusal = run("ask", "今天股市行情")
    assert refusal.stdout == "这些文件没有提到这个问题。\n"
    assert refusal.exit_code == 0


def test_ask_can_be_restricted_to_articles(kb: Path) -> None:
    for article in ("3", f"{NAME}:3"):
        answer = out_json("ask", "三年内做什么", "--article", article)
        assert {p["article"] for p in answer["retrieved"]} == {3}
    refused("ask", "问题", "--article", "第三篇", says=("第三篇", "youju articles"))


def test_questions_with_no_document_say_what_to_run(tmp_path: Path) -> None:
    for command in (["search", "问题"], ["ask", "问题"], ["serve"], ["articles"], ["documents"]):
        refused(*command, says=("知识库不存在", str(tmp_path / "kb"), "youju ingest"))
    assert not (tmp_path / "kb").exists()


# -- batches -------------------------------------------------------------------------------------------------


def _batch(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "in.jsonl"
    lines = [row if isinstance(row, bytes) else json.dumps(row, ensure_ascii=False).encode() for row in rows]
    path.write_bytes(b"\n".join(lines))
    return path


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_batch_answers_row_by_row(kb: Path, tmp_path: Path) -> None:
    history = [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "请问。"}]
    rows = _batch(
        tmp_path,
        {"id": "a", "question": QUESTION, "history": [], "articles": []},
        {"id": 7, "question": "三年内做什么", "articles": [3]},
        {"id": "c", "question": "三年内做什么", "articles": [[NAME, 3]], "history": history},
        b"",
    )
    result = run("ask", "--batch", rows, "--out", tmp_path / "out.jsonl")
    assert result.exit_code == 0, result.stderr
    out = _rows(tmp_path / "out.jsonl")
    assert [list(row)[:2] for row in out] == [["id", "question"]] * 3
    assert [row["id"] for row in out] == ["a", 7, "c"]
    assert "36个" in out[0]["answer"]
    assert {p["article"] for row in out[1:] for p in row["retrieved"]} == {3}


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (b"not json", "不是 JSON"),
        (b'{"id": 1, "question": "\xff"}', "不是 JSON"),
        (b'{"id": 1, "question": "\\ud800"}', "不是 JSON"),
        (b"[" * 100_000, "不是 JSON"),
        (b'["question"]', "缺少 question"),
        (b'{"id": 1}', "缺少 question"),
        (b'{"id": 1, "question": 5}', "缺少 question"),
        (b'{"id": 1, "question": ""}', "空的"),
        ({"id": 1, "question": "长" * 100_000}, "太长"),
        ({"id": 1, "question": "问", "history": "前文"}, "history"),
        ({"id": 1, "question": "问", "history": [{"role": "system", "content": "x"}]}, "history"),
        ({"id": 1, "question": "问", "articles": ["三"]}, "articles"),
        ({"id": 1, "question": "问", "articles": [True]}, "articles"),
        ({"id": 1, "question": "问", "articles": 3}, "articles"),
    ],
    ids=lambda value: str(value)[:40] if not isinstance(value, dict) else str(list(value.items())[1:])[:40],
)
def test_a_bad_row_is_named_by_its_line_and_the_others_are_answered(
    kb: Path, tmp_path: Path, bad: object, says: str
) -> None:
    rows = _batch(tmp_path, {"id": "a", "question": QUESTION}, bad, {"id": "c", "question": QUESTION})
    result = run("ask", "--batch", rows, "--out", tmp_path / "out.jsonl")
    assert result.exit_code == 2
    lines = result.stderr.splitlines()
    assert len(lines) == 2  # the bad row, and the count
    assert "第 2 行 (line 2)" in lines[0]
    assert says in lines[0]
    assert "→" in lines[0]
    assert str(rows) in lines[0]
    assert [row["id"] for row in _rows(tmp_path / "out.jsonl")] == ["a", "c"]


def test_a_broken_batch_leaves_the_former_output(kb: Path, tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_text("former")
    rows = _batch(tmp_path, {"id": "a", "question": QUESTION}, {"id": "b", "question": "请故障"})
    result = run("ask", "--batch", rows, "--out", tmp_path / "out.jsonl")
    assert isinstance(result.exception, RuntimeError)  # a bug, not a bad input
    assert (tmp_path / "out.jsonl").read_text() == "former"
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == ["in.jsonl", "out.jsonl"]


def test_batch_files_that_cannot_be_used(kb: Path, tmp_path: Path) -> None:
    rows = _batch(tmp_path, {"id": "a", "question": QUESTION})
    refused("ask", "--batch", tmp_path / "none.jsonl", "--out", tmp_path / "o", says=("none.jsonl",))
    refused("ask", "--batch", rows, "--out", tmp_path / "no" / "o.jsonl", says=("o.jsonl",))
    refused("ask", "--batch", rows, says=("--out",))
    refused("ask", "问题", "--batch", rows, "--out", tmp_path / "o", says=("--batch",))
    refused("ask", says=("没有问题",))
    assert not (tmp_path / "o").exists()


# -- bad input -----------------------------------------------------------------------------------------------


def test_bad_files_are_named_and_nothing_is_written(tmp_path: Path, doc: Path) -> None:
    empty, binary, unreadable = (tmp_path / name for name in ("空.txt", "图.txt", "乱码.txt"))
    empty.touch()
    binary.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    unreadable.write_bytes(b"caf\xe9 au lait, tr\xe8s bon")
    (tmp_path / "nothing").mkdir()
    for path, says in [
        (tmp_path / "不存在.txt", "路径不存在"),
        (empty, "空文件"),
        (binary, "不是文本"),
        (unreadable, "编码无法识别"),
        (tmp_path / "nothing", "没有可读的文件"),
    ]:
        given = [path] if path.is_dir() else [doc, path]
        refused("ingest", *given, says=(says, str(path)))
    assert not (tmp_path / "kb").exists()


def test_another_model_is_named(doc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("ingest", doc)
    before = out_json("documents")
    doc.write_text(compilation(version=2), encoding="utf-8")
    monkeypatch.setattr("rag.ingest.sentence_encoder", lambda settings: FakeEncoder("another"))
    refused("ingest", doc, says=("fake@1", "another@1", "--kb"))
    assert out_json("documents") == before


def test_a_knowledge_base_in_use_is_named(doc: Path, tmp_path: Path) -> None:
    run("ingest", doc)
    with Store.open(tmp_path / "kb", writable=True):
        refused("ingest", doc, says=("另一个进程正在写入", str(tmp_path / "kb")))
        refused("remove", "汇编.txt", says=("另一个进程正在写入",))
        assert len(out_json("articles")) == 4  # reading goes on


def test_a_damaged_database_is_named(doc: Path, tmp_path: Path) -> None:
    run("ingest", doc)
    (tmp_path / "kb" / DATABASE).write_bytes(b"no database at all" * 300)
    for command in (["ingest", str(doc)], ["articles"], ["documents"], ["ask", "问题"]):
        refused(*command, says=("已损坏", str(tmp_path / "kb" / DATABASE)))


def test_a_damaged_index_is_rebuilt(doc: Path, tmp_path: Path) -> None:
    run("ingest", doc)
    index = tmp_path / "kb" / INDEX
    good = index.read_bytes()
    index.write_bytes(good[:100])
    assert run("ingest", doc).exit_code == 0
    assert index.read_bytes() == good


@pytest.mark.usefixtures("real_chain")
def test_bad_questions_are_refused() -> None:
    for command in (["ask"], ["ask", "--json"], ["search"]):
        refused(*command, " \n", says=("问题是空的",))
        refused(*command, "长" * 100_000, says=("100000", "2000"))
    refused("ask", "问题", "--article", "99", says=("99", "youju articles"))


@pytest.mark.usefixtures("real_chain")
def test_the_real_chain_answers_one_by_one_and_in_batches(tmp_path: Path) -> None:
    question = "垃圾分类责任落实到多少名专职人员"
    answer = out_json("ask", question)
    assert list(answer["retrieved"][0]) == [
        "document",
        "article",
        "title",
        "section",
        "start",
        "end",
        "score",
        "text",
    ]
    assert "垃圾分类" in answer["retrieved"][0]["text"]
    rows = _batch(tmp_path, {"id": 1, "question": question}, b"{", {"id": 3, "question": " "})
    result = run("ask", "--batch", rows, "--out", tmp_path / "out.jsonl")
    assert result.exit_code == 2
    assert ["第 2 行" in line or "第 3 行" in line for line in result.stderr.splitlines()] == [
        True,
        True,
        False,
    ]
    (row,) = _rows(tmp_path / "out.jsonl")
    assert list(row)[:2] == ["id", "question"]
    assert row["sentences"] == answer["sentences"]


@pytest.mark.usefixtures("real_chain")
def test_another_model_is_named_when_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rag.chain.sentence_encoder", lambda settings: FakeEncoder("another"))
    refused("ask", "问题", says=("fake@1", "another@1"))


def test_a_bad_setting_is_named(doc: Path, monkeypatch: pytest.MonkeyPatch, kb: Path) -> None:
    refused("serve", "--port", "99999", says=("port", "YOUJU_PORT"))
    monkeypatch.setenv("YOUJU_BATCH_SIZE", "many")
    refused("ingest", doc, says=("batch_size", "YOUJU_BATCH_SIZE"))


def test_a_malformed_settings_file_is_named(tmp_path: Path, kb: Path) -> None:
    (tmp_path / "youju.toml").write_text("port = = 1", encoding="utf-8")
    refused("ask", "问题", says=("youju.toml", "TOML"))


def test_serving_without_documents_needs_leave_to_add_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[Settings] = []
    monkeypatch.setattr("ui.serving.serve", lambda settings, listener, ready: served.append(settings))
    refused("serve", "--port", "0", says=("youju ingest",))
    for _ in range(2):  # the second time, an empty knowledge base is there
        assert run("serve", "--port", "0", "--allow-upload").exit_code == 0
    assert [settings.allow_upload for settings in served] == [True, True]
    assert (tmp_path / "kb" / DATABASE).exists()
    refused("serve", "--port", "0", says=("youju ingest",))


def test_a_port_in_use_is_named(kb: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused("serve", "--port", str(port), says=(f"127.0.0.1:{port}", "--port"))


# -- the program itself --------------------------------------------------------------------------------------


def _program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from rag.cli import main; main()", *arguments]
    variables = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(command, env=variables, capture_output=True, encoding="utf-8", check=False)


def test_no_traceback_from_the_program(tmp_path: Path) -> None:
    result = _program("ingest", str(tmp_path / "不存在"))
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr


def test_version_and_help() -> None:
    assert run("--version").stdout.startswith("youju ")
    shown = run("--help").stdout
    for command in ("ingest", "articles", "search", "ask", "remove", "documents", "serve", "prepare"):
        assert command in shown


def test_importing_the_command_line_is_quick() -> None:
    heavy = "{'torch', 'gradio', 'langchain_core', 'faiss', 'numpy', 'pydantic', 'jieba', 'fastapi'}"
    program = f"import sys, rag.cli; sys.exit(','.join({heavy} & set(sys.modules)) or 0)"
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.stderr == ""
    assert result.returncode == 0


def test_text_of_documents_cannot_steer_the_terminal() -> None:
    assert safe("治\x1b[2J理\u202e能\u3000力\n") == "治 [2J理 能\u3000力\n"
