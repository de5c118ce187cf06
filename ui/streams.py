"""The chain's events as server-sent events."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from fastapi.responses import Response, StreamingResponse

from rag.records import Cited, Discarded, Done, Event, Retrieved, Said
from ui.errors import Told, described

Named = Callable[[Event], tuple[str, dict[str, Any]]]  # an event's name and data


def named(event: Event) -> tuple[str, dict[str, Any]]:
    """An event's name and data, as the API gives them."""
    match event:
        case Retrieved(passages):
            return "retrieved", {"retrieved": [p.as_json() for p in passages]}
        case Cited(citation):
            return "citation", citation.as_json()
        case Said(sentence):
            return "sentence", sentence.as_json()
        case Discarded(reason):
            return "discarded", {"reason": reason}
        case Done(answer):
            return "done", answer.as_json()


def server_sent(events: Iterator[Event], named: Named = named, told: Told = described) -> Iterator[str]:
    """The chain's events as server-sent events, in the shape that ``named`` gives them.

    What fails on the way is the last one, ``error``, in the shape that ``told`` gives it.
    """
    number = 0
    try:
        for number, event in enumerate(events, 1):
            yield sse(number, *named(event))
    except Exception as error:  # the status is sent already: the stream itself says it
        _, content = told(error)
        yield sse(number + 1, "error", content)


def event_stream(messages: Iterator[str]) -> Response:
    """A response of server-sent events, which no one on the way may keep or hold back."""
    return StreamingResponse(
        messages,
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


def sse(number: int, name: str, data: dict[str, Any]) -> str:
    """One server-sent event."""
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
