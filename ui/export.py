"""A conversation to take away: ``POST /chat/export`` writes it as Markdown or as a Word document.

The conversation comes from the reader's browser. Every quotation whose document the knowledge base still
holds is compared with it again; one that differs is refused, so that no file says what no document says.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal
from urllib.parse import quote

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from rag.records import AnswerSentence, ArticleRef, Citation, Document, Support
from ui.errors import ApiError
from ui.inputs import Number, Text
from ui.limits import limited_route
from ui.markdown import markdown
from ui.report import Exchange, Report, report
from ui.service import Service
from ui.word import word

MAX_EXPORT = 5_000_000  # bytes of a request
MAX_NOTES = 500_000  # characters of all footnotes: a long quotation may be referred to many times
MAX_WITHIN = 2_000  # titles: as many as a question may name articles and places
FILE_NAME = 60  # characters of a file's name: at most 240 bytes

Label = Annotated[Text, Field(max_length=1_000)]
Place = Annotated[int, Field(ge=0, le=10**9)]

_MEDIA = {
    "md": "text/markdown; charset=utf-8",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
}


class ArticleIn(BaseModel):
    """The article of a citation."""

    number: Number
    title: Label


class CitationIn(BaseModel):
    """A citation as the answer's JSON has it."""

    n: Number
    document: Label
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    article: ArticleIn
    section: list[Label] = Field(max_length=20)
    start: Place
    end: Place
    quote: Text = Field(min_length=1, max_length=20_000)
    page: Number | None = None

    def as_citation(self) -> Citation:
        article = ArticleRef(self.article.number, self.article.title, None)
        section = tuple(self.section)
        return Citation(
            self.start, self.end, self.n, self.document, self.sha256, article, section, self.quote, self.page
        )


class SentenceIn(BaseModel):
    """A sentence of an answer as its JSON has it."""

    text: Text = Field(max_length=20_000)
    citations: list[Number] = Field(max_length=50)
    support: Support
    kind: Literal["text", "lead", "item"] = "text"

    def as_sentence(self) -> AnswerSentence:
        return AnswerSentence(self.text, tuple(self.citations), self.support, self.kind)


class AnswerIn(BaseModel):
    """What an export needs of an answer's JSON; the rest is left out."""

    refused: bool
    engine: Label
    sentences: list[SentenceIn] = Field(max_length=500)
    citations: list[CitationIn] = Field(max_length=500)
    asked: Text = Field("", max_length=20_000)

    @model_validator(mode="after")
    def _numbers_agree(self) -> AnswerIn:
        numbers = [citation.n for citation in self.citations]
        if len(set(numbers)) < len(numbers):
            raise ValueError("两条引文编号相同 (two citations with one number)")
        missing = {n for sentence in self.sentences for n in sentence.citations} - set(numbers)
        if missing:
            raise ValueError(f"没有编号为 {min(missing)} 的引文 (no citation with this number)")
        return self


class ExchangeIn(BaseModel):
    """A question, the titles of what it was restricted to, and its answer."""

    question: Text = Field(max_length=20_000, pattern=r"\S")
    within: list[Label] = Field(default_factory=list, max_length=MAX_WITHIN)
    answer: AnswerIn

    def as_exchange(self) -> Exchange:
        return Exchange(
            self.question,
            tuple(self.within),
            self.answer.asked,
            self.answer.refused,
            self.answer.engine,
            tuple(sentence.as_sentence() for sentence in self.answer.sentences),
            tuple(citation.as_citation() for citation in self.answer.citations),
        )


class ExportIn(BaseModel):
    """A conversation, or one exchange of it, and the format to write."""

    model_config = ConfigDict(extra="forbid")
    format: Literal["md", "docx"]
    title: Text = Field(max_length=500, pattern=r"\S")
    exchanges: list[ExchangeIn] = Field(min_length=1, max_length=200)


def exports(service: Service) -> APIRouter:
    """The route that makes files of conversations."""
    router = APIRouter(prefix="/chat", route_class=limited_route(MAX_EXPORT))

    @router.post("/export")
    def export(body: ExportIn) -> Response:
        """The conversation as a file."""
        exchanges = [exchange.as_exchange() for exchange in body.exchanges]
        at = datetime.now().astimezone()
        written = report(body.title, exchanges, checked(service, exchanges), at)
        _check_length(written)
        content = markdown(written).encode() if body.format == "md" else word(written)
        disposition = {"Content-Disposition": attachment(body.title, body.format)}
        return Response(content, media_type=_MEDIA[body.format], headers=disposition)

    return router


def checked(service: Service, exchanges: Sequence[Exchange]) -> dict[tuple[str, str], bool]:
    """Whether the knowledge base holds each cited document, by name and hash, as it was cited.

    Raises ApiError 422 for a quotation that is not what the document says at its place.
    """
    cited = {citation.document for exchange in exchanges for citation in exchange.citations}
    documents = {name: service.store.document(name) for name in cited}
    held: dict[tuple[str, str], bool] = {}
    for number, exchange in enumerate(exchanges, 1):
        for citation in exchange.citations:
            document = documents[citation.document]
            same = document is not None and document.sha256 == citation.sha256
            held[citation.document, citation.sha256] = same
            _check_quote(number, citation, document if same else None)
    return held


def attachment(title: str, suffix: str) -> str:
    """The header's value that names the file after its title (RFC 6266, with RFC 5987 for the Chinese)."""
    shown = "".join(" " if _unfit(char) else char for char in title)
    name = " ".join(shown.split())[:FILE_NAME].strip(" .") or "youju"
    return f"attachment; filename=\"youju.{suffix}\"; filename*=UTF-8''{quote(f'{name}.{suffix}', safe='')}"


def _unfit(char: str) -> bool:
    """Whether a file's name may not hold it on some system, or would look other than it is."""
    return char in '\\/:*?"<>|' or unicodedata.category(char).startswith("C")


def _check_quote(number: int, citation: Citation, document: Document | None) -> None:
    """Against the document where it is held, else that the quotation can have stood at its place."""
    fits = len(citation.quote) == citation.end - citation.start
    if not fits or (document and document.text[citation.start : citation.end] != citation.quote):
        raise ApiError(
            422,
            "bad_citation",
            f"第 {number} 个问题的引文 [{citation.n}] 与“{citation.document}” [{citation.start}, {citation.end}) "
            "处的原文不符，请重新提问后再导出 (the quotation is not what the document says there: ask again)",
        )


def _check_length(written: Report) -> None:
    if sum(len(note.text) for note in written.notes()) > MAX_NOTES:
        raise ApiError(
            413,
            "export_too_long",
            f"脚注合计超过 {MAX_NOTES:,} 字，请分几次导出 (the footnotes are too long: export it in parts)",
        )
