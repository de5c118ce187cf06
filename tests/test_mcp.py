"""The tools for assistants, called by the SDK's own client: over HTTP on a real server, and over stdio."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fakes_ui import BROKEN, MAX_QUESTION, NAME, fake_chain, written
from mcp import Client, StdioServerParameters
from running import running

from rag.config import Settings
from rag.errors import ConfigError
from ui.app import create_app, mcp_tools

QUESTION = "青禾县到2027年建成多少个数字乡村示范村？"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    chain = fake_chain(tmp_path_factory.mktemp("kb"))
    settings = Settings(kb=tmp_path_factory.mktemp("unused"), max_question=MAX_QUESTION, mcp=True)
    with running(create_app(settings, chain)) as address:
        yield f"{address}/mcp"


async def call(url: str, tool: str, **arguments: Any) -> Any:
    """What a tool returns, as data."""
    async with Client(url) as client:
        result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content


async def failed(url: str, tool: str, **arguments: Any) -> str:
    """What a tool says that cannot do it."""
    async with Client(url) as client:
        result = await client.call_tool(tool, arguments)
    assert result.is_error
    return result.content[0].text  # type: ignore[union-attr]


async def test_three_tools_that_only_read_and_describe_what_they_return(url: str) -> None:
    async with Client(url) as client:
        listed = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(listed) == {"search", "ask", "read_source"}
    for tool in listed.values():
        assert tool.annotations and tool.annotations.read_only_hint
        assert tool.output_schema and tool.description
    assert listed["read_source"].input_schema["required"] == ["document", "start", "end"]


async def test_an_answer_comes_with_citations_that_read_source_finds(url: str) -> None:
    answer = await call(url, "ask", question=QUESTION)
    assert answer["answer"] == "到2027年，全县行政村5G覆盖率达到98%，建成数字乡村示范村36个。[1]"
    assert answer["refused"] is False
    assert answer["sentences"][0]["support"] == "quoted"
    (citation,) = answer["citations"]
    assert citation["article"] == "关于加快青禾县数字乡村建设的实施意见"
    assert citation["section"] == ["一、总体目标"]
    place = {key: citation[key] for key in ("document", "start", "end")}
    source = await call(url, "read_source", **place, context=8)
    text = written()[0].text
    assert source["text"] == citation["quote"] == text[citation["start"] : citation["end"]]
    assert source["before"] == text[citation["start"] - 8 : citation["start"]]
    assert source["after"] == text[citation["end"] : citation["end"] + 8]
    assert source["section"] == ["一、总体目标"]


async def test_what_the_documents_do_not_hold_is_refused(url: str) -> None:
    answer = await call(url, "ask", question="火星移民")
    assert (answer["refused"], answer["citations"]) == (True, [])


async def test_search_gives_passages_best_first(url: str) -> None:
    passages = (await call(url, "search", question=QUESTION, limit=3))["passages"]
    assert len(passages) == 3
    assert passages[0]["text"].startswith("到2027年")
    assert passages[0]["document"] == NAME


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("ask", {"question": " "}, "问题是空的"),
        ("ask", {"question": "问" * (MAX_QUESTION + 1)}, "最多 200 字"),
        ("search", {"question": ""}, "问题是空的"),
        ("search", {"question": "问", "limit": 0}, "greater than or equal to 1"),
        ("read_source", {"document": "别的.txt", "start": 0, "end": 1}, "没有名为“别的.txt”的文件"),
        ("read_source", {"document": NAME, "start": 9, "end": 9}, "不在文件内"),
        ("read_source", {"document": NAME, "start": 0, "end": 10**9}, "不在文件内"),
    ],
)
async def test_what_cannot_be_done_is_a_tool_error(
    url: str, tool: str, arguments: dict[str, Any], says: str
) -> None:
    assert says in await failed(url, tool, **arguments)


async def test_an_unforeseen_failure_is_not_shown(url: str) -> None:
    assert await failed(url, "ask", question=BROKEN) == "Error executing tool ask"


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Host": "rebound.example"}, 421), ({"Origin": "http://elsewhere.example"}, 403)],
)
def test_pages_from_elsewhere_are_refused(url: str, headers: dict[str, str], status: int) -> None:
    request = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    accept = {"Accept": "application/json, text/event-stream"}
    assert httpx.post(url, json=request, headers=accept | headers).status_code == status


def test_it_is_off_by_default(tmp_path: Path) -> None:
    assert Settings(kb=tmp_path).mcp is False
    app = create_app(Settings(kb=tmp_path), fake_chain(tmp_path / "kb"))
    assert "/mcp" not in {getattr(route, "path", None) for route in app.routes}


def test_a_missing_package_is_named_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ui.mcp", raising=False)
    monkeypatch.setitem(sys.modules, "mcp.server.mcpserver", None)
    monkeypatch.delattr("ui.mcp", raising=False)
    with pytest.raises(ConfigError, match=r'pip install "youju\[mcp\]"'):
        mcp_tools()


@pytest.mark.slow
async def test_over_stdio(sample_kb: Path) -> None:
    command = ["-c", "from rag.cli import main; main()", "mcp", "--kb", str(sample_kb)]
    async with Client(StdioServerParameters(command=sys.executable, args=command)) as client:
        result = await client.call_tool("ask", {"question": "护理员的入职奖励是多少？"})
    assert result.structured_content and result.structured_content["citations"]
