"""The web application: API, page fragments, static files, and the Gradio chat at ``/``."""

from __future__ import annotations

import asyncio
import hashlib
import re
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import ModuleType

import gradio as gr
from anyio.to_thread import current_default_thread_limiter
from asgi_correlation_id import CorrelationIdMiddleware
from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.middleware.cors import CORSMiddleware

from rag.config import Settings
from rag.errors import ConfigError
from rag.feedback import FeedbackLog
from ui.access import AccessStore
from ui.api import api
from ui.chat import STATIC, chat, theme
from ui.configurator import configurator
from ui.early import EarlyLinks
from ui.errors import UnknownPath, answer_errors
from ui.export import exports
from ui.feedback import feedback_routes
from ui.gate import Access, Gate
from ui.headers import SafeHeaders
from ui.keys import Keys
from ui.library import library
from ui.local import is_loopback, local_hosts
from ui.login import login
from ui.logins import Logins
from ui.metrics import Metrics
from ui.observed import Observed
from ui.openai import openai_compatible, openai_error
from ui.openapi import describe, description, swagger_ui
from ui.operation import operation
from ui.origins import WidgetOrigins
from ui.panels import panels
from ui.proxy import UnderPath
from ui.rates import Rates
from ui.service import Answering, Service
from ui.sessions import Sessions
from ui.sites import Sites
from ui.stopping import Finishing, Stopping
from ui.suggest import suggestions
from ui.widget_api import widget, widget_error


def create_app(
    settings: Settings, chain: Answering | None = None, shared_metrics: Path | None = None
) -> FastAPI:
    """The application over the settings' knowledge base, or over a chain that is open already.

    ``shared_metrics``: the folder through which several workers' metrics are added up. The application's
    ``state.stopping`` tells it to stop, and how much it still has to do.

    Raises YoujuError if the knowledge base or the model cannot be used.
    """
    if chain is None:
        from rag.chain import open_chain

        chain = open_chain(settings)
    service = Service(chain, settings.max_answers, Metrics(shared_metrics), settings.log_questions)
    rates, stopping = Rates(), Stopping()
    app = FastAPI(
        title="有据 Youju",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=_warming(service, settings.max_answers),
    )
    answer_errors(app, {"/v1": openai_error, "/widget": widget_error})
    kept = AccessStore(service.store.folder)
    access, sites = _access(settings, kept, rates), Sites(kept)
    # No other origin may read. Without a policy of the parent's, Gradio would reflect any origin.
    app.add_middleware(CORSMiddleware, allow_origins=())
    app.add_middleware(WidgetOrigins, sites=sites)  # around it: it answers preflights itself
    folder = static_folder()
    files = sorted(path.name for path in STATIC.iterdir() if path.suffix in (".css", ".js"))
    app.add_middleware(EarlyLinks, addresses=[f"{folder}/{name}" for name in files])
    app.add_middleware(Gate, access=access)
    app.add_middleware(Finishing, stopping=stopping)
    app.add_middleware(Observed, metrics=service.metrics)
    app.add_middleware(
        CorrelationIdMiddleware, header_name="X-Request-Id", validator=None, transformer=_request_id
    )
    app.add_middleware(SafeHeaders)
    app.add_middleware(UnderPath, root_path=settings.root_path)  # the outermost: the others go by its paths
    app.state.stopping = stopping
    app.include_router(api(service, settings, rates))
    app.include_router(openai_compatible(service, settings, rates))
    app.include_router(operation(service, stopping))
    describe(app)
    for page in (
        login(access),
        description(app),
        panels(service, settings.allow_upload),
        feedback_routes(service, FeedbackLog(service.store.folder)),
        suggestions(service),
        exports(service),
        configurator(),
        widget(service, settings, sites, Sessions(kept.secret), rates),
        *([library(service, settings)] if settings.allow_upload else []),
        *([mcp_tools().mcp_route(service, settings, rates)] if settings.mcp else []),
    ):
        app.include_router(page, include_in_schema=False)
    app.mount("/docs/swagger", swagger_ui())
    app.mount(f"/{folder}", StaticFiles(directory=STATIC))
    app.router.routes.append(UnknownPath(app.routes, ("/api", "/v1", "/chat", "/docs", "/widget")))
    gr.mount_gradio_app(
        app,
        chat(),
        path="/",
        footer_links=[],
        run_history=False,
        show_error=False,
        ssr_mode=False,
        mcp_server=False,
        enable_monitoring=False,
        max_file_size=1,  # nothing is uploaded here
        theme=theme(),
        head=_head(settings, folder),
    )
    return app


def mcp_tools() -> ModuleType:
    """The module ``ui.mcp``. Raises ConfigError if what it needs is not installed."""
    try:
        from ui import mcp
    except ImportError as error:
        raise ConfigError(
            f"MCP 需要另外的软件包 (MCP needs another package: {error.name})",
            'pip install "youju[mcp]" (install it)',
        ) from None
    return mcp


def _request_id(given: str) -> str:
    """A request's own id if it is safe in logs, or else a new one."""
    return given if re.fullmatch(r"[A-Za-z0-9._-]{1,64}", given) else uuid.uuid4().hex


def _access(settings: Settings, store: AccessStore, rates: Rates) -> Access:
    local = is_loopback(settings.host)
    hosts = None if settings.no_keys else local_hosts(settings.host)
    return Access(Keys(store), Logins(store), rates, not local and not settings.no_keys, hosts)


def _warming(service: Service, max_answers: int) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Loads the model beside the first page views rather than in the first question."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens += max_answers  # others go on beside those who wait
        warming = asyncio.create_task(asyncio.to_thread(service.warm))
        yield
        await warming

    return lifespan


def _head(settings: Settings, folder: str) -> str:
    """The page's own styles and script, after Gradio's."""
    documents = '<meta name="youju-library" content="allowed">' if settings.allow_upload else ""
    styles = (f'<link rel="stylesheet" href="{folder}/{path.name}">' for path in sorted(STATIC.glob("*.css")))
    script = f'<script type="module" src="{folder}/chat.js"></script>'
    return "".join((documents, *styles, script, '<link rel="icon" href="data:,">'))


def static_folder() -> str:
    """The address of the static files, which changes with their content: a browser never mixes two versions."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.iterdir()):
        if path.is_file():
            digest.update(path.read_bytes())
    return f"static/youju-{digest.hexdigest()[:12]}"
