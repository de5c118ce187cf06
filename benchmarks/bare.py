"""A bare FastAPI endpoint that only embeds the question, on any free port: what benchmarks/load.py compares with."""

from __future__ import annotations

import socket
import sys
import threading

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from embeddings.encoder import SentenceEncoder
from rag.config import read_settings


class QuestionIn(BaseModel):
    question: str


def create_app(encoder: SentenceEncoder) -> FastAPI:
    app = FastAPI()
    turn = threading.Lock()  # one at a time on all cores, as the chain does it

    @app.post("/embed")
    def embed(body: QuestionIn) -> dict[str, float]:
        with turn:
            return {"first": float(encoder.encode_query(body.question)[0])}

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    return app


def main() -> None:
    settings = read_settings()
    app = create_app(SentenceEncoder(settings.model, home=settings.model_home))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])


if __name__ == "__main__":
    main()
