"""Adding documents in the page: a preview of the split, storing with progress, re-reading, removing.

Mounted only where the operator allows it (``allow_upload``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import UploadFile

from rag import ingest
from rag.config import Settings
from rag.records import Section
from rag.store import Store, StoredDocument
from ui.errors import ApiError
from ui.gate import foreign_page
from ui.inputs import Text
from ui.limits import limited
from ui.originals import Originals
from ui.service import Service
from ui.streams import event_stream, sse
from ui.waiting import MOST_FILES, Waiting, WaitingFile, checked_name
from ui.work import Told, Work

PAGE_HEADER = "X-Youju-Page"
_ENVELOPE = 10_000  # bytes of a multipart body around the file
_SWEEP = 60.0  # seconds between looks for files whose time is over

Token = Annotated[str, Field(max_length=64)]


class TokensIn(BaseModel):
    """The waiting files that are meant."""

    model_config = ConfigDict(extra="forbid")
    tokens: list[Token] = Field(min_length=1, max_length=MOST_FILES)


class DocumentIn(BaseModel):
    """The document that is meant."""

    model_config = ConfigDict(extra="forbid")
    document: Text


def library(service: Service, settings: Settings) -> APIRouter:
    """The routes under ``/chat/library``."""
    waiting, originals, work = Waiting(), Originals(settings.kb), Work()
    router = APIRouter(
        prefix="/chat/library", dependencies=[Depends(from_own_page)], lifespan=_sweeping(waiting)
    )

    @router.get("")
    def documents() -> Response:
        """The documents, and how large a file may be in bytes."""
        rows = [_row(document) for document in service.store.documents()]
        return JSONResponse({"documents": rows, "max_upload": settings.max_upload})

    @router.post("/preview")
    async def preview(request: Request) -> Response:
        """How a file would be split; it waits under a token until it is stored or cancelled."""
        name, data = await _sent_file(request, settings.max_upload)
        shown = await run_in_threadpool(_preview, data, originals.path(name), service.store)
        token = await run_in_threadpool(waiting.add, name, data)
        return JSONResponse({**shown, "token": token})

    @router.post("/cancel")
    def cancel(body: TokensIn) -> Response:
        """Forget waiting files."""
        waiting.discard(body.tokens)
        return Response(status_code=204)

    @router.post("/store")
    def store(body: TokensIn) -> Response:
        """Store waiting files, all or none; those of a failure go on waiting."""
        files = _by_name(waiting.get(body.tokens))

        def task(tell: ingest.Progress) -> dict[str, Any]:
            with originals.placed(files) as paths:
                report = ingest.ingest(paths, settings, service.encoder, tell)
            originals.drop_unused(files, service.store.documents())
            waiting.discard(body.tokens)
            return _result(report)

        return _stream(work.start(task))

    @router.post("/reread")
    def reread(body: DocumentIn) -> Response:
        """Read a document's file again."""
        path = _file_of(_stored(service.store, body.document))
        return _stream(
            work.start(lambda tell: _result(ingest.ingest([path], settings, service.encoder, tell)))
        )

    @router.delete("/{document:path}")
    def remove(document: str) -> Response:
        """Remove a document, and its file if it was added in the page."""
        with work.alone():
            stored = _stored(service.store, document)
            ingest.remove([stored.name], settings)
            originals.remove(stored)
        return Response(status_code=204)

    return router


def from_own_page(request: Request) -> None:
    """Refuse what another site's page may have made a reader's browser send. Raises ApiError 403."""
    # There is no login that a foreign page would lack. But a browser names the page in Origin, and lets a foreign
    # one add this header only after a preflight, which the application's CORS policy answers with no.
    origin = request.headers.get("origin")
    foreign = origin is not None and origin.partition("://")[2] != request.headers.get("host")
    if foreign or PAGE_HEADER not in request.headers:
        raise foreign_page()


def _sweeping(waiting: Waiting) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """Forgets waiting files when their time is over, and all of them when the server stops."""

    async def sweep() -> None:
        while True:
            await asyncio.sleep(_SWEEP)
            waiting.expire()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(sweep())
        yield
        sweeping.cancel()
        waiting.close()

    return lifespan


# --- What is sent ------------------------------------------------------------------------------------


async def _sent_file(request: Request, most: int) -> tuple[str, bytes]:
    """Name and bytes of the multipart field ``file``. Raises ApiError 413, 422."""
    too_large = ApiError(
        413, "file_too_large", f"文件超过 {most:,} 字节的上限，请拆分后再试 (the file is too large)"
    )
    received = Request(request.scope, limited(request.receive, most + _ENVELOPE, too_large))
    async with received.form(max_files=1) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise ApiError(422, "no_file", "请求里没有文件，请选择一个 (no file was sent)")
        if file.size is None or file.size > most:
            raise too_large
        return checked_name(file.filename or ""), await file.read()


def _by_name(files: Sequence[WaitingFile]) -> dict[str, Path]:
    """Where each file's bytes are. Raises ApiError 422 if two have the same name."""
    found = {file.name: file.path for file in files}
    if len(found) < len(files):
        raise ApiError(
            422, "same_name", "有文件同名，后一个会顶替前一个，请先取消或改名 (two files have the same name)"
        )
    return found


def _stored(store: Store, name: str) -> StoredDocument:
    """The document of that name. Raises ApiError 404."""
    found = next((document for document in store.documents() if document.name == name), None)
    if found is None:
        raise ApiError(404, "unknown_document", f"没有名为“{name}”的文件 (no such document)")
    return found


def _file_of(document: StoredDocument) -> Path:
    """The file that the document was read from. Raises ApiError 409 if it is gone."""
    path = Path(document.path)
    if not path.is_file():
        raise ApiError(
            409,
            "file_gone",
            f"“{document.name}”的原文件已不在原处，请重新加入它 (the file is gone, add it again)",
        )
    return path


# --- What is answered --------------------------------------------------------------------------------


def _row(document: StoredDocument) -> dict[str, Any]:
    return {
        "name": document.name,
        "articles": document.articles,
        "characters": document.characters,
        "warnings": list(document.warnings),
        "present": Path(document.path).is_file(),
    }


def _preview(data: bytes, path: Path, store: Store) -> dict[str, Any]:
    found = ingest.preview(data, path, store)
    document = found.document
    twins = [d.name for d in store.documents() if d.name != document.name and Path(d.name).name == path.name]
    notes = [f"已有同名的文件“{twin}”，它会保留 (another file of this name stays)" for twin in twins]
    return {
        "name": document.name,
        "encoding": document.encoding,
        "sha256": document.sha256,
        "characters": len(document.text),
        "articles": [
            {
                "number": article.number,
                "title": article.title,
                "category": article.category,
                "sections": _sections(article.sections),
            }
            for article in found.outline.articles
        ],
        "warnings": [*document.warnings, *found.outline.warnings, *notes],
        "replaces": found.status == "updated",
        "unchanged": found.status == "unchanged",
    }


def _sections(sections: Sequence[Section]) -> list[dict[str, Any]]:
    return [{"label": section.label, "sections": _sections(section.sections)} for section in sections]


def _result(report: ingest.IngestReport) -> dict[str, Any]:
    return {"documents": [document.as_json() for document in report.documents]}


def _stream(events: Iterator[Told]) -> Response:
    return event_stream(sse(number, *event) for number, event in enumerate(events, 1))
