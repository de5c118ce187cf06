"""Tools for assistants by the Model Context Protocol: ``search``, ``ask`` and ``read_source``.

At ``/mcp`` by streamable HTTP, without sessions, so that any worker answers any request; or on stdin and stdout. What
the tools return is described by the models below. Errors that an assistant can mend are tool errors with our messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Request
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

from rag.config import Settings
from rag.errors import YoujuError
from rag.records import Answer, Citation, Passage, Question, Support
from ui.api import MAX_CONTEXT, place
from ui.errors import ApiError
from ui.inputs import AskIn, check_length, checked_span, document_named, question_of
from ui.limits import MAX_BODY
from ui.rates import Rates, count
from ui.service import Service

PATH = "/mcp"
_INSTRUCTIONS = (
    "有据回答关于一批中文文档的问题, 每句话都注明出处。先用 ask; 要更多原文用 search 和 read_source。"
    "Answers questions about a body of Chinese documents; every sentence is cited. Places are half-open ranges of"
    " Unicode code points in a document. Documents that do not hold the answer lead to refused: true."
)
_READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)

Asking = Context[None, Request]
Text = Annotated[str, Field(description="问题, 中文最好 (the question, best in Chinese)")]


class Place(BaseModel):
    """Where something stands: the characters [start, end) of a document."""

    document: str
    article: str = Field(description="title of the article that holds the place")
    section: list[str] = Field(description="headings above the place, outermost first")
    start: int
    end: int


class PassageOut(Place):
    """A passage and how near to the question it is."""

    text: str
    score: float


class Found(BaseModel):
    """Passages, best first."""

    passages: list[PassageOut]


class CitationOut(Place):
    """A numbered citation; ``quote`` is exactly the characters of the place."""

    n: int
    quote: str


class SentenceOut(BaseModel):
    """A sentence and the numbers of its citations."""

    text: str
    citations: list[int]
    support: Support


class AnswerOut(BaseModel):
    """An answer; ``answer`` is its sentences with marks such as [1]."""

    answer: str
    refused: bool = Field(description="the documents do not say")
    engine: str
    sentences: list[SentenceOut]
    citations: list[CitationOut]


class SourceOut(Place):
    """The exact characters of a place, and those around them in the document."""

    before: str
    text: str
    after: str


def tools(
    service: Service, max_question: int, counting: Callable[[Request], object] | None = None
) -> MCPServer[None]:
    """The server with its three tools; ``counting`` is told each request that asks by HTTP, and may refuse it."""
    server: MCPServer[None] = MCPServer(
        "youju", title="有据 Youju", instructions=_INSTRUCTIONS, subscriptions=False
    )

    def counted(context: Asking) -> None:
        if counting and context.request_context.request:
            counting(context.request_context.request)

    @server.tool(title="检索 Search", annotations=_READS)
    def search(question: Text, asking: Asking, limit: Annotated[int, Field(ge=1, le=50)] = 10) -> Found:
        """检索与问题最接近的原文段落 (the passages nearest to a question, best first)."""
        with _tool_errors():
            counted(asking)
            check_length(question, max_question)
            return Found(passages=[_passage(passage) for passage in service.search(question, limit)])

    @server.tool(title="提问 Ask", annotations=_READS)
    def ask(question: Text, asking: Asking) -> AnswerOut:
        """用文档回答问题, 每句注明出处 (an answer from the documents, every sentence cited)."""
        with _tool_errors():
            counted(asking)
            return _answer(service.ask(_question(question, service, max_question)))

    @server.tool(title="读原文 Read a source", annotations=_READS)
    def read_source(
        document: Annotated[str, Field(description="文件名, 如引用所给 (its name, as in a citation)")],
        start: Annotated[int, Field(ge=0)],
        end: Annotated[int, Field(ge=0)],
        context: Annotated[int, Field(ge=0, le=MAX_CONTEXT, description="前后各多少字 (characters)")] = 300,
    ) -> SourceOut:
        """读文档中 [start, end) 的原文及上下文 (the exact characters of a document, and those around them)."""
        with _tool_errors():
            return _source(service, document, start, end, context)

    return server


def mcp_route(service: Service, settings: Settings, rates: Rates) -> APIRouter:
    """The tools at ``/mcp``. On a local address, only requests to a local name and from local pages are served."""

    counting = partial(count, rates=rates, limit=settings.rate)
    application = tools(service, settings.max_question, counting).streamable_http_app(
        streamable_http_path=PATH,
        stateless_http=True,
        json_response=True,
        host=settings.host,
        max_request_body_size=MAX_BODY,
    )
    router = APIRouter(lifespan=application.router.lifespan_context)
    router.routes.extend(application.routes)
    return router


def _question(text: str, service: Service, max_question: int) -> Question:
    return question_of(AskIn(question=text), service, max_question)


def _passage(passage: Passage) -> PassageOut:
    return PassageOut(
        document=passage.document,
        article=passage.article.title,
        section=list(passage.section),
        start=passage.start,
        end=passage.end,
        text=passage.text,
        score=passage.score,
    )


def _answer(answer: Answer) -> AnswerOut:
    return AnswerOut(
        answer=answer.as_json()["answer"],
        refused=answer.refused,
        engine=answer.engine,
        sentences=[
            SentenceOut(text=s.text, citations=list(s.citations), support=s.support) for s in answer.sentences
        ],
        citations=[_citation(citation) for citation in answer.citations],
    )


def _citation(citation: Citation) -> CitationOut:
    return CitationOut(
        n=citation.n,
        document=citation.document,
        article=citation.article.title,
        section=list(citation.section),
        start=citation.start,
        end=citation.end,
        quote=citation.quote,
    )


def _source(service: Service, name: str, start: int, end: int, context: int) -> SourceOut:
    document = document_named(service, name)
    found = place(service, document, checked_span(document, start, end), context)
    title = found["article"]["title"] if found["article"] else ""
    return SourceOut(**{**found, "article": title})


@contextmanager
def _tool_errors() -> Iterator[None]:
    """Our errors as tool errors; what nobody foresaw is logged by the SDK and not shown."""
    try:
        yield
    except ApiError as error:
        raise ToolError(error.message) from error
    except YoujuError as error:
        raise ToolError(str(error)) from error
