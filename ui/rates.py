"""How often somebody may ask: a key, an address, a widget's session."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_address, ip_network

from fastapi import Request
from limits import parse
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter

from ui.errors import ApiError


class Rates:
    """Counts requests by subject, in the memory of this process. Safe to share between threads.

    The window slides, and a subject takes two counters however much it asks.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())

    def hit(self, subject: str, limit: str) -> None:
        """Count a request of ``subject``; ``limit`` is such as ``60/minute``.

        Raises ApiError 429 with ``Retry-After`` (seconds) where it is one too many.
        """
        item = parse(limit)
        with self._lock:
            if self._limiter.hit(item, subject):
                return
            free = self._limiter.get_window_stats(item, subject).reset_time
        wait = max(1, math.ceil(free - time.time()))
        raise ApiError(
            429,
            "too_many_requests",
            f"提问太频繁，请过 {wait} 秒再试 (too many requests: try again in {wait} s)",
            {"Retry-After": str(wait)},
        )


def network(request: Request) -> str:
    """The client's address, of IPv6 the network that a single user may have; empty where a socket has none."""
    host = request.client.host if request.client else ""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    address = getattr(address, "ipv4_mapped", None) or address
    if address.version == 6 and not address.is_loopback:
        return str(ip_network((address, 64), strict=False))
    return str(address)


def subject(request: Request) -> str | None:
    """Who asks: the key that came with the request, or else its address; None for a user of this machine."""
    key = request.scope.get("state", {}).get("key")
    if key is not None:
        return f"key {key}"
    address = network(request)
    local = not address or address == "::1" or address.startswith("127.")
    return None if local else f"address {address}"


def count(request: Request, rates: Rates, limit: str) -> None:
    """Count a request against ``limit`` for whoever sent it. Raises ApiError 429."""
    asking = subject(request)
    if asking is not None:
        rates.hit(asking, limit)


def limited_rate(rates: Rates, limit: str) -> Callable[[Request], Awaitable[None]]:
    """A dependency that counts a request against ``limit``. Raises ApiError 429."""

    async def counted(request: Request) -> None:
        count(request, rates, limit)

    return counted
