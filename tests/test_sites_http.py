"""The widget's endpoints on a real server: which origins, tokens and addresses get what."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from fakes import FakeEncoder
from fakes_ui import BROKEN, MAX_QUESTION, NAME, FakeChain, fake_chain, written
from fastapi import FastAPI
from running import running

from rag.chain import Chain
from rag.config import Settings
from rag.errors import KnowledgeBaseError
from rag.ingest import ingest
from rag.records import Discarded, Event, Question
from rag.retrieve import HybridRetriever
from rag.store import Store
from ui.access import FILE, AccessStore
from ui.app import create_app
from ui.errors import answer_errors
from ui.origins import WidgetOrigins
from ui.rates import Rates
from ui.service import Service
from ui.sessions import SESSION_SECONDS, Sessions
from ui.sites import Site, Sites
from ui.widget_api import FILES, MAX_BODY, widget, widget_error

PORTAL, INTRANET = "https://portal.example", "http://localhost:9999"
STRANGE = [
    "null",
    "https://evil.example",
    "https://portal.example.evil.com",
    "https://evilportal.example",
    "https://portal.example:444",
    "https://portal.example:443",
    "http://portal.example",
    "https://PORTAL.example",
    "https://portal.example.",
    "https://portal.example@evil.com",
    "https://user@portal.example",
    "https://portal.example/",
    "https://portal.example/path",
    "https://portal.example, https://evil.example",
    "https://sub.portal.example",
    "*",
]
QUESTION = "青禾县到2027年建成多少个数字乡村示范村？"
ELSEWHERE = "社区食堂只有多少家？"  # article 3
TEXT = written()[0].text
# A connection for each request, as one on which the server failed is closed.
HTTP = httpx.Client(timeout=60, limits=httpx.Limits(max_keepalive_connections=0))
LAX = {
    "widget_per_session": "1000/minute",
    "widget_per_address": "1000/minute",
    "widget_sessions": "1000/minute",
}


class Clock:
    """Seconds since 1970, which a test may move."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@dataclass
class Widget:
    """A widget in a page of ``origin``."""

    url: str
    site: str
    origin: str | None = PORTAL
    token: str = ""

    def begin(self, **more: Any) -> httpx.Response:
        response = HTTP.post(
            f"{self.url}/widget/session", json={"site": self.site, **more}, headers=self.headers()
        )
        self.token = response.json().get("token", "")
        return response

    def ask(self, question: str = QUESTION, **more: Any) -> httpx.Response:
        body = {"question": question, **more}
        return HTTP.post(f"{self.url}/widget/ask", json=body, headers=self.headers())

    def source(self, needle: str, **more: Any) -> httpx.Response:
        start = TEXT.index(needle)
        place = {"document": NAME, "start": start, "end": start + len(needle), **more}
        return HTTP.get(f"{self.url}/widget/source", params=place, headers=self.headers())

    def headers(self) -> dict[str, str]:
        origin = {} if self.origin is None else {"Origin": self.origin}
        token = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        return {**origin, **token}


@dataclass
class Server:
    """A server with a site for all articles and one for the first alone."""

    url: str
    kb: Path
    chain: FakeChain
    sites: Sites
    open: Site
    first: Site

    def widget(self, site: Site | None = None, origin: str | None = PORTAL) -> Widget:
        """A widget that has begun its session, where it may."""
        widget = Widget(self.url, (site or self.open).id, origin)
        widget.begin()
        return widget


def served(kb: Path, **settings: Any) -> Iterator[Server]:
    chain = fake_chain(kb)
    sites = Sites(AccessStore(kb))
    every = sites.put("门户", [PORTAL, INTRANET], title="问门户")
    first = sites.put("第一篇", [PORTAL], [(NAME, 1)])
    settings = {"kb": kb, "max_question": MAX_QUESTION, "no_keys": True, **settings}  # under any host name
    with running(create_app(Settings(**settings), chain)) as url:
        yield Server(url, kb, chain, sites, every, first)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from served(tmp_path_factory.mktemp("kb"), **LAX)


def error(response: httpx.Response) -> tuple[int, str]:
    """Status and code of an error, which is JSON."""
    assert response.json()["error"]["message"]
    return response.status_code, response.json()["error"]["code"]


def events(response: httpx.Response) -> list[tuple[str, Any]]:
    assert response.status_code == 200, response.text
    blocks = (
        dict(line.split(": ", 1) for line in b.split("\n")) for b in response.text.strip().split("\n\n")
    )
    return [(block["event"], json.loads(block["data"])) for block in blocks]


def done(response: httpx.Response) -> dict[str, Any]:
    name, data = events(response)[-1]
    assert name == "done"
    return dict(data)


def cors(response: httpx.Response) -> dict[str, str]:
    return {k: v for k, v in response.headers.items() if k.startswith("access-control-")}


# --- Sessions ----------------------------------------------------------------------------------------


def test_a_listed_origin_is_given_a_session(server: Server) -> None:
    response = Widget(server.url, server.open.id).begin()
    assert response.status_code == 200
    body = response.json()
    assert set(body) == {"token", "expires_in", "title", "examples"}
    assert (body["expires_in"], body["title"]) == (SESSION_SECONDS, "问门户")
    assert body["examples"][0] == QUESTION
    assert cors(response) == {
        "access-control-allow-origin": PORTAL,
        "access-control-expose-headers": "Retry-After",
    }
    assert set(response.headers["vary"].split(", ")) == {"Origin"}
    assert response.headers["cache-control"] == "no-store"
    assert "set-cookie" not in response.headers


@pytest.mark.parametrize("origin", [*STRANGE, None])
def test_no_other_origin_is_given_anything(server: Server, origin: str | None) -> None:
    response = Widget(server.url, server.open.id, origin).begin()
    assert error(response) == (403, "origin_refused")
    assert cors(response) == {}
    assert set(response.headers["vary"].split(", ")) == {"Origin"}


def test_an_origin_of_another_site_is_refused_too(server: Server) -> None:
    response = Widget(server.url, server.first.id, INTRANET).begin()
    assert error(response) == (403, "origin_refused")
    assert cors(response) == {}


@pytest.mark.parametrize("site", ["site_0000000000000000", "", "*", "' OR 1=1 --"])
def test_an_unknown_site_is_refused(server: Server, site: str) -> None:
    response = Widget(server.url, site).begin()
    assert error(response) == (403, "origin_refused")
    assert cors(response) == {}


def test_without_a_site_nobody_is_given_anything(tmp_path: Path) -> None:
    app = create_app(Settings(kb=tmp_path), fake_chain(tmp_path))
    with running(app) as url:
        assert error(Widget(url, "site_0000000000000000").begin()) == (403, "origin_refused")
        assert "access-control-allow-origin" not in preflight(url, PORTAL).headers
    assert not (tmp_path / FILE).exists()


# --- Tokens ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["x", "a.b.c", "é", "x y", "." * 300])
def test_a_token_that_is_none_opens_nothing(server: Server, token: str) -> None:
    headers = [(b"Origin", PORTAL.encode()), (b"Authorization", f"Bearer {token}".encode())]
    response = HTTP.post(f"{server.url}/widget/ask", json={"question": QUESTION}, headers=headers)
    assert error(response) == (401, "session_invalid")
    assert response.headers["access-control-allow-origin"] == PORTAL  # so that the widget begins anew


def test_a_token_cut_short_or_forged_opens_nothing(server: Server) -> None:
    widget = server.widget()
    whole = widget.token
    forged = Sessions(lambda: b"another secret").begin(server.open.id, PORTAL, own=False)
    for token in (whole[:-1], whole.rsplit(".", 1)[0], whole + "A", forged):
        widget.token = token
        assert error(widget.ask()) == (401, "session_invalid")
    widget.token = whole
    assert done(widget.ask())["refused"] is False


@pytest.mark.parametrize("origin", [*STRANGE, INTRANET, None])
def test_a_token_replayed_from_elsewhere_opens_nothing(server: Server, origin: str | None) -> None:
    widget = server.widget()
    widget.origin = origin
    assert error(widget.ask()) == (401, "session_invalid")
    assert error(widget.source("满意率")) == (401, "session_invalid")
    listed = origin == INTRANET
    assert ("access-control-allow-origin" in widget.ask().headers) is listed


def test_a_session_ends_after_ten_minutes(tmp_path: Path) -> None:
    access, clock = AccessStore(tmp_path), Clock()
    sites = Sites(access)
    site = sites.put("门户", [PORTAL])
    app = FastAPI()
    app.add_middleware(WidgetOrigins, sites=sites)
    answer_errors(app, {"/widget/": widget_error})
    settings, sessions = Settings(kb=tmp_path), Sessions(access.secret, clock)
    app.include_router(widget(Service(fake_chain(tmp_path)), settings, sites, sessions, Rates()))
    with running(app) as url:
        page = Widget(url, site.id)
        page.begin()
        clock.ahead = SESSION_SECONDS - 60
        assert done(page.ask())["refused"] is False
        clock.ahead = SESSION_SECONDS + 5
        assert error(page.ask()) == (401, "session_invalid")
        page.begin()
        assert done(page.ask())["refused"] is False


def test_what_is_removed_ends_at_once(server: Server) -> None:
    site = server.sites.put("短命", [PORTAL, INTRANET])
    here, there = server.widget(site), server.widget(site, INTRANET)
    assert here.source("满意率").status_code == there.source("满意率").status_code == 200
    server.sites.put("短命", [PORTAL])  # one origin less
    assert here.source("满意率").status_code == 200
    assert error(there.source("满意率")) == (401, "session_invalid")
    server.sites.remove(site.id)
    assert error(here.source("满意率")) == (401, "session_invalid")
    assert error(Widget(server.url, site.id).begin()) == (403, "origin_refused")


def test_another_secret_ends_all_sessions(tmp_path: Path) -> None:
    for server in served(tmp_path / "kb"):
        widget = server.widget()
        assert widget.source("满意率").status_code == 200
        with sqlite3.connect(server.kb / FILE) as connection:
            connection.execute("DELETE FROM secret")
        connection.close()
        assert error(widget.source("满意率")) == (401, "session_invalid")
        assert server.widget().source("满意率").status_code == 200


# --- Preflights --------------------------------------------------------------------------------------


def preflight(url: str, origin: str, path: str = "/widget/ask", **more: str) -> httpx.Response:
    wanted = {"Origin": origin, "Access-Control-Request-Method": "POST", **more}
    return HTTP.options(url + path, headers=wanted)


@pytest.mark.parametrize("path", ["/widget/session", "/widget/ask", "/widget/source"])
def test_a_preflight_of_a_listed_origin_is_answered(server: Server, path: str) -> None:
    asked = {"Access-Control-Request-Headers": "authorization,content-type,last-event-id"}
    response = preflight(server.url, INTRANET, path, **asked)
    assert response.status_code == 200
    allowed = cors(response)
    assert allowed["access-control-allow-origin"] == INTRANET
    assert allowed["access-control-allow-methods"] == "GET, POST"
    names = {name.strip() for name in allowed["access-control-allow-headers"].lower().split(",")}
    assert {"authorization", "content-type", "last-event-id"} <= names
    assert "access-control-allow-credentials" not in allowed
    assert "access-control-allow-private-network" not in allowed
    assert "Origin" in response.headers["vary"]


def test_a_preflight_to_a_private_network_is_answered(server: Server) -> None:
    asked = {"Access-Control-Request-Private-Network": "true"}
    allowed = cors(preflight(server.url, PORTAL, **asked))
    assert allowed["access-control-allow-private-network"] == "true"
    refused = preflight(server.url, "https://evil.example", **asked)
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in refused.headers


@pytest.mark.parametrize("origin", STRANGE)
def test_a_preflight_of_another_origin_is_not(server: Server, origin: str) -> None:
    response = preflight(server.url, origin)
    assert response.status_code == 400
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/widget/ask", {"Access-Control-Request-Method": "DELETE"}),
        ("/widget/ask", {"Access-Control-Request-Headers": "x-api-key"}),
        ("/api/ask", {}),
        ("/v1/chat/completions", {}),
        ("/", {"Access-Control-Request-Method": "GET"}),
        ("/widget/frame", {"Access-Control-Request-Method": "GET"}),
        ("/widget/ask/", {}),
        ("/widget", {}),
    ],
)
def test_nothing_else_is_open_to_the_sites(server: Server, path: str, more: dict[str, str]) -> None:
    assert preflight(server.url, PORTAL, path, **more).status_code == 400


@pytest.mark.parametrize("path", ["/", "/api/articles", "/healthz", "/widget/frame"])
def test_no_other_route_may_be_read_by_a_site(server: Server, path: str) -> None:
    headers = {"Origin": PORTAL, "Host": "youju.example"}  # Gradio treats localhost otherwise
    response = HTTP.get(server.url + path, headers=headers, params={"site": server.open.id})
    assert response.status_code == 200
    assert "access-control-allow-origin" not in response.headers


# --- Asking ------------------------------------------------------------------------------------------


def test_an_answer_is_streamed_as_the_api_streams_it(server: Server) -> None:
    response = server.widget().ask()
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["access-control-allow-origin"] == PORTAL
    told = events(response)
    assert [name for name, _ in told] == ["citation", "sentence", "done"]
    whole = HTTP.post(f"{server.url}/api/ask", json={"question": QUESTION}).json()
    del whole["retrieved"], whole["timings_ms"]
    assert told[-1][1] == whole
    assert told[0][1] == whole["citations"][0]


def test_a_stream_that_was_cut_is_gone_on_with_by_its_session(server: Server) -> None:
    page, other = server.widget(), server.widget()
    response = page.ask()
    first, second, third = re.findall("^id: (.+)$", response.text, re.MULTILINE)
    body, before = {"question": QUESTION}, len(server.chain.asked)

    def resumed(by: Widget, last: str) -> httpx.Response:
        return HTTP.post(
            f"{server.url}/widget/ask", json=body, headers={**by.headers(), "Last-Event-ID": last}
        )

    assert events(resumed(page, first)) == events(response)[1:]
    assert events(resumed(page, second)) == events(response)[2:]
    assert resumed(page, third).status_code == 204
    assert len(server.chain.asked) == before  # nothing was computed anew
    assert error(resumed(other, first)) == (409, "other_stream")
    assert error(resumed(page, "none.1")) == (410, "stream_gone")


def test_a_conversation_goes_on_with_its_numbers(server: Server) -> None:
    start = TEXT.index("满意率")
    cited = [{"document": NAME, "start": start, "end": start + 8, "n": 4}]
    history = [{"role": "user", "content": "满意率是多少？"}, {"role": "assistant", "content": "96.5%。[4]"}]
    answer = done(server.widget().ask(history=history, cited=cited))
    assert [citation["n"] for citation in answer["citations"]] == [5]
    asked = server.chain.asked[-1]
    assert [turn.content for turn in asked.history] == ["满意率是多少？", "96.5%。[4]"]
    assert asked.articles == ()


@pytest.mark.parametrize(
    "more",
    [
        {"articles": [1]},
        {"within": []},
        {"stream": True},
        {"model": "gpt"},
        {"prompt": "ignore"},
        {"history": [{"role": "system", "content": "obey"}]},
        {"history": [{"role": "user", "content": "问"}] * 21},
        {"question": ""},
        {"question": "\ud800"},
        {"cited": [{"document": NAME, "start": 60, "end": 60, "n": 1}]},
    ],
    ids=lambda more: str(more)[:40],
)
def test_the_page_chooses_nothing_but_the_question(server: Server, more: dict[str, Any]) -> None:
    widget = server.widget()
    content = json.dumps({"question": QUESTION, **more})
    headers = {**widget.headers(), "Content-Type": "application/json"}
    response = HTTP.post(f"{server.url}/widget/ask", content=content, headers=headers)
    assert response.status_code == 422, response.text
    assert response.headers["access-control-allow-origin"] == PORTAL


@pytest.mark.parametrize(
    "more", [{"origin": PORTAL}, {"ticket": 5}, {"site": "\ud800"}, {"ticket": "\ud800"}]
)
def test_a_session_is_asked_for_by_site_and_ticket_alone(server: Server, more: dict[str, Any]) -> None:
    headers = {"Origin": PORTAL, "Content-Type": "application/json"}
    content = json.dumps({"site": server.open.id, **more})
    response = HTTP.post(f"{server.url}/widget/session", content=content, headers=headers)
    assert error(response) == (422, "invalid_request")


def test_a_body_or_a_question_that_is_too_long_is_refused(server: Server) -> None:
    assert error(server.widget().ask("长" * (MAX_QUESTION + 1))) == (413, "question_too_long")
    response = server.widget().ask("a" * MAX_BODY)
    assert error(response) == (413, "body_too_large")
    assert response.headers["access-control-allow-origin"] == PORTAL


def test_what_the_operator_should_know_is_not_told_to_pages(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = server.chain.stream

    def failing(question: Question) -> Iterator[Event]:
        yield from list(real(question))[:2]
        yield Discarded("连不上 http://10.0.0.7:8000 (cannot be reached)")
        raise KnowledgeBaseError("知识库 /srv/secret 不可用", "检查 /srv/secret")

    monkeypatch.setattr(server.chain, "stream", failing)
    told = events(server.widget().ask())
    assert [name for name, _ in told] == ["citation", "discarded", "error"]
    assert told[1][1] == {"reason": "改用原文摘录作答 (answered with extracts instead)"}
    assert told[2][1]["error"]["code"] == "unavailable"
    assert not re.search("srv|10.0.0.7", str(told))


def test_an_unforeseen_failure_tells_nothing(server: Server) -> None:
    response = server.widget().ask(BROKEN)
    assert error(response) == (500, "internal")
    assert "fake breaks" not in response.text
    assert response.headers["access-control-allow-origin"] == PORTAL  # the page can say what happened
    assert response.headers["x-request-id"]


# --- A site's articles -------------------------------------------------------------------------------


def test_a_site_answers_from_its_articles_alone(server: Server) -> None:
    everything, first = server.widget(), server.widget(server.first)
    (citation,) = done(everything.ask(ELSEWHERE))["citations"]
    assert citation["article"]["number"] == 3
    answer = done(first.ask(ELSEWHERE))
    assert server.chain.asked[-1].articles == ((NAME, 1),)
    assert answer["refused"] is True
    assert "社区养老" not in json.dumps(answer, ensure_ascii=False)
    assert done(first.ask())["citations"][0]["article"]["number"] == 1


def test_a_sites_examples_are_of_its_articles(server: Server) -> None:
    examples = Widget(server.url, server.first.id).begin().json()["examples"]
    assert examples == ["“建强服务队伍”包括哪些方面？"]
    third = server.sites.put("第三篇", [PORTAL], [(NAME, 3)])
    assert Widget(server.url, third.id).begin().json()["examples"] == []


def test_a_site_names_no_other_article_where_the_real_chain_refuses(samples: Path, tmp_path: Path) -> None:
    """The refusal names what is near, which must be the site's."""
    settings = Settings(kb=tmp_path / "kb", refuse_below=1)
    ingest([samples / "compilation.messy.txt"], settings, FakeEncoder())
    chain = Chain(HybridRetriever(store=Store.open(settings.kb), encoder=FakeEncoder()), settings)
    articles = chain.store.articles()
    one, *others = [stored.article.title for stored in articles]
    site = Sites(AccessStore(settings.kb)).put("一篇", [PORTAL], [(articles[0].document, 1)])
    with running(create_app(settings, chain)) as url:
        widget = Widget(url, site.id)
        examples = widget.begin().json()["examples"]
        answer = done(widget.ask(f"{others[0]}说的是什么？"))
    assert answer["refused"] is True
    assert f"内容相近的是《{one}》。" in answer["answer"]
    told = json.dumps([answer["answer"], answer["sentences"], examples], ensure_ascii=False)
    assert not [title for title in others if title in told]


def test_a_site_whose_articles_are_gone_does_not_answer_from_others(server: Server) -> None:
    gone = server.sites.put("旧文", [PORTAL], [("旧.txt", 1)])
    assert error(server.widget(gone).ask()) == (404, "unknown_article")
    partly = server.sites.put("半旧", [PORTAL], [("旧.txt", 1), (NAME, 2)])
    assert done(server.widget(partly).ask(ELSEWHERE))["refused"] is True
    assert server.chain.asked[-1].articles == ((NAME, 2),)


def test_an_earlier_citation_of_another_article_is_one_that_is_not_there(server: Server) -> None:
    start = TEXT.index("社区食堂只有19家")
    cited = [{"document": NAME, "start": start, "end": start + 9, "n": 1}]
    assert error(server.widget(server.first).ask(cited=cited)) == (404, "unknown_place")
    assert server.widget().ask(cited=cited).status_code == 200


# --- Sources -----------------------------------------------------------------------------------------


def test_a_source_is_the_exact_characters_inside_their_article(server: Server) -> None:
    response = server.widget().source("满意率96.5%")
    assert response.headers["access-control-allow-origin"] == PORTAL
    place = response.json()
    article = written()[1].articles[1]
    assert list(place) == [
        "document",
        "title",
        "category",
        "section",
        "start",
        "end",
        "before",
        "text",
        "after",
    ]
    assert place["text"] == TEXT[place["start"] : place["end"]] == "满意率96.5%"
    assert (place["title"], place["category"]) == (article.title, "经验交流")
    assert place["section"] == ["二、一线办理"]
    assert place["before"] + place["text"] + place["after"] == TEXT[article.start : article.end]


def test_what_stands_around_a_source_has_a_limit(samples: Path, tmp_path: Path) -> None:
    settings = Settings(kb=tmp_path / "kb")
    ingest([samples / "compilation.messy.txt"], settings, FakeEncoder())
    chain = Chain(HybridRetriever(store=Store.open(settings.kb), encoder=FakeEncoder()), settings)
    longest = max(chain.store.articles(), key=lambda stored: len(stored.article))
    middle = (longest.article.start + longest.article.end) // 2
    site = Sites(AccessStore(settings.kb)).put("门户", [PORTAL])
    with running(create_app(settings, chain)) as url:
        widget = Widget(url, site.id)
        widget.begin()
        place = {"document": longest.document, "start": middle, "end": middle + 5}
        found = HTTP.get(f"{url}/widget/source", params=place, headers=widget.headers()).json()
    half = len(longest.article) // 2
    assert len(found["before"]) == min(1_200, half)
    assert len(found["after"]) == min(1_200, longest.article.end - middle - 5)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"document": "none.txt"}, (404, "unknown_place")),
        ({"start": 0, "end": 3}, (404, "unknown_place")),  # outside every article
        ({"start": 10**9, "end": 10**9 + 1}, (404, "unknown_place")),
        ({"start": 100, "end": 100}, (422, "bad_span")),
        ({"start": 100, "end": 10**9}, (422, "bad_span")),
        ({"start": -1}, (422, "invalid_request")),
        ({"start": 2**63}, (422, "invalid_request")),
        ({"start": "x"}, (422, "invalid_request")),
    ],
)
def test_a_place_that_is_not_there_is_a_4xx(
    server: Server, more: dict[str, Any], expected: tuple[int, str]
) -> None:
    assert error(server.widget().source("满意率", **more)) == expected


def test_a_place_in_an_article_of_another_site_looks_like_none(server: Server) -> None:
    first = server.widget(server.first)
    assert first.source("到2027年").json()["text"] == "到2027年"
    hidden = first.source("社区食堂只有19家")
    assert error(hidden) == (404, "unknown_place")
    assert hidden.json() == first.source("满意率", document="none.txt").json()
    assert error(first.source("到2027年", end=len(TEXT))) == (422, "bad_span")


# --- Quotas ------------------------------------------------------------------------------------------


def too_many(response: httpx.Response) -> int:
    """Seconds to wait, as a refusal that the widget can read says them."""
    assert error(response) == (429, "too_many_requests")
    assert response.headers["access-control-allow-origin"] == PORTAL
    assert response.headers["access-control-expose-headers"] == "Retry-After"
    return int(response.headers["retry-after"])


def test_a_session_an_address_and_new_sessions_have_their_quotas(tmp_path: Path) -> None:
    limits = {"widget_per_session": "3/minute; 4/hour", "widget_per_address": "5/minute"}
    for server in served(tmp_path / "kb", widget_sessions="3/minute", **limits):
        one, other = server.widget(), server.widget()
        assert [one.ask().status_code for _ in range(3)] == [200] * 3
        assert 1 <= too_many(one.ask()) <= 60
        assert [other.ask().status_code for _ in range(2)] == [200] * 2  # another session, same address
        assert 1 <= too_many(other.ask()) <= 60  # five from this address
        assert [one.source("满意率").status_code for _ in range(5)] == [200] * 5
        assert 1 <= too_many(one.source("满意率")) <= 60
        assert server.widget().token
        assert 1 <= too_many(Widget(server.url, server.open.id).begin()) <= 60


def test_so_many_answers_are_made_at_once_and_a_reader_who_leaves_makes_room(tmp_path: Path) -> None:
    for server in served(tmp_path / "kb", widget_answers=1, **LAX):
        server.chain.pause = 1.0
        widget = server.widget()
        body = {"question": "村级网格员、田间课堂、返乡青年"}  # answered by three items
        streaming = HTTP.stream("POST", f"{server.url}/widget/ask", json=body, headers=widget.headers())
        with streaming as slow:
            next(slow.iter_text())
            busy = server.widget().ask()
            assert error(busy) == (503, "busy")
            assert int(busy.headers["retry-after"]) >= 1
            assert busy.headers["access-control-allow-origin"] == PORTAL
        server.chain.pause = 0.0
        until = time.monotonic() + 20
        while (response := server.widget().ask()).status_code == 503:
            assert time.monotonic() < until, "the answer that nobody reads still takes a place"
            time.sleep(0.1)
        assert done(response)["refused"] is False


def test_a_limit_that_is_none_is_refused_with_the_settings() -> None:
    from rag.config import read_settings
    from rag.errors import ConfigError

    with pytest.raises(ConfigError, match="widget_per_session"):
        read_settings(widget_per_session="often")
    with pytest.raises(ConfigError, match="widget_answers"):
        read_settings(widget_answers=0)


# --- The script and the framed page ------------------------------------------------------------------


def test_any_page_may_load_the_script(server: Server) -> None:
    address = f"{server.url}/widget.js"
    response = HTTP.get(address, headers={"Origin": "https://anywhere.example"})
    assert response.content == (FILES / "widget.js").read_bytes()
    assert response.headers["content-type"].startswith("text/javascript")
    assert response.headers["access-control-allow-origin"] == "*"
    assert response.headers["cross-origin-resource-policy"] == "cross-origin"
    assert response.headers["cache-control"] == "no-cache"
    again = HTTP.get(address, headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert HTTP.get(address, headers={"If-None-Match": '"other"'}).status_code == 200


def ticket(server: Server, site: Site) -> str:
    page = HTTP.get(f"{server.url}/widget/frame", params={"site": site.id}).text
    (found,) = re.findall(
        f'<script src="../widget.js" data-site="{site.id}" data-ticket="([^"]+)" data-mode="inline"></script>',
        page,
    )
    return str(found)


def test_the_framed_page_may_be_framed_by_its_site_alone(server: Server) -> None:
    response = HTTP.get(f"{server.url}/widget/frame", params={"site": server.open.id})
    policy = dict(
        part.strip().partition(" ")[::2] for part in response.headers["content-security-policy"].split(";")
    )
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": f"{PORTAL} {INTRANET}",
    }
    assert response.headers["cache-control"] == "no-store"
    assert "<title>问门户</title>" in response.text
    assert "x-frame-options" not in response.headers
    assert HTTP.get(f"{server.url}/widget/frame.css").headers["content-type"].startswith("text/css")


@pytest.mark.parametrize("query", ["?site=site_0000000000000000", "?site="])
def test_there_is_no_framed_page_of_an_unknown_site(server: Server, query: str) -> None:
    assert error(HTTP.get(f"{server.url}/widget/frame{query}")) == (404, "unknown_site")


def test_the_framed_page_begins_a_session_with_its_ticket(server: Server) -> None:
    widget = Widget(server.url, server.first.id, server.url)
    assert error(widget.begin()) == (403, "origin_refused")
    assert error(widget.begin(ticket=ticket(server, server.open))) == (403, "origin_refused")
    begun = widget.begin(ticket=ticket(server, server.first))
    assert begun.status_code == 200
    assert "access-control-allow-origin" not in begun.headers  # its own origin needs none
    assert done(widget.ask())["refused"] is False
    widget.origin = None  # as browsers ask their own origin with GET
    assert widget.source("到2027年").json()["text"] == "到2027年"
    assert error(widget.source("社区食堂只有19家")) == (404, "unknown_place")
    assert error(widget.ask()) == (401, "session_invalid")


@pytest.mark.parametrize("origin", [*STRANGE, None])
def test_a_ticket_helps_no_other_origin(server: Server, origin: str | None) -> None:
    widget = Widget(server.url, server.open.id, origin)
    assert error(widget.begin(ticket=ticket(server, server.open))) == (403, "origin_refused")


@pytest.mark.parametrize("told", ["cross-site", "same-site", "none"])
def test_what_the_browser_says_of_a_request_goes_before_its_origin(server: Server, told: str) -> None:
    taken = ticket(server, server.open)
    headers = {"Origin": server.url, "Sec-Fetch-Site": told}
    body = {"site": server.open.id, "ticket": taken}
    address = f"{server.url}/widget/session"
    assert error(HTTP.post(address, json=body, headers=headers)) == (403, "origin_refused")
    headers = {"Origin": "https://behind-a-proxy.example", "Sec-Fetch-Site": "same-origin"}
    assert HTTP.post(address, json=body, headers=headers).status_code == 200
    assert error(HTTP.post(address, json=body, headers={**headers, "Origin": "null"})) == (
        403,
        "origin_refused",
    )


def test_a_session_of_another_origin_is_not_used_without_one(server: Server) -> None:
    widget = server.widget()
    widget.origin = None
    headers = {**widget.headers(), "Sec-Fetch-Site": "same-origin"}
    place = {"document": NAME, "start": 100, "end": 105}
    response = HTTP.get(f"{server.url}/widget/source", params=place, headers=headers)
    assert error(response) == (401, "session_invalid")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/widget/ask"), ("POST", "/widget/source"), ("GET", "/widget/none")]
)
def test_other_paths_and_methods_are_json_errors(server: Server, method: str, path: str) -> None:
    response = HTTP.request(method, server.url + path)
    assert error(response)[0] in (404, 405)
