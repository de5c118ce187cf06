"""The server's log: a line for each request and each answer on stderr, for readers or as JSON for programs.

Lines hold no text of questions or answers (but where ``log_questions`` asks for questions), no query, no header and no
address of a document: places are named by the pattern of their route.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from asgi_correlation_id import correlation_id

from ui.metrics import Counting

Form = Literal["text", "json"]

_LOG = logging.getLogger("youju")


def configure(form: Form) -> None:
    """Send all of this process's log to stderr, uvicorn's included."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    _LOG.setLevel(logging.INFO)


class JsonLines(logging.Formatter):
    """A record as one JSON object, its ``fields`` beside time, level, logger and message."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class TextLines(logging.Formatter):
    """A record as a line to read, its ``fields`` after the message."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        fields = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        return " ".join(filter(None, (super().formatMessage(record), fields)))


def _fields(record: logging.LogRecord) -> Mapping[str, Any]:
    return getattr(record, "fields", {})


def log_answer(counted: Counting, question: str | None) -> None:
    """The line for an answer that has ended; ``question`` where its text may be logged."""
    answer = counted.answer
    fields = {
        "state": counted.state,
        "duration_ms": round(counted.seconds * 1000, 1),
        "engine": answer.engine if answer else None,
        "refused": answer.refused if answer else None,
        "citations": len(answer.citations) if answer else None,
        "question": question,
    }
    write(logging.INFO, "answer", fields)


def write(level: int, message: str, fields: Mapping[str, Any]) -> None:
    """Log a line with the request's id and the fields that have a value."""
    given = {"request_id": correlation_id.get(), **fields}
    _LOG.log(level, message, extra={"fields": {k: v for k, v in given.items() if v is not None}})
