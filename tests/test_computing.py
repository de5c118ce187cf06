"""The thread in which questions are computed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest

from rag.computing import Computing

NAME: ContextVar[str] = ContextVar("NAME", default="")


def test_what_many_threads_bring_is_computed_in_one_at_a_time() -> None:
    computed = Computing()
    running, most, threads = 0, 0, set()

    def work() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        threads.add(threading.get_ident())
        running -= 1

    with ThreadPoolExecutor(8) as readers:
        list(readers.map(lambda _: computed(work), range(200)))
    assert (most, len(threads)) == (1, 1)
    assert threading.get_ident() not in threads


def test_it_returns_and_raises_what_the_work_does_in_the_callers_context() -> None:
    computed = Computing()
    NAME.set("the caller's")
    assert computed(NAME.get) == "the caller's"
    with pytest.raises(ZeroDivisionError):
        computed(lambda: 1 / 0)
    assert computed(lambda: 2) == 2
