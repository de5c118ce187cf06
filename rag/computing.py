"""The one thread in which questions are computed, one at a time, on all cores."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

T = TypeVar("T")


class Computing:
    """Runs what it is given in a thread of its own, in the order in which it comes. Safe to share between threads.

    A lock would do for the order. But torch and FAISS start a team of helpers for each thread that computes, and
    allocators keep memory for each: with fifty readers, a hundred threads and as many megabytes.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "youju-computing")

    def __call__(self, work: Callable[[], T]) -> T:
        """What ``work`` returns or raises. It must not compute anything through this object itself."""
        return self._thread.submit(copy_context().run, work).result()


def here(work: Callable[[], T]) -> T:
    """The same in the caller's thread, for what only waits."""
    return work()
