"""Which addresses are this machine's own."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server that listens on ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def local_hosts(host: str) -> frozenset[str]:
    """The names by which this machine asks a server that listens on ``host``."""
    return frozenset({"localhost", "127.0.0.1", "::1", host})
