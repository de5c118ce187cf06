"""The web application: API, page fragments, static files, and the Gradio chat at ``/``."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import gradio as gr
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.middleware.cors import CORSMiddleware

from rag.config import Settings
from ui.api import answer_errors, api, operation
from ui.chat import chat, fragments, theme
from ui.export import exports
from ui.service import Answering, Service

STATIC = Path(__file__).parent / "static"


def create_app(settings: Settings, chain: Answering | None = None) -> FastAPI:
    """The application over the settings' knowledge base, or over a chain that is open already.

    Raises YoujuError if the knowledge base or the model cannot be used.
    """
    if chain is None:
        from rag.chain import open_chain

        chain = open_chain(settings)
    service = Service(chain)
    app = FastAPI(
        title="有据 Youju", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_warming(service)
    )
    # No other origin may read. Without a policy of the parent's, Gradio would reflect any origin.
    app.add_middleware(CORSMiddleware, allow_origins=())
    answer_errors(app)
    app.include_router(operation(service))
    app.include_router(fragments(service))
    app.include_router(exports(service))
    app.mount("/api", api(service, settings.max_question))
    app.mount("/static/youju", StaticFiles(directory=STATIC))
    gr.mount_gradio_app(
        app,
        chat(service),
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        max_file_size=1,  # nothing is uploaded here
        theme=theme(),
        head=_head(),
    )
    return app


def _warming(service: Service) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Loads the model beside the first page views rather than in the first question."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        warming = asyncio.create_task(asyncio.to_thread(service.warm))
        yield
        await warming

    return lifespan


def _head() -> str:
    """The page's own style and script; an address changes with its file's content."""
    return (
        f'<link rel="stylesheet" href="{_address("chat.css")}">'
        f'<script type="module" src="{_address("chat.js")}"></script>'
        '<link rel="icon" href="data:,">'
    )


def _address(name: str) -> str:
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"static/youju/{name}?v={digest}"
