"""Server-sent events: the chain's as they come, and streams that a client can go on with after a cut.

A stream's messages are made as they are read: where nobody reads, nothing is computed. Each message is kept, so that a
client whose connection was cut names the last one it has in ``Last-Event-ID`` and is sent those after it.
"""

from __future__ import annotations

import json
import math
import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import anyio
from fastapi import Request
from fastapi.concurrency import iterate_in_threadpool, run_in_threadpool
from fastapi.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from rag.records import Answer, Cited, Discarded, Done, Event, Retrieved, Said
from ui.errors import ApiError, described

GRACE = 10.0  # seconds that an unfinished stream waits for its reader to come back
KEPT_FOR = 60.0  # seconds that a finished one can be asked for again
KEPT = 256  # streams; the oldest that nobody reads goes first
SLOWEST = 60.0  # seconds that a reader may take to accept a message

Told = tuple[str, dict[str, Any]]  # an event's name and data


# --- Events ------------------------------------------------------------------------------------------


def named(event: Event) -> Told:
    """The name and data of an event of the chain."""
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


def told(
    events: Iterable[Event],
    name: Callable[[Event], Told | None] = named,
    failed: Callable[[Exception], tuple[int, dict[str, Any]]] = described,
) -> Generator[Told, None, None]:
    """The events as a view tells them, without those that ``name`` gives none; what fails is the last, ``error``."""
    try:
        for event in events:
            if (shown := name(event)) is not None:
                yield shown
    except Exception as error:  # the status is sent already: the stream itself says it
        yield "error", failed(error)[1]


def sse(number: int | str, name: str, data: dict[str, Any]) -> str:
    """One server-sent event."""
    return f"id: {number}\nevent: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"


async def whole(events: Generator[Event, None, None], request: Request) -> Answer:
    """The answer that the events end with, unless the client goes away, which stops the work (ApiError 499)."""
    with closing(events):
        async for event in iterate_in_threadpool(events):
            if isinstance(event, Done):
                return event.answer
            if await request.is_disconnected():
                raise ApiError(499, "client_gone", "客户端已断开 (the client is gone)")
    raise RuntimeError("the chain ended without an answer")


# --- Responses ---------------------------------------------------------------------------------------


def event_stream(messages: Generator[str, None, None], left: Callable[[], None] | None = None) -> Response:
    """A response of server-sent events, which no one on the way may keep or hold back.

    ``left`` is called once the response has ended, however it ends; by default the messages are closed.
    """
    return _EventStream(messages, left or messages.close)


class _EventStream(StreamingResponse):
    """Ends with the reader, also with one that accepts nothing for ``SLOWEST`` seconds."""

    def __init__(self, messages: Iterator[str], left: Callable[[], None]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(messages, headers=headers, media_type="text/event-stream")
        self._left = left

    async def stream_response(self, send: Send) -> None:
        with anyio.CancelScope() as patience:

            async def in_time(message: Message) -> None:
                patience.deadline = anyio.current_time() + SLOWEST
                await send(message)
                patience.deadline = math.inf

            await super().stream_response(in_time)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await run_in_threadpool(self._left)


# --- Streams that can be gone on with ----------------------------------------------------------------


class Stream:
    """A stream's messages, each made once, by whichever reader comes to it first. Safe to share between threads."""

    def __init__(self, events: Generator[Told, None, None], asked: object) -> None:
        self.id = secrets.token_urlsafe(12)
        self.asked = asked
        self.over = False  # no more messages are made
        self._events = events
        self._messages: list[str] = []
        self._making = threading.Lock()
        self._stopped = False

    def __len__(self) -> int:
        return len(self._messages)

    def after(self, number: int) -> Generator[str, None, None]:
        """The messages after the first ``number``."""
        while (message := self._message(number)) is not None:
            yield message
            number += 1

    def stop(self) -> None:
        """Make no more messages. Does not wait: a step that is under way ends first."""
        self._stopped = True
        if self._making.acquire(blocking=False):
            try:
                self._events.close()
                self.over = True
            finally:
                self._making.release()

    def _message(self, number: int) -> str | None:
        with self._making:
            if number == len(self) and not self.over:
                event = next(self._events, None)
                if event is None:
                    self.over = True
                else:
                    self._messages.append(sse(f"{self.id}.{number + 1}", *event))
        if self._stopped:
            self.stop()  # whoever asked for it found the step under way
        return self._messages[number] if number < len(self) else None


@dataclass(slots=True)
class _Kept:
    stream: Stream
    readers: int = 1
    until: float = math.inf  # on the clock, once nobody reads


class Streams:
    """The streams of one process, kept for a bounded time. Safe to share between threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[str, _Kept] = {}  # oldest first

    def begin(self, events: Generator[Told, None, None], asked: object) -> Response:
        """The response of a new stream; ``asked`` is what a client must ask again to go on with it."""
        kept = _Kept(Stream(events, asked))
        with self._lock:
            self._kept[kept.stream.id] = kept
        self._forget()
        return self._response(kept, 0)

    def resume(self, last: str, asked: object) -> Response:
        """The response with the messages after the one that ``last`` names; 204 where there are no more.

        Raises ApiError 410 where the stream is not kept, 409 where something else was asked.
        """
        self._forget()
        key, _, digits = last.rpartition(".")
        number = int(digits) if digits.isascii() and digits.isdigit() else math.inf
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or number > len(kept.stream):
                raise _gone()
            if kept.stream.asked != asked:
                raise ApiError(
                    409,
                    "other_stream",
                    "Last-Event-ID 属于另一个问题，请去掉它再问 (it is another question's: ask without it)",
                )
            if kept.stream.over and number == len(kept.stream):
                return Response(status_code=204)
            kept.readers += 1
            kept.until = math.inf
        return self._response(kept, int(number))

    def stop(self, key: str) -> None:
        """Stop and forget a stream. Raises ApiError 410 where there is none."""
        with self._lock:
            kept = self._kept.pop(key, None)
        if kept is None:
            raise _gone()
        kept.stream.stop()

    def _response(self, kept: _Kept, number: int) -> Response:
        return event_stream(kept.stream.after(number), lambda: self._leave(kept))

    def _leave(self, kept: _Kept) -> None:
        over = kept.stream.over
        with self._lock:
            kept.readers -= 1
            if not kept.readers:
                kept.until = self._clock() + (KEPT_FOR if over else GRACE)
        if not over:
            timer = threading.Timer(GRACE, self._forget)
            timer.daemon = True
            timer.start()

    def _forget(self) -> None:
        """Stop and forget the streams whose time is over, and the oldest where there are too many."""
        now = self._clock()
        with self._lock:
            idle = [key for key, kept in self._kept.items() if not kept.readers]
            too_many = max(0, len(self._kept) - KEPT)
            over = {key for key in idle if self._kept[key].until <= now} | set(idle[:too_many])
            gone = [self._kept.pop(key) for key in over]
        for kept in gone:
            kept.stream.stop()


def _gone() -> ApiError:
    return ApiError(
        410,
        "stream_gone",
        "这个流已不在了（没有、过期或已取消），请去掉 Last-Event-ID 再问一次 (no such stream any more: ask again)",
    )
