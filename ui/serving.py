"""Running the application: one process or several over one knowledge base, and stopping without breaking off an answer.

The first SIGTERM or SIGINT lets running answers end, for ``stop_timeout`` seconds at most, while new requests are
answered 503 and ``/readyz`` says ``stopping``. The second one ends the server at once.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from socket import socket
from types import FrameType
from typing import cast

import typer
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from rag.config import Settings
from rag.errors import ConfigError, YoujuError
from ui.logs import configure
from ui.metrics import forget_worker
from ui.stopping import Stopping

Make = Callable[[Settings, Path | None], FastAPI]  # ``Path``: the folder of shared metrics

_LOG = logging.getLogger("youju")
_STOPPING = (signal.SIGINT, signal.SIGTERM)
_LATE = 3.0  # seconds after ``stop_timeout`` when even a thread that does not end is left behind


def serve(settings: Settings, listener: socket, ready: Callable[[], None], make: Make | None = None) -> None:
    """Serve on ``listener`` until a signal comes; ``ready`` is called once requests are answered.

    ``make`` makes the application, in each process anew. Raises YoujuError if it cannot be made.
    """
    _require_one_for_uploads(settings)
    make = make or _application
    if settings.workers == 1:
        configure(settings.log_format)
        _run(make(settings, None), settings, listener, ready)
    else:
        _Workers(settings, listener, make).run(ready)


def _application(settings: Settings, shared_metrics: Path | None) -> FastAPI:
    from ui.app import create_app

    return create_app(settings, shared_metrics=shared_metrics)


def _require_one_for_uploads(settings: Settings) -> None:
    if settings.workers > 1 and settings.allow_upload:
        raise ConfigError(
            "allow_upload 只能用一个进程 (files that wait to be stored are known to one process alone)",
            "去掉 --workers 或 --allow-upload; 文档用 youju ingest 加入 (leave out one of the two)",
        )


# --- One process -------------------------------------------------------------------------------------


def _run(app: FastAPI, settings: Settings, listener: socket, ready: Callable[[], None]) -> None:
    config = uvicorn.Config(
        app,
        http=_protocol(settings.write_timeout),
        log_config=None,
        log_level="warning",
        access_log=False,
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=1,  # of what is left when running answers have had their time
    )
    _Server(config, app.state.stopping, settings.stop_timeout, ready).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Uvicorn's server, which goes on listening while running answers end."""

    def __init__(
        self, config: uvicorn.Config, stopping: Stopping, timeout: float, ready: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._stopping, self._timeout, self._ready = stopping, timeout, ready
        self._deadline = 0.0

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == signal.SIGINT and multiprocessing.parent_process():
            return  # a terminal sends it to the workers too, but their supervisor tells them
        if self._stopping.asked:
            os._exit(1)
        self._stopping.asked = True
        self._deadline = time.monotonic() + self._timeout
        late = threading.Timer(self._timeout + _LATE, os._exit, (0,))
        late.daemon = True
        late.start()

    async def on_tick(self, counter: int) -> bool:
        ended = self._stopping.running == 0 or time.monotonic() > self._deadline
        return await super().on_tick(counter) or (self._stopping.asked and ended)


def _protocol(timeout: float) -> type[asyncio.Protocol]:
    """HTTP over a connection that is cut off once its reader has taken nothing for ``timeout`` seconds."""

    class BoundedWrites(H11Protocol):
        _cut: asyncio.TimerHandle | None = None

        def pause_writing(self) -> None:
            super().pause_writing()
            self._cut = self.loop.call_later(timeout, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._cut:
                self._cut.cancel()

    return BoundedWrites


# --- Several processes -------------------------------------------------------------------------------


class _Workers:
    """Processes that share a listening socket; one that dies is replaced."""

    def __init__(self, settings: Settings, listener: socket, make: Make) -> None:
        cores = os.cpu_count() or 1
        threads = settings.threads or max(1, cores // settings.workers)
        self._settings = settings.model_copy(update={"threads": threads})
        self._listener, self._make = listener, make
        self._context = multiprocessing.get_context("spawn")
        self._running: dict[BaseProcess, Event] = {}
        self._signals: list[int] = []

    def run(self, ready: Callable[[], None]) -> None:
        """Serve until a signal comes. Raises YoujuError if a worker cannot begin."""
        for sig in _STOPPING:
            signal.signal(sig, lambda sig, frame: self._signals.append(sig))
        configure(self._settings.log_format)
        with tempfile.TemporaryDirectory(prefix="youju-metrics-") as shared:
            # prometheus_client reads it when a worker imports it.
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared
            start = partial(self._start, Path(shared))
            for _ in range(self._settings.workers):
                start()
            try:
                self._watch(ready, start)
            finally:
                self._stop()

    def _start(self, shared: Path) -> None:
        began = self._context.Event()
        process = self._context.Process(
            target=_work, args=(self._settings, self._listener, self._make, shared, began)
        )
        process.start()
        self._running[process] = began

    def _watch(self, ready: Callable[[], None], start: Callable[[], None]) -> None:
        announced = False
        while not self._signals:
            wait([process.sentinel for process in self._running], timeout=0.1)
            for process in [process for process in self._running if not process.is_alive()]:
                self._bury(process)
                start()
            if not announced and all(began.is_set() for began in self._running.values()):
                announced = True
                ready()

    def _bury(self, process: BaseProcess) -> None:
        """Forget a worker that has ended. Raises YoujuError if it never began: another one would not either."""
        began = self._running.pop(process)
        forget_worker(cast(int, process.pid), Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
        if not began.is_set():
            raise YoujuError(
                f"进程未能启动 (a worker could not begin: exit code {process.exitcode})",
                "原因见上面的日志 (see the log above)",
            )
        _LOG.error("worker %s ended (exit code %s), another one begins", process.pid, process.exitcode)

    def _stop(self) -> None:
        """Let all workers end; a further signal ends them at once."""
        for process in self._running:
            process.terminate()
        told = len(self._signals)
        while any(process.is_alive() for process in self._running):
            if len(self._signals) > max(told, 1):
                for process in self._running:
                    process.kill()
            wait([process.sentinel for process in self._running if process.is_alive()], timeout=0.1)


def _work(settings: Settings, listener: socket, make: Make, shared: Path, began: Event) -> None:
    """What a worker does."""
    configure(settings.log_format)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        app = make(settings, shared)
    except YoujuError as error:
        typer.echo(f"youju: {error}", err=True)
        raise SystemExit(2) from None
    _run(app, settings, listener, began.set)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
