"""Long work in a thread of its own, one at a time, told as events."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rag.ingest import Progress
from ui.errors import ApiError, described

Told = tuple[str, dict[str, Any]]  # an event's name and data
Task = Callable[[Progress], dict[str, Any]]


class Work:
    """Does one task at a time, to its end whether or not anybody listens. Safe to share between threads."""

    def __init__(self) -> None:
        self._busy = threading.Lock()

    def start(self, task: Task) -> Iterator[Told]:
        """Begin ``task``; its events: ``progress``, then ``done`` with what it returns, or ``error``.

        Raises ApiError 409 while another one is under way.
        """
        self._begin()
        events: queue.SimpleQueue[Told] = queue.SimpleQueue()
        threading.Thread(target=self._run, args=(task, events.put)).start()
        return _until_ended(events)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep others out of what is done inside. Raises ApiError 409 while another one is under way."""
        self._begin()
        try:
            yield
        finally:
            self._busy.release()

    def _begin(self) -> None:
        if not self._busy.acquire(blocking=False):
            raise ApiError(
                409,
                "busy",
                "知识库正在写入另一些文件，等它结束后再试 (busy with other files, try again later)",
            )

    def _run(self, task: Task, tell: Callable[[Told], None]) -> None:
        def progress(step: str, done: int, total: int) -> None:
            tell(("progress", {"step": step, "done": done, "total": total}))

        try:
            last = "done", task(progress)
        except Exception as error:  # the status is sent already: the stream itself says it
            last = "error", described(error)[1]
        finally:
            self._busy.release()  # before the end is told, so that what follows it finds the way free
        tell(last)


def _until_ended(events: queue.SimpleQueue[Told]) -> Iterator[Told]:
    while True:
        name, data = events.get()
        yield name, data
        if name != "progress":
            return
