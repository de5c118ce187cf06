"""A program that serves a knowledge base as ``youju serve`` does, with an encoder that needs no model.

The settings are the environment's. After each event of an answer it waits until the file ``GATE`` is there, if that
names one. A question that begins with 大 is answered with tens of megabytes of events. There is no page: Gradio would
take most of the time that a start takes.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

from fakes import FakeEncoder
from fastapi import FastAPI

from rag.chain import Chain
from rag.config import Settings, read_settings
from rag.records import Event, Question
from rag.retrieve import HybridRetriever
from rag.store import Store
from ui.serving import serve

sys.modules["gradio"] = MagicMock()

GATE = os.environ.get("GATE")


class GatedChain(Chain):
    """The chain, which goes on after each event once it may."""

    def stream(self, input: Any, config: Any = None, **kwargs: Any) -> Iterator[Event]:
        asked = input.text if isinstance(input, Question) else ""
        for number, event in enumerate(super().stream(input, config)):
            for _ in range(2_000 if number == 0 and asked.startswith("大") else 1):
                yield event
            while GATE and not Path(GATE).exists():
                time.sleep(0.02)


def make(settings: Settings, shared_metrics: Path | None) -> FastAPI:
    from ui.app import create_app

    retriever = HybridRetriever(store=Store.open(settings.kb), encoder=FakeEncoder())
    return create_app(settings, GatedChain(retriever, settings), shared_metrics)


def main() -> None:
    settings = read_settings()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        serve(settings, listener, lambda: print(port, flush=True), make)


if __name__ == "__main__":
    sys.exit(main())
