"""Sites whose pages may hold the widget: the origins that may ask, and the articles that answer there.

A site's id stands in the pages and is no secret. What may ask is decided by the origin, which is compared as a whole:
nothing is a pattern, and a site without origins cannot be made.
"""

from __future__ import annotations

import json
import re
import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Any
from urllib.parse import urlsplit

from rag.errors import ConfigError, QuestionError
from rag.store import Store
from ui.access import AccessStore

PREFIX = "site_"
MAX_ARTICLES = 1_000  # of a site that is restricted to some

ArticleName = tuple[str, int]  # document and number

_COLUMNS = "id, name, title, origins, articles, made"
_ALPHABET = string.ascii_letters + string.digits
_TEXT = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]{0,100}")
_ORIGIN = re.compile(r"(https?)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([1-9][0-9]{0,4}))?", re.ASCII)
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Site:
    """A site; ``articles`` of ``None``: all that the knowledge base holds."""

    id: str
    name: str
    title: str
    origins: tuple[str, ...]
    articles: tuple[ArticleName, ...] | None
    made: str  # ISO 8601, UTC

    @property
    def snippet(self) -> str:
        """What stands in the site's pages; HOST is where the server is reached from them."""
        return f'<script src="https://HOST/widget.js" data-site="{self.id}"></script>'

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "title": self.title,
            "origins": list(self.origins),
            "articles": None if self.articles is None else [list(one) for one in self.articles],
            "made": self.made,
        }


class Sites:
    """The sites of a knowledge base, as they are at the moment of asking."""

    def __init__(self, store: AccessStore) -> None:
        self._store = store

    def put(
        self,
        name: str,
        origins: Sequence[str],
        articles: Sequence[ArticleName] | None = None,
        title: str = "",
    ) -> Site:
        """A new site, or the one of this name with other origins, articles and title; its id stays.

        Raises ConfigError for a name or title that cannot be, for an origin as no browser sends it, and for none.
        """
        _check_text(name, title)
        if not origins or (articles is not None and not 0 < len(articles) <= MAX_ARTICLES):
            raise ConfigError(
                f"网站要有来源, 文章至多 {MAX_ARTICLES:,} 篇 (a site needs an origin, and not more articles)",
                "加上 --origin https://网站 (add --origin)",
            )
        fresh = PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(16))
        values = (
            json.dumps([checked_origin(origin) for origin in dict.fromkeys(origins)]),
            None if articles is None else json.dumps(list(dict.fromkeys(articles)), ensure_ascii=False),
        )
        with self._store.writing() as connection:
            connection.execute(
                f"INSERT INTO sites ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE"
                " SET title = excluded.title, origins = excluded.origins, articles = excluded.articles",
                (fresh, name, title, *values, datetime.now(UTC).isoformat(timespec="seconds")),
            )
        self._store.secret()  # made here, so that a server needs no right to write
        return self._found("WHERE name = ?", name)[0]

    def all(self) -> list[Site]:
        """All sites, the oldest first."""
        return self._found("ORDER BY made, rowid")

    def get(self, key: str) -> Site | None:
        """The site with this id."""
        found = self._found("WHERE id = ?", key)
        return found[0] if found else None

    def remove(self, key: str) -> Site:
        """Remove a site by its id: its sessions end at once. Raises ConfigError if there is none."""
        site = self.get(key)
        if site is None:
            raise ConfigError(
                f"没有这个网站 (no such site): {key}", "见 youju sites list (see youju sites list)"
            )
        with self._store.writing() as connection:
            connection.execute("DELETE FROM sites WHERE id = ?", (key,))
        return site

    def allow(self, origin: str) -> bool:
        """Whether any site lists this origin."""
        listed = "SELECT 1 FROM sites, json_each(sites.origins) AS listed WHERE listed.value = ? LIMIT 1"
        return bool(self._store.rows(listed, origin))

    def _found(self, clause: str, *values: Any) -> list[Site]:
        rows = self._store.rows(f"SELECT {_COLUMNS} FROM sites {clause}", *values)
        return [_site(*row) for row in rows]


def _site(key: str, name: str, title: str, origins: str, articles: str | None, made: str) -> Site:
    listed = None if articles is None else tuple((document, n) for document, n in json.loads(articles))
    return Site(key, name, title, tuple(json.loads(origins)), listed, made)


def _check_text(name: str, title: str) -> None:
    if not name.strip() or not _TEXT.fullmatch(name) or not _TEXT.fullmatch(title):
        raise ConfigError(
            f"网站的名称或标题不可用 (bad name or title): {name!r}, {title!r}",
            "写至多 100 个字符, 名称不能是空的 (at most 100 characters, the name not empty)",
        )


def articles_named(wanted: Sequence[int | ArticleName], store: Store) -> tuple[ArticleName, ...]:
    """The articles that ``N`` (in whichever documents) and ``(DOC, N)`` name now, so that no later one joins them.

    Raises QuestionError for one that is not there.
    """
    known = [(document, number) for document, number, _ in store.article_places()]
    found: list[ArticleName] = []
    for key in wanted:
        named = [name for name in known if key in (name, name[1])]
        if not named:
            raise QuestionError(
                f"没有这篇文章 (no such article): {key}", "用 youju articles 查看编号 (list the numbers)"
            )
        found += named
    return tuple(dict.fromkeys(found))


# --- Origins -----------------------------------------------------------------------------------------


def checked_origin(origin: str) -> str:
    """An origin exactly as browsers send it. Raises ConfigError that says how it is written instead.

    https://html.spec.whatwg.org/multipage/browsers.html#ascii-serialisation-of-an-origin
    """
    matched = _ORIGIN.fullmatch(origin)
    if matched and _is_host(matched[2]) and _is_port(matched[1], matched[3]):
        return origin
    mended = _mended(origin)
    raise ConfigError(
        f"来源不可用 (bad origin): {origin}",
        f"写 {mended} (write it like this)"
        if mended
        else "写 https://主机名, 需要时加 :端口, 不带路径和通配符"
        " (scheme, host and maybe port; no path, no wildcard)",
    )


def is_plain(origin: str) -> bool:
    """Whether an origin's pages can be changed on their way: http to another machine."""
    host = urlsplit(origin).hostname or ""
    local = host in ("localhost", "::1") or host.endswith(".localhost") or host.startswith("127.")
    return origin.startswith("http:") and not local


def _is_host(host: str) -> bool:
    """Whether a host is a name, or an address in its one canonical form."""
    try:
        if host.startswith("["):
            return f"[{IPv6Address(host[1:-1]).compressed}]" == host
        if host.rpartition(".")[2].isdigit():  # to browsers, whatever ends in a number is an address
            return str(IPv4Address(host)) == host
    except AddressValueError:
        return False
    return len(host) <= 253 and all(map(_LABEL.fullmatch, host.split(".")))


def _is_port(scheme: str, port: str | None) -> bool:
    return port is None or (int(port) <= 65_535 and int(port) != _PORTS[scheme])


def _mended(origin: str) -> str | None:
    """The origin of an address that was given instead of one, if it can be told."""
    try:
        parts = urlsplit(origin.strip())
        host, port = (parts.hostname or "").rstrip(".").encode("idna").decode(), parts.port
    except ValueError:  # also of what no host name can be
        return None
    if parts.scheme not in _PORTS or parts.username is not None or "*" in host:
        return None
    host = f"[{host}]" if ":" in host else host
    mended = f"{parts.scheme}://{host}" + (f":{port}" if port not in (None, _PORTS[parts.scheme]) else "")
    return mended if _is_host(host) and mended != origin else None
