"""How many answers are made or waited for at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from ui.errors import ApiError

RETRY_AFTER = 2  # seconds


class Slots:
    """A bound on what is computed for readers at once. Safe to share between threads."""

    def __init__(self, most: int) -> None:
        self._free = threading.BoundedSemaphore(most)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """One of them, while the block runs. Raises ApiError 503 with ``Retry-After`` where none is free."""
        if not self._free.acquire(blocking=False):
            raise ApiError(
                503,
                "busy",
                f"正在回答的问题太多，请过 {RETRY_AFTER} 秒再试 (too many answers are being made, try again)",
                {"Retry-After": str(RETRY_AFTER)},
            )
        try:
            yield
        finally:
            self._free.release()
