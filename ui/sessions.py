"""What the widget shows with each request: signed tokens that hold for minutes, for one site and one origin.

Nothing is kept of them: a token says what it is for, and its signature that it was made here. Whether its site still
is there, and still lists its origin, is asked anew each time.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer

SESSION_SECONDS = 600
TICKET_SECONDS = 12 * 3600  # a framed page that stays open asks for a new session with its first ticket


@dataclass(frozen=True, slots=True)
class Session:
    """A widget's session; ``own``: its page is one of this server's."""

    site: str
    origin: str
    own: bool
    id: str


class Sessions:
    """Makes and reads tokens; another secret ends all of them. ``clock`` gives seconds since 1970."""

    def __init__(self, secret: Callable[[], bytes], clock: Callable[[], float] = time.time) -> None:
        self._secret = secret

        class Signer(TimestampSigner):
            def get_timestamp(self) -> int:
                return int(clock())

        self._signer = Signer

    def begin(self, site: str, origin: str, own: bool) -> str:
        """The token of a new session."""
        session = Session(site, origin, own, secrets.token_urlsafe(12))
        return self._written("session", asdict(session))

    def read(self, token: str) -> Session | None:
        """The session of a token, or None if it is not one of ours or is too old."""
        found = self._read("session", token, SESSION_SECONDS)
        return None if found is None else Session(**found)

    def ticket(self, site: str) -> str:
        """What the framed page of a site shows to begin a session from this server's own origin."""
        return self._written("ticket", site)

    def is_ticket(self, ticket: str, site: str) -> bool:
        """Whether a ticket is one for this site."""
        return self._read("ticket", ticket, TICKET_SECONDS) == site

    def _written(self, purpose: str, content: Any) -> str:
        written = self._serializer(purpose).dumps(content)
        return written if isinstance(written, str) else written.decode()

    def _read(self, purpose: str, token: str, seconds: int) -> Any:
        try:
            return self._serializer(purpose).loads(token, max_age=seconds)
        except BadData:
            return None

    def _serializer(self, purpose: str) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(
            self._secret(),
            salt=f"youju.widget.{purpose}",
            signer=self._signer,
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )
