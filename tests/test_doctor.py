"""``youju doctor``: each part of an installation, in order or with what to mend; and the scripted model that it can try."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes import FakeEncoder
from typer.testing import CliRunner

from eval.scripted import PRESETS, Reply, ScriptedServer
from rag.cli import app
from rag.config import Settings
from rag.doctor import Finding, examine
from rag.errors import LanguageModelError
from rag.ingest import ingest
from rag.llm import open_model

Examine = Callable[..., dict[str, Finding]]


@pytest.fixture
def examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Examine:
    """The findings by the first word of their part, over a small knowledge base and an encoder that needs no model."""
    monkeypatch.setattr("rag.doctor.sentence_encoder", lambda settings: FakeEncoder())
    file = tmp_path / "办法.txt"
    file.write_text("第一条 试点期为三年。每家补助5万元。", "utf-8")
    kb = tmp_path / "kb"
    ingest([file], Settings(kb=kb), FakeEncoder())

    def found(**options: object) -> dict[str, Finding]:
        settings = Settings(**{"kb": kb, "reader": "none", "checker": "lexical", "llm_retries": 0, **options})  # type: ignore[arg-type]
        return {finding.part.split()[0]: finding for finding in examine(settings)}

    return found


def test_what_is_in_order_says_what_it_is(examined: Examine) -> None:
    found = examined()
    assert list(found) == ["嵌入模型", "知识库", "阅读模型", "语言模型", "核对模型"]
    assert all(finding.ok and not finding.remedy for finding in found.values())
    assert "1 份文档, 1 篇文章" in found["知识库"].detail
    assert "回答为原文摘录" in found["语言模型"].detail and "用不着" in found["核对模型"].detail


def test_a_model_that_answers_is_timed(examined: Examine) -> None:
    with ScriptedServer([Reply("好", pause=0.2)]) as server:
        finding = examined(llm="openai:scripted", llm_base_url=server.address)["语言模型"]
    assert finding.ok and f"openai:scripted @ {server.address}" in finding.detail
    first = float(finding.detail.split("首字 ")[1].split(" s")[0])
    assert 0.2 <= first < 5


def test_the_checker_is_tried_where_a_model_writes(examined: Examine) -> None:
    with ScriptedServer([Reply("是")]) as server:
        options = {"llm": "openai:scripted", "llm_base_url": server.address}
        assert examined(**options)["核对模型"].detail.startswith("lexical: 0.")
        assert examined(checker="llm", **options)["核对模型"].detail.startswith("llm: 1.00")
        missing = examined(checker="nobody/none", **options)["核对模型"]
    assert not missing.ok and "YOUJU_CHECKER" in missing.remedy


@pytest.mark.parametrize(
    "reply, words, remedy",
    [
        (Reply(fault="status", status=401), "密钥不对", "YOUJU_LLM_API_KEY"),
        (Reply(fault="status", status=404), "没有这个模型或地址", "YOUJU_LLM_BASE_URL"),
        (Reply(fault="status", status=429), "请求太多", "稍后再试"),
        (Reply(fault="status", status=503), "服务出错 503", "日志"),
        (Reply("好", fault="hang"), "1 秒内没有答完", "llm_timeout"),
        (Reply(fault="malformed"), "回应不能用", "日志"),
    ],
)
def test_what_is_wrong_with_a_model_is_named_with_its_remedy(
    examined: Examine, reply: Reply, words: str, remedy: str
) -> None:
    with ScriptedServer([reply]) as server:
        finding = examined(
            llm="openai:scripted", llm_base_url=server.address, llm_api_key="sk-secret", llm_timeout=1
        )["语言模型"]
    assert not finding.ok and words in finding.detail and remedy in finding.remedy
    assert "sk-secret" not in f"{finding}"


def test_a_server_that_is_not_there_and_a_knowledge_base_that_is_not(
    examined: Examine, tmp_path: Path
) -> None:
    found = examined(kb=tmp_path / "none", llm="openai:x", llm_base_url="http://127.0.0.1:9/v1")
    assert not found["知识库"].ok and "youju ingest" in found["知识库"].remedy
    assert not found["语言模型"].ok and "连接" in found["语言模型"].detail
    assert found["嵌入模型"].ok  # one fault hides no other part


def test_the_command_prints_each_part_and_fails_where_one_does(
    examined: Examine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("YOUJU_READER", "none")
    good = CliRunner().invoke(app, ["doctor", "--kb", str(tmp_path / "kb"), "--json"])
    assert good.exit_code == 0 and [f["ok"] for f in json.loads(good.stdout)] == [True] * 5
    bad = CliRunner().invoke(app, ["doctor", "--kb", str(tmp_path / "none")])
    assert bad.exit_code == 1 and "知识库" in bad.output and "youju ingest" in bad.output


# -- the scripted model as a command ---------------------------------------------------------------------------


def test_the_scripted_model_is_served_by_the_command() -> None:
    start = "from rag.cli import main; main()"
    command = [sys.executable, "-c", start, "eval", "scripted-llm", "refusing", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        line = process.stdout.readline().strip()
        address = line.partition("YOUJU_LLM_BASE_URL=")[2]
        try:
            model = open_model(Settings(llm="openai:scripted", llm_base_url=address))
            assert model and model.complete([("user", "问")]) == "文档中没有。"  # type: ignore[list-item]
        finally:
            process.terminate()


def test_an_unknown_behaviour_names_those_there_are() -> None:
    from eval.cli import app as evaluation

    result = CliRunner().invoke(evaluation, ["scripted-llm", "friendly"])
    assert result.exit_code == 2 and all(preset in result.output for preset in PRESETS)


def test_retries_end_in_the_error_of_the_last_one() -> None:
    with ScriptedServer([Reply(fault="status", status=500)]) as server:
        model = open_model(Settings(llm="openai:x", llm_base_url=server.address, llm_retries=2))
        assert model
        with pytest.raises(LanguageModelError, match="服务出错 500"):
            model.complete([("user", "问")])  # type: ignore[list-item]
    assert len(server.requests) == 3
