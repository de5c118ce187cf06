"""OpenAI's own client and LangChain's, unchanged, against a real server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fakes_ui import BROKEN, DOUBTFUL, MAX_QUESTION, NAME, FakeChain, fake_chain, written
from fastapi.testclient import TestClient
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI
from openai import APIError, APIStatusError, AsyncOpenAI, BadRequestError, NotFoundError, OpenAI
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import SecretStr
from test_chat_browser import Site

from rag.config import Settings
from rag.records import AnswerSentence, Cited, Discarded, Done, Event, Question, Said
from ui.app import create_app
from ui.limits import MAX_BODY
from ui.openai import LISTED

DOCS = Path(__file__).parent.parent / "docs" / "api.md"
QUESTION = "青禾县到2027年建成多少个数字乡村示范村？"
SENTENCE = "到2027年，全县行政村5G覆盖率达到98%，建成数字乡村示范村36个。"
LISTING = "村级网格员、田间课堂、返乡青年"  # answered by three items
UNKNOWN = "火星移民"
ASKED: list[Any] = [{"role": "user", "content": QUESTION}]
TITLE = "《关于加快青禾县数字乡村建设的实施意见》 › 一、总体目标"
ALONE = {"Connection": "close"}  # a kept connection may be closed by the server just as it is used again


@pytest.fixture(scope="module")
def client(site: Site) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{site.url}/v1", api_key="any", max_retries=0, default_headers=ALONE) as found:
        yield found


@pytest.fixture(scope="module")
def langchain(site: Site) -> ChatOpenAI:
    return ChatOpenAI(
        model="youju",
        base_url=f"{site.url}/v1",
        api_key=SecretStr("any"),
        stream_usage=True,
        max_retries=0,
        default_headers=ALONE,
    )


def user(content: Any) -> list[Any]:
    return [{"role": "user", "content": content}]


def ask(client: OpenAI, question: str) -> ChatCompletion:
    return client.chat.completions.create(model="youju", messages=user(question))


def ask_streamed(client: OpenAI, question: str, **more: Any) -> list[ChatCompletionChunk]:
    return list(client.chat.completions.create(model="youju", messages=user(question), stream=True, **more))


def told(chunks: list[ChatCompletionChunk]) -> list[str]:
    """What a client joins, chunk by chunk."""
    return [
        chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content
    ]


def extra(found: Any, name: str = "youju") -> Any:
    """A field that OpenAI's types do not have."""
    return found.model_extra[name]


def timeless(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "timings_ms"}


# --- An answer -------------------------------------------------------------------------------------


def test_the_models_are_one(client: OpenAI) -> None:
    (model,) = client.models.list().data
    assert (model.id, model.object, model.owned_by) == ("youju", "model", "youju")
    assert client.models.retrieve("youju") == model
    with pytest.raises(NotFoundError) as raised:
        client.models.retrieve("gpt-4o")
    assert (raised.value.code, raised.value.param) == ("model_not_found", "model")


def test_an_answer_is_text_with_marks_and_the_list_of_its_citations(client: OpenAI, site: Site) -> None:
    completion = ask(client, QUESTION)
    (choice,) = completion.choices
    assert choice.message.content == f"{SENTENCE}[1]\n\n引用 Citations\n- [1] {TITLE}：“{SENTENCE}”"
    assert (choice.finish_reason, choice.message.role, choice.message.refusal) == ("stop", "assistant", None)
    assert (completion.object, completion.model) == ("chat.completion", "youju")
    assert completion.usage and completion.usage.total_tokens == 0
    assert timeless(extra(completion)) == timeless(site.answer(QUESTION))


@pytest.mark.parametrize("question", [QUESTION, LISTING, f"{DOUBTFUL}：{LISTING}"])
def test_annotations_point_at_the_marks_and_lead_to_the_quotes(client: OpenAI, question: str) -> None:
    completion = ask(client, question)
    message, answer, text = completion.choices[0].message, extra(completion), written()[0].text
    assert message.content and message.annotations
    quotes = {f"[{c['n']}]": c["quote"] for c in answer["citations"]}
    marks = []
    for annotation in message.annotations:
        cited = annotation.url_citation
        marks.append(message.content[cited.start_index : cited.end_index])
        path, _, place = cited.url.partition("#")
        fields = parse_qs(place)
        assert (path, fields["document"]) == ("/", [NAME])
        assert text[int(fields["start"][0]) : int(fields["end"][0])] == quotes[marks[-1]]
        assert f"- {marks[-1]} {cited.title}：“{quotes[marks[-1]]}”" in message.content
    assert marks == [f"[{n}]" for sentence in answer["sentences"] for n in sentence["citations"]]
    assert re.findall(r"\[\d+\]", message.content.partition(LISTED)[0]) == marks


def test_list_items_stand_each_on_a_line(client: OpenAI) -> None:
    completion = ask(client, LISTING)
    content = completion.choices[0].message.content
    assert content and len(extra(completion)["citations"]) == 3
    assert content.partition(LISTED)[0] == extra(completion)["answer"]
    assert [line[:4] for line in content.splitlines()[:3]] == ["- 一是", "- 二是", "- 三是"]


def test_a_sentence_without_support_says_so(client: OpenAI) -> None:
    content = ask(client, f"{DOUBTFUL}：{QUESTION}").choices[0].message.content
    assert content and f"{SENTENCE}[1]这句话没有出处。【未找到依据】{LISTED}" in content


def test_a_refusal_is_an_ordinary_answer(client: OpenAI) -> None:
    completion = ask(client, UNKNOWN)
    (choice,) = completion.choices
    assert choice.message.content == "这些文件没有提到这个问题。"
    assert (choice.finish_reason, choice.message.annotations) == ("stop", [])
    assert extra(completion)["refused"] is True


def test_behind_a_proxy_a_link_keeps_the_path_of_the_page(tmp_path: Path) -> None:
    app = create_app(Settings(kb=tmp_path, max_question=MAX_QUESTION), fake_chain(tmp_path))
    with TestClient(app, base_url="http://127.0.0.1", root_path="/docs") as client:
        body = {"model": "youju", "messages": ASKED}
        message = client.post("/docs/v1/chat/completions", json=body).json()["choices"][0]["message"]
    assert message["annotations"][0]["url_citation"]["url"].startswith("/docs/#document=")


# --- A stream --------------------------------------------------------------------------------------


@pytest.mark.parametrize("question", [QUESTION, LISTING, UNKNOWN, f"{DOUBTFUL}：{LISTING}"])
def test_a_stream_joins_to_the_whole_answer(client: OpenAI, question: str) -> None:
    chunks = ask_streamed(client, question)
    completion = ask(client, question)
    message, answer = completion.choices[0].message, extra(completion)
    pieces = told(chunks)
    assert "".join(pieces) == message.content
    assert len(pieces) == len(answer["sentences"]) + bool(answer["citations"])
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert chunks[0].choices[0].delta.role == "assistant"
    assert len({chunk.id for chunk in chunks}) == 1
    assert timeless(extra(chunks[-1])) == timeless(answer)
    assert extra(chunks[-1].choices[0].delta, "annotations") == [
        annotation.model_dump() for annotation in message.annotations or []
    ]


def test_the_clients_own_helper_joins_a_stream(client: OpenAI) -> None:
    with client.chat.completions.stream(model="youju", messages=user(LISTING)) as stream:
        completion = stream.get_final_completion()
    expected = ask(client, LISTING).choices[0].message
    assert completion.choices[0].message.content == expected.content
    assert completion.choices[0].message.annotations == expected.annotations


def test_usage_comes_last_where_it_is_asked_for(client: OpenAI) -> None:
    *chunks, last = ask_streamed(client, QUESTION, stream_options={"include_usage": True})
    assert last.choices == [] and last.usage and last.usage.total_tokens == 0
    assert all(chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_stream_ends_with_done(site: Site) -> None:
    body = {"model": "youju", "messages": ASKED, "stream": True}
    response = httpx.post(f"{site.url}/v1/chat/completions", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.endswith("data: [DONE]\n\n")


@pytest.fixture
def played(chain: FakeChain) -> Iterator[list[Event | Exception]]:
    """Events that the chain plays after its own first one, an exception among them being raised."""
    real, events = chain.stream, []

    def playing(question: Question) -> Iterator[Event]:
        yield next(real(question))
        for event in events:
            if isinstance(event, Exception):
                raise event
            yield event

    chain.stream = playing  # type: ignore[method-assign]
    yield events
    del chain.stream  # type: ignore[method-assign]


def test_a_discarded_draft_is_never_told(
    client: OpenAI, chain: FakeChain, played: list[Event | Exception]
) -> None:
    *_, done = FakeChain(chain.store).stream(Question(QUESTION))
    assert isinstance(done, Done)
    (citation,) = done.answer.citations
    draft = AnswerSentence("草稿里的话。", (1,), "supported")
    played += [Cited(replace(citation, quote="草稿")), Said(draft), Discarded("不成立"), Cited(citation)]
    played += [*map(Said, done.answer.sentences), done]
    chunks = ask_streamed(client, QUESTION)
    assert "".join(told(chunks)).startswith(f"{SENTENCE}[1]{LISTED}")
    assert "草稿" not in "".join(chunk.model_dump_json() for chunk in chunks)


def test_a_failure_in_mid_stream_is_raised(client: OpenAI, played: list[Event | Exception]) -> None:
    played.append(RuntimeError("the fake breaks in the middle"))
    with pytest.raises(APIError) as raised:
        ask_streamed(client, QUESTION)
    assert (raised.value.code, raised.value.type) == ("internal", "server_error")
    assert "fake breaks" not in raised.value.message


async def test_asynchronously(site: Site) -> None:
    async with AsyncOpenAI(base_url=f"{site.url}/v1", api_key="any") as client:
        completion = await client.chat.completions.create(model="youju", messages=ASKED)
        stream = await client.chat.completions.create(model="youju", messages=ASKED, stream=True)
        chunks = [chunk async for chunk in stream]
    assert "".join(told(chunks)) == completion.choices[0].message.content


# --- LangChain -------------------------------------------------------------------------------------


def test_langchain_invokes_and_streams(langchain: ChatOpenAI, client: OpenAI) -> None:
    content = ask(client, QUESTION).choices[0].message.content
    answer = langchain.invoke([SystemMessage("用英文回答。"), HumanMessage(QUESTION)])
    assert answer.content == content
    assert answer.response_metadata["finish_reason"] == "stop"
    chunks = list(langchain.stream(QUESTION))
    assert "".join(str(chunk.content) for chunk in chunks) == content
    assert any(chunk.usage_metadata for chunk in chunks)


def test_langchain_keeps_a_conversation(langchain: ChatOpenAI, chain: FakeChain) -> None:
    first = langchain.invoke(QUESTION)
    langchain.invoke([HumanMessage(QUESTION), AIMessage(first.content), HumanMessage("那么资金呢？")])
    asked = chain.asked[-1]
    assert asked.text == "那么资金呢？"
    assert [(turn.role, turn.content) for turn in asked.history] == [
        ("user", QUESTION),
        ("assistant", f"{SENTENCE}[1]"),  # without the list of its citations
    ]


# --- The question ----------------------------------------------------------------------------------


def test_the_last_user_message_is_asked_and_no_instruction_obeyed(client: OpenAI, chain: FakeChain) -> None:
    messages: list[Any] = [
        {"role": "system", "content": "只用一个字回答。" * 5_000},
        {"role": "user", "content": "早"},
        {"role": "developer", "content": [{"type": "text", "text": "不要引用。"}]},
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "您好。"}, {"type": "text", "text": "请问。"}],
        },
        {"role": "user", "content": [{"type": "text", "text": QUESTION}]},
        {"role": "assistant", "content": "我想"},
    ]
    completion = client.chat.completions.create(model="youju", messages=messages)
    assert completion.choices[0].message.content == ask(client, QUESTION).choices[0].message.content
    assert chain.asked[-2].text == QUESTION
    assert [turn.content for turn in chain.asked[-2].history] == ["早", "您好。\n请问。"]


def test_an_answer_can_be_sent_back_as_it_came(client: OpenAI, chain: FakeChain) -> None:
    message: Any = ask(client, QUESTION).choices[0].message
    messages = [*ASKED, message, *user("那么资金呢？")]
    client.chat.completions.create(model="youju", messages=messages)
    assert [turn.content for turn in chain.asked[-1].history] == [QUESTION, f"{SENTENCE}[1]"]


def test_parameters_of_sampling_are_ignored(client: OpenAI) -> None:
    completion = client.chat.completions.create(
        model="youju",
        messages=ASKED,
        temperature=1.5,
        top_p=0.1,
        max_tokens=1,
        stop=["。"],
        seed=7,
        n=1,
        tools=[],
        response_format={"type": "text"},
        user="someone",
        extra_body={"min_p": 0.05, "options": {"num_ctx": 1}},
    )
    assert completion.choices[0].message.content == ask(client, QUESTION).choices[0].message.content


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        ({"messages": user([IMAGE])}, 400, "unsupported_content", "messages[0].content[0].type"),
        (
            {"messages": [*user([{"type": "text", "text": "看图"}, IMAGE]), *ASKED]},
            400,
            "unsupported_content",
            "messages[0].content[1].type",
        ),
        ({"tools": [TOOL]}, 400, "unsupported_parameter", "tools"),
        ({"functions": [{"name": "f"}]}, 400, "unsupported_parameter", "functions"),
        ({"n": 2}, 400, "unsupported_parameter", "n"),
        ({"n": 0}, 400, "unsupported_parameter", "n"),
        ({"response_format": {"type": "json_object"}}, 400, "unsupported_parameter", "response_format"),
        (
            {"messages": [*ASKED, {"role": "tool", "tool_call_id": "1", "content": "x"}]},
            400,
            "unsupported_message",
            "messages[1]",
        ),
        (
            {"messages": [{"role": "assistant", "content": None, "tool_calls": [CALL]}, *ASKED]},
            400,
            "unsupported_message",
            "messages[0]",
        ),
        ({"model": "gpt-4o"}, 404, "model_not_found", "model"),
        ({"model": None}, 400, "invalid_request", "model"),
        ({"messages": []}, 400, "invalid_request", "messages"),
        ({"messages": "问"}, 400, "invalid_request", "messages"),
        ({"messages": ASKED * 102}, 400, "invalid_request", "messages"),
        ({"messages": user(7)}, 400, "invalid_request", "messages[0].content"),
        ({"messages": [{"role": "boss", "content": "问"}]}, 400, "invalid_request", "messages[0].role"),
        ({"messages": [{"role": "system", "content": "问"}]}, 400, "no_question", "messages"),
        ({"messages": user(" \n")}, 400, "empty_question", None),
        ({"messages": user(None)}, 400, "empty_question", None),
        ({"messages": user("问" * (MAX_QUESTION + 1))}, 413, "question_too_long", None),
        ({"messages": [*user("问" * 20_001), *ASKED]}, 400, "message_too_long", "messages"),
        ({"stream": "maybe"}, 400, "invalid_request", "stream"),
        ({"stream_options": 1}, 400, "invalid_request", "stream_options"),
    ],
)
def test_a_request_that_cannot_be_served_is_told(
    site: Site, body: dict[str, Any], status: int, code: str, param: str | None
) -> None:
    for stream in (False, True):
        sent = {"model": "youju", "messages": ASKED, "stream": stream, **body}
        assert error(httpx.post(f"{site.url}/v1/chat/completions", json=sent)) == (status, code, param)


@pytest.mark.parametrize(
    ("content", "status", "code", "param"),
    [
        (b"{", 400, "bad_json", None),
        (b"\xff\xfe", 400, "bad_json", None),
        (b"[]", 400, "invalid_request", None),
        (b'{"model": "\\ud800", "messages": []}', 400, "invalid_request", "model"),  # half a character
        (
            b'{"model": "youju", "messages": [{"role": "user", "content": "\\ud800"}]}',
            400,
            "invalid_request",
            "messages[0].content[0].text",
        ),
        (b'{"model": "' + b"a" * MAX_BODY + b'"}', 413, "body_too_large", None),
    ],
)
def test_a_body_that_cannot_be_read_is_told(
    site: Site, content: bytes, status: int, code: str, param: str | None
) -> None:
    headers = {"content-type": "application/json"}
    address = f"{site.url}/v1/chat/completions"
    assert error(httpx.post(address, content=content, headers=headers)) == (status, code, param)
    parts = iter([content[:100], content[100:]])  # of a length that is not announced
    assert error(httpx.post(address, content=parts, headers=headers)) == (status, code, param)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("POST", "/v1/embeddings", 404, "not_found"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
    ],
)
def test_what_there_is_not_is_told(site: Site, method: str, path: str, status: int, code: str) -> None:
    assert error(httpx.request(method, site.url + path)) == (status, code, None)


def error(response: httpx.Response) -> tuple[int, str, str | None]:
    """Status, code and parameter of an error, which has the shape that OpenAI's errors have."""
    body = response.json()
    assert set(body) == {"error"}
    found = body["error"]
    assert set(found) == {"message", "type", "code", "param"}
    assert found["message"] and found["type"] == "invalid_request_error"
    return response.status_code, found["code"], found["param"]


def test_the_client_knows_the_errors(client: OpenAI) -> None:
    with pytest.raises(BadRequestError) as refused:
        client.chat.completions.create(model="youju", messages=ASKED, n=3)
    assert (refused.value.code, refused.value.param) == ("unsupported_parameter", "n")
    with pytest.raises(APIStatusError) as broken:
        ask(client, BROKEN)
    assert (broken.value.status_code, broken.value.type, broken.value.code) == (
        500,
        "server_error",
        "internal",
    )
    assert "fake breaks" not in broken.value.message


# --- The documentation -----------------------------------------------------------------------------


def test_the_documented_places_are_there(client: OpenAI) -> None:
    """What the table of docs/api.md names."""
    completion = ask(client, QUESTION).model_dump()
    for path in ("choices[0].message.content", "choices[0].message.annotations", "youju"):
        assert f"`{path}`" in DOCS.read_text(encoding="utf-8")
        found: Any = completion
        for step in re.findall(r"\w+", path):
            found = found[int(step)] if step.isdigit() else found[step]
        assert found
    url = completion["choices"][0]["message"]["annotations"][0]["url_citation"]["url"]
    assert urlsplit(url).fragment.startswith("document=")
