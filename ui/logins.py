"""Who is logged in: a signed cookie that holds the id of a key, and the time."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer
from starlette.requests import HTTPConnection
from starlette.responses import Response

from ui.access import AccessStore
from ui.keys import Key, Keys

COOKIE = "youju_session"
SECONDS = 12 * 3600


class Logins:
    """Makes and reads the cookie. Whether its key still exists is asked anew each time: revoked means out at once.

    ``clock`` gives seconds since 1970.
    """

    def __init__(self, store: AccessStore, clock: Callable[[], float] = time.time) -> None:
        self._store, self._keys = store, Keys(store)

        class Signer(TimestampSigner):
            def get_timestamp(self) -> int:
                return int(clock())

        self._signer = Signer

    def begin(self, key: Key, response: Response, connection: HTTPConnection) -> None:
        """Log the browser in that gets this response."""
        value = self._serializer().dumps(key.id)
        response.set_cookie(COOKIE, str(value), max_age=SECONDS, httponly=True, **_flags(connection))

    def end(self, response: Response, connection: HTTPConnection) -> None:
        """Log the browser out."""
        response.delete_cookie(COOKIE, httponly=True, **_flags(connection))

    def key_of(self, connection: HTTPConnection) -> Key | None:
        """The key that the browser is logged in with."""
        cookie = connection.cookies.get(COOKIE)
        if cookie is None:
            return None
        try:
            key = self._serializer().loads(cookie, max_age=SECONDS)
        except BadData:
            return None
        return self._keys.of_id(key)

    def _serializer(self) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(
            self._store.secret(),
            salt="youju.login",
            signer=self._signer,
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )


def _flags(connection: HTTPConnection) -> dict[str, Any]:
    # Strict would leave out whoever comes by a link from another page; Gate looks at Origin besides.
    return {
        "path": connection.scope.get("root_path") or "/",
        "samesite": "lax",
        "secure": connection.url.scheme == "https",
    }
