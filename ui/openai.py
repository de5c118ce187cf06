"""What OpenAI's clients ask, under ``/v1``: ``GET /models`` and ``POST /chat/completions``, streamed or not.

The model is ``youju``: the chain, whatever writes its answers. The last user message is the question, the user's and
the assistant's messages before it are the history. System and developer messages are accepted and not obeyed: answers
say what the documents say, whoever asks, and no caller changes the prompt. Parameters of sampling have no meaning here
and are ignored; what would change the shape of the answer (tools, images, ``n``, JSON) is refused.

A message's content is the answer with its marks ``[n]`` and, after an empty line, the list of its citations, because
many clients show nothing else. The same as data: ``annotations`` as OpenAI has them, one for each mark
(``content[start_index:end_index]``, counted in code points), and beside ``choices`` the whole answer in ``youju``.

``usage`` is zero: no tokens are counted and none are charged.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain as chained
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt

from rag.config import Settings
from rag.records import Answer, AnswerSentence, Citation, Done, Event, Question, Turn
from ui import schemas
from ui.errors import ApiError, described
from ui.inputs import MAX_TURN, MAX_TURNS, Text, check_length
from ui.limits import MAX_BODY, limited_route
from ui.openapi import CHUNKS, openai_failures
from ui.rates import Rates, limited_rate
from ui.report import UNSUPPORTED
from ui.service import Service
from ui.streams import event_stream, whole

MODEL = "youju"
LISTED = "\n\n引用 Citations\n"  # between an answer and the list of its citations
USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
_BEAT = ": \n\n"  # a comment: nothing is said, but the line is used, so that a reader who is gone is noticed


class Unusable(ApiError):
    """A request that cannot be served, and the parameter at fault."""

    def __init__(self, code: str, param: str, message: str, status: int = 400) -> None:
        super().__init__(status, code, message)
        self.param = param


class PartIn(BaseModel):
    """A part of a message: text, or what is refused."""

    type: str
    text: Text = ""


def _as_parts(content: Any) -> Any:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


class MessageIn(BaseModel):
    """One message of the conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Annotated[
        list[PartIn] | None, BeforeValidator(_as_parts, json_schema_input_type=str | list[PartIn] | None)
    ] = None
    tool_calls: Any = None


class StreamOptionsIn(BaseModel):
    """How a stream is wanted."""

    include_usage: StrictBool | None = None


_EXAMPLE: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "护理员的入职奖励是多少？"}],
}


class ChatIn(BaseModel):
    """A conversation whose last user message is to be answered. Other parameters are accepted and ignored."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE, {**_EXAMPLE, "stream": True}]})
    model: Text
    messages: list[MessageIn] = Field(min_length=1, max_length=MAX_TURNS + 1)
    stream: StrictBool | None = None
    stream_options: StreamOptionsIn | None = None
    n: StrictInt | None = None
    tools: Any = None
    functions: Any = None
    response_format: Any = None


def openai_compatible(service: Service, settings: Settings, rates: Rates) -> APIRouter:
    """The routes under ``/v1``, whose errors ``openai_error`` shapes."""
    router = APIRouter(
        prefix="/v1",
        tags=["openai"],
        route_class=limited_route(MAX_BODY),
        responses=openai_failures(401, 403),
    )
    model = {"id": MODEL, "object": "model", "created": int(time.time()), "owned_by": MODEL}

    @router.get("/models", summary="模型 Models", responses={200: {"model": schemas.Models}})
    def models() -> Response:
        """The one model."""
        return JSONResponse({"object": "list", "data": [model]})

    @router.get(
        "/models/{name}",
        summary="一个模型 A model",
        responses={200: {"model": schemas.Model}, **openai_failures(404)},
    )
    def model_named(name: str) -> Response:
        """The model by its name."""
        _check_model(name)
        return JSONResponse(model)

    @router.post(
        "/chat/completions",
        summary="对话 Chat completion",
        dependencies=[Depends(limited_rate(rates, settings.rate))],
        responses={
            200: {"model": schemas.ChatCompletion, "content": CHUNKS},
            **openai_failures(400, 404, 413, 429, 503),
        },
    )
    async def completions(body: ChatIn, request: Request) -> Response:
        """An answer as a chat completion, or with `stream` as chunks of one."""
        question = _question(body, settings.max_question)
        page = request.scope.get("root_path", "") + "/"
        events = service.stream(question)
        if not body.stream:
            return JSONResponse(_completion(await whole(events, request), page))
        # A question that cannot be used fails at the first event, with a status of its own.
        first = await run_in_threadpool(next, events)
        usage = bool(body.stream_options and body.stream_options.include_usage)
        return event_stream(_streamed(chained([first], events), page, usage))

    return router


# --- The question ------------------------------------------------------------------------------------


def _question(body: ChatIn, max_question: int) -> Question:
    """The question that a conversation ends with. Raises ApiError where it asks for what there is not."""
    _check_model(body.model)
    _check_supported(body)
    turns = list(_turns(body.messages))
    asked = [place for place, turn in enumerate(turns) if turn.role == "user"]
    if not asked:
        raise Unusable("no_question", "messages", "没有用户的消息，请写下要问的内容 (no message of the user)")
    question, history = turns[asked[-1]].content, turns[: asked[-1]]
    check_length(question, max_question)
    if any(len(turn.content) > MAX_TURN for turn in history):
        raise Unusable(
            "message_too_long",
            "messages",
            f"此前的消息最多 {MAX_TURN:,} 字，请缩短 (an earlier message is too long)",
        )
    return Question(question, tuple(history))


def _check_model(name: str) -> None:
    if name != MODEL:
        raise Unusable(
            "model_not_found", "model", f"没有模型“{name}”，请写 {MODEL} (no such model: use {MODEL})", 404
        )


def _check_supported(body: ChatIn) -> None:
    """Raises Unusable for what would change the shape of the answer."""
    asked = {
        "tools": body.tools,
        "functions": body.functions,
        "n": body.n not in (None, 1),
        "response_format": body.response_format not in (None, {"type": "text"}),
    }
    for param, wanted in asked.items():
        if wanted:
            raise Unusable("unsupported_parameter", param, f"不支持 {param}，请去掉 (not supported: {param})")


def _turns(messages: Sequence[MessageIn]) -> Iterator[Turn]:
    """The user's and the assistant's messages as text, an earlier answer without its list of citations."""
    for number, message in enumerate(messages):
        place = f"messages[{number}]"
        if message.role in ("tool", "function") or message.tool_calls:
            raise Unusable("unsupported_message", place, "不支持工具调用 (tools are not supported)")
        if message.role == "user":
            yield Turn("user", _text(message, place))
        elif message.role == "assistant":
            yield Turn("assistant", _text(message, place).partition(LISTED)[0])


def _text(message: MessageIn, place: str) -> str:
    parts = message.content or []
    for number, part in enumerate(parts):
        if part.type != "text":
            raise Unusable(
                "unsupported_content",
                f"{place}.content[{number}].type",
                f"消息里只能有文字，不能有 {part.type} (only parts of type text are supported)",
            )
    return "\n".join(part.text for part in parts)


# --- The answer --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Written:
    """An answer as a message: its content, a piece for each sentence and one for the list, and its annotations."""

    pieces: tuple[str, ...]
    annotations: tuple[dict[str, Any], ...]


def written(answer: Answer, page: str) -> Written:
    """The answer as a message; ``page`` is the path of the page that opens citations."""
    known = {citation.n: citation for citation in answer.citations}
    pieces: list[str] = []
    annotations: list[dict[str, Any]] = []
    length = 0
    before: AnswerSentence | None = None
    for sentence in answer.sentences:
        piece = sentence.gap(before) + sentence.text
        piece += UNSUPPORTED if sentence.support == "unsupported" else ""
        for n in sentence.citations:
            start, mark = length + len(piece), f"[{n}]"
            piece += mark
            annotations.append(_annotation(known[n], start, start + len(mark), page))
        pieces.append(piece)
        length += len(piece)
        before = sentence
    if answer.citations:
        pieces.append(LISTED + "\n".join(map(_listed, answer.citations)))
    return Written(tuple(pieces), tuple(annotations))


def _annotation(citation: Citation, start: int, end: int, page: str) -> dict[str, Any]:
    """A mark ``[start, end)`` of the content, and where it leads."""
    place = {"document": citation.document, "start": citation.start, "end": citation.end}
    return {
        "type": "url_citation",
        "url_citation": {
            "start_index": start,
            "end_index": end,
            "title": _origin(citation),
            "url": f"{page}#{urlencode(place, quote_via=quote)}",
        },
    }


def _listed(citation: Citation) -> str:
    return f"- [{citation.n}] {_origin(citation)}：“{citation.quote}”"


def _origin(citation: Citation) -> str:
    return " › ".join((f"《{citation.article.title}》", *citation.section))


def _completion(answer: Answer, page: str) -> dict[str, Any]:
    message = written(answer, page)
    content = {
        "role": "assistant",
        "content": "".join(message.pieces),
        "refusal": None,
        "annotations": list(message.annotations),
    }
    return {
        **_head("chat.completion"),
        "choices": [{"index": 0, "message": content, "logprobs": None, "finish_reason": "stop"}],
        "usage": USAGE,
        "youju": answer.as_json(),
    }


def _streamed(events: Iterator[Event], page: str, usage: bool) -> Generator[str, None, None]:
    """The answer as chunks, sentence by sentence once it stands; what fails on the way is the last thing said.

    A client joins what it is sent and takes nothing back, while the chain may discard a language model's draft as late
    as after its last sentence. So nothing is said before the chain is done. Without a language model that is at once.
    """
    head = {**_head("chat.completion.chunk"), **({"usage": None} if usage else {})}
    try:
        yield _chunk(head, {"role": "assistant", "content": ""})
        for event in events:
            if isinstance(event, Done):
                yield from _chunks(head, event.answer, page)
            else:
                yield _BEAT
        if usage:
            yield _data({**head, "choices": [], "usage": USAGE})
        yield "data: [DONE]\n\n"
    except Exception as error:  # the status is sent already: the stream itself says it
        yield _data(openai_error(error)[1])


def _chunks(head: dict[str, Any], answer: Answer, page: str) -> Iterator[str]:
    """All annotations are in the last chunk: OpenAI's client cannot join lists without indices."""
    message = written(answer, page)
    for piece in message.pieces:
        yield _chunk(head, {"content": piece})
    yield _chunk(head, {"annotations": list(message.annotations)}, "stop", youju=answer.as_json())


def _head(kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": MODEL}


def _chunk(head: dict[str, Any], delta: dict[str, Any], finish: str | None = None, **more: Any) -> str:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return _data({**head, "choices": [choice], **more})


def _data(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


# --- Errors ------------------------------------------------------------------------------------------


def openai_error(error: Exception) -> tuple[int, dict[str, Any]]:
    """Status and body for an error as OpenAI has them, which answers 400 to what ``/api`` answers 422."""
    status, content = described(error)
    return 400 if status == 422 else status, {
        "error": {
            **content["error"],
            "type": "invalid_request_error" if status < 500 else "server_error",
            "param": _param(error),
        }
    }


def _param(error: Exception) -> str | None:
    """The parameter at fault, such as ``messages[0].role``."""
    match error:
        case Unusable():
            return error.param
        case RequestValidationError():
            first = error.errors()[0]
            named = [] if first["type"] == "json_invalid" else first["loc"][1:]
            path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in named)
            return path.removeprefix(".") or None
        case _:
            return None
