"""A program that serves a knowledge base as ``youju serve`` does, with an encoder that needs no model.

``serving_child.py``; the settings are the environment's, ``PAUSE`` the seconds after each event of an answer. A
question that begins with 大 is followed by 20 MB of events.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fakes import FakeEncoder
from fastapi import FastAPI

from rag.chain import Chain
from rag.config import Settings, read_settings
from rag.records import Event, Question
from rag.retrieve import HybridRetriever
from rag.store import Store
from ui.app import create_app
from ui.serving import serve

PAUSE = float(os.environ.get("PAUSE", "0"))


class SlowChain(Chain):
    """The chain, with a pause after each event."""

    def stream(self, input: Any, config: Any = None, **kwargs: Any) -> Iterator[Event]:
        asked = input.text if isinstance(input, Question) else ""
        for number, event in enumerate(super().stream(input, config)):
            for _ in range(2_000 if number == 0 and asked.startswith("大") else 1):
                yield event
            time.sleep(PAUSE)


def make(settings: Settings, shared_metrics: Path | None) -> FastAPI:
    retriever = HybridRetriever(store=Store.open(settings.kb), encoder=FakeEncoder())
    return create_app(settings, SlowChain(retriever, settings), shared_metrics)


def main() -> None:
    settings = read_settings()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        serve(settings, listener, lambda: print(port, flush=True), make)


if __name__ == "__main__":
    sys.exit(main())
