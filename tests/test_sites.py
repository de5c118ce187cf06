"""Sites: their origins as browsers send them, their articles, the command line, and the tokens of their sessions."""

from __future__ import annotations

import json
import sqlite3
import stat
from pathlib import Path

import pytest
from fakes_ui import NAME, fake_chain
from typer.testing import CliRunner, Result

from rag.errors import ConfigError, QuestionError
from ui.access import FILE, AccessStore
from ui.cli import sites
from ui.sessions import SESSION_SECONDS, TICKET_SECONDS, Sessions
from ui.sites import Sites, articles_named, checked_origin, is_plain

PORTAL = "https://portal.example"


# --- Origins -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    [
        "https://portal.example",
        "https://portal.example:8443",
        "http://portal.example:443",  # not the port that goes without saying for http
        "http://localhost:7860",
        "http://127.0.0.1",
        "https://[2001:db8::1]:8443",
        "https://xn--fiq228c.example",
        "https://oa_test.example",
    ],
)
def test_an_origin_as_browsers_send_it_is_taken(origin: str) -> None:
    assert checked_origin(origin) == origin


@pytest.mark.parametrize(
    ("given", "mended"),
    [
        ("https://portal.example/", "https://portal.example"),
        ("https://portal.example/chat?x=1#y", "https://portal.example"),
        ("https://Portal.Example", "https://portal.example"),
        ("HTTPS://portal.example", "https://portal.example"),
        ("https://portal.example:443", "https://portal.example"),
        ("http://portal.example:80", "http://portal.example"),
        ("https://portal.example.", "https://portal.example"),
        (" https://portal.example", "https://portal.example"),
        ("https://中文.example", "https://xn--fiq228c.example"),
    ],
)
def test_an_address_instead_of_an_origin_is_told_how_to_be_written(given: str, mended: str) -> None:
    with pytest.raises(ConfigError, match=r"来源不可用 \(bad origin\)") as caught:
        checked_origin(given)
    assert caught.value.remedy == f"写 {mended} (write it like this)"


@pytest.mark.parametrize(
    "given",
    [
        "",
        "null",
        "*",
        "https://*.portal.example",
        "https://",
        "https:portal.example",
        "portal.example",
        "ftp://portal.example",
        "javascript://portal.example",
        "chrome-extension://abcdefgh",
        "https://user@portal.example",
        "https://portal.example:0",
        "https://portal.example:99999",
        "https://portal.example:٣",
        "https://portal..example",
        "https://-portal.example",
        "https://127.1",
        "https://0x7f.1",
        "https://[::1",
        "https://[0:0:0:0:0:0:0:1]x",
        "https://portal.example; script-src *",
        "https://portal.example\nhttps://evil.example",
        "https://" + "a" * 64 + ".example",
    ],
)
def test_what_is_no_origin_is_refused(given: str) -> None:
    with pytest.raises(ConfigError, match="来源不可用") as caught:
        checked_origin(given)
    assert caught.value.remedy.startswith("写 https://")


def test_pages_over_http_are_told_apart_but_for_this_machines() -> None:
    assert is_plain("http://portal.example")
    assert not any(map(is_plain, (PORTAL, "http://localhost:1", "http://127.0.0.1", "http://[::1]:8")))


# --- Sites -------------------------------------------------------------------------------------------


def test_a_site_is_kept_with_its_origins_and_another_process_sees_it_at_once(tmp_path: Path) -> None:
    here, there = Sites(AccessStore(tmp_path)), Sites(AccessStore(tmp_path))
    assert there.all() == []
    assert not there.allow(PORTAL)
    site = here.put("门户", [PORTAL, "http://localhost:5000", PORTAL], [(NAME, 3), (NAME, 1)], "问一问")
    assert site.id.startswith("site_")
    assert len(site.id) == len("site_") + 16
    assert site.origins == (PORTAL, "http://localhost:5000")
    assert site.articles == ((NAME, 3), (NAME, 1))
    assert there.get(site.id) == site
    assert there.all() == [site]
    assert there.allow(PORTAL)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    here.remove(site.id)
    assert there.get(site.id) is None
    assert not there.allow(PORTAL)


def test_a_site_put_again_keeps_its_id(tmp_path: Path) -> None:
    sites = Sites(AccessStore(tmp_path))
    first = sites.put("门户", [PORTAL], [(NAME, 1)])
    second = sites.put("门户", ["https://new.example"])
    assert (second.id, second.made) == (first.id, first.made)
    assert (second.origins, second.articles) == (("https://new.example",), None)
    assert not sites.allow(PORTAL)
    assert sites.put("别的", [PORTAL]).id != first.id


@pytest.mark.parametrize("origin", ["null", "*", "", "https://portal.exampl", "https://portal.example "])
def test_an_origin_is_allowed_as_a_whole_or_not(tmp_path: Path, origin: str) -> None:
    sites = Sites(AccessStore(tmp_path))
    sites.put("门户", [PORTAL])
    assert not sites.allow(origin)


def test_a_site_that_cannot_be_is_refused(tmp_path: Path) -> None:
    sites = Sites(AccessStore(tmp_path))
    with pytest.raises(ConfigError, match="要有来源"):
        sites.put("门户", [])
    with pytest.raises(ConfigError, match="来源不可用"):
        sites.put("门户", [PORTAL, "https://*.example"])
    with pytest.raises(ConfigError, match="要有来源"):
        sites.put("门户", [PORTAL], [])  # an empty restriction would mean none
    with pytest.raises(ConfigError, match="名称或标题"):
        sites.put(" ", [PORTAL])
    with pytest.raises(ConfigError, match="名称或标题"):
        sites.put("门户", [PORTAL], title="\x1b[31m")
    with pytest.raises(ConfigError, match="没有这个网站"):
        sites.remove("site_0000000000000000")
    assert sites.all() == []


def test_articles_are_named_with_their_documents(tmp_path: Path) -> None:
    with fake_chain(tmp_path).store as store:
        assert articles_named([2, (NAME, 3), 2], store) == ((NAME, 2), (NAME, 3))
        with pytest.raises(QuestionError, match="没有这篇文章"):
            articles_named([9], store)
        with pytest.raises(QuestionError, match="没有这篇文章"):
            articles_named([("别的.txt", 1)], store)


# --- The command line --------------------------------------------------------------------------------


@pytest.fixture
def kb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    fake_chain(tmp_path / "kb").store.close()
    monkeypatch.setenv("YOUJU_KB", str(tmp_path / "kb"))
    return tmp_path / "kb"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(sites, arguments)


def test_the_command_line_adds_lists_and_removes(kb: Path) -> None:
    added = run(
        "add", "门户", "--origin", PORTAL, "--article", "2", "--article", f"{NAME}:3", "--title", "问"
    )
    assert added.exit_code == 0, added.stderr
    key, snippet = added.stdout.splitlines()
    assert snippet == f'<script src="https://HOST/widget.js" data-site="{key}"></script>'
    (site,) = json.loads(run("list", "--json").stdout)
    assert {**site, "made": ""} == {
        "id": key,
        "name": "门户",
        "title": "问",
        "origins": [PORTAL],
        "articles": [[NAME, 2], [NAME, 3]],
        "made": "",
    }
    assert run("list").stdout == f"{key}  门户  {PORTAL}  2 篇 (articles)\n"
    again = json.loads(run("add", "门户", "--origin", PORTAL, "--json").stdout)
    assert (again["id"], again["articles"], again["snippet"]) == (key, None, snippet)
    assert run("remove", key).stdout == f"已移除 (removed): 门户 {key}\n"
    assert json.loads(run("list", "--json").stdout) == []


def test_the_command_line_warns_of_plain_http(kb: Path) -> None:
    added = run("add", "内网", "--origin", "http://oa.example", "--origin", "http://localhost:8000")
    assert added.exit_code == 0
    assert "http://oa.example 的页面可在途中被改动" in added.stderr
    assert "localhost" not in added.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["add", "门户", "--origin", "https://portal.example/"], "写 https://portal.example (write it"),
        (["add", "门户", "--origin", PORTAL, "--article", "9"], "没有这篇文章 (no such article): 9"),
        (["add", "门户", "--origin", PORTAL, "--article", "三"], "文章编号不对"),
        (["remove", "site_none"], "没有这个网站 (no such site): site_none"),
    ],
)
def test_the_command_line_refuses_in_one_line(kb: Path, arguments: list[str], says: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert says in result.stderr
    assert Sites(AccessStore(kb)).all() == []


def test_a_site_needs_a_knowledge_base_that_is_there(kb: Path, tmp_path: Path) -> None:
    result = run("add", "门户", "--origin", PORTAL, "--kb", str(tmp_path / "none"))
    assert result.exit_code == 2
    assert "youju ingest" in result.stderr
    assert not (tmp_path / "none").exists()


# --- Tokens ------------------------------------------------------------------------------------------


class Clock:
    """Seconds, set by hand."""

    now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def test_a_session_holds_for_ten_minutes() -> None:
    clock = Clock()
    sessions = Sessions(lambda: b"s" * 32, clock)
    token = sessions.begin("site_a", PORTAL, own=False)
    session = sessions.read(token)
    assert session
    assert (session.site, session.origin, session.own) == ("site_a", PORTAL, False)
    other = sessions.read(sessions.begin("site_a", PORTAL, own=False))
    assert other
    assert session.id != other.id
    clock.now += SESSION_SECONDS
    assert sessions.read(token) == session
    clock.now += 1
    assert sessions.read(token) is None
    clock.now -= SESSION_SECONDS + 2  # before it was made
    assert sessions.read(token) is None


def test_a_token_that_was_changed_or_made_elsewhere_is_none() -> None:
    sessions = Sessions(lambda: b"s" * 32)
    token = sessions.begin("site_a", PORTAL, own=False)
    content, made, signature = token.rsplit(".", 2)
    other = Sessions(lambda: b"t" * 32).begin("site_a", PORTAL, own=False)
    forged = [
        token[:-1],
        token[1:],
        f"{content}.{made}",
        f"{content}.{made}.",
        f"{sessions.begin('site_b', PORTAL, own=True).split('.')[0]}.{made}.{signature}",
        other,
        sessions.ticket("site_a"),  # for another purpose
        "",
        "é",
        "." * 500,
    ]
    assert [sessions.read(one) for one in forged] == [None] * len(forged)
    assert sessions.read(token)


def test_a_ticket_is_for_one_site_and_for_half_a_day() -> None:
    clock = Clock()
    sessions = Sessions(lambda: b"s" * 32, clock)
    ticket = sessions.ticket("site_a")
    assert sessions.is_ticket(ticket, "site_a")
    assert not sessions.is_ticket(ticket, "site_b")
    assert not sessions.is_ticket("", "site_a")
    assert not sessions.is_ticket(sessions.begin("site_a", PORTAL, own=False), "site_a")
    clock.now += TICKET_SECONDS + 1
    assert not sessions.is_ticket(ticket, "site_a")


def test_another_secret_ends_all_sessions(tmp_path: Path) -> None:
    access = AccessStore(tmp_path)
    Sites(access).put("门户", [PORTAL])
    sessions = Sessions(access.secret)
    token = sessions.begin("site_a", PORTAL, own=False)
    assert Sessions(AccessStore(tmp_path).secret).read(token)  # another process, or after a restart
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute("DELETE FROM secret")
    assert sessions.read(token) is None
