"""Streams that are cut, gone on with, cancelled or read slowly, and the bound on answers: against a real server."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import pytest
from chat_site import Site, serving
from fakes_ui import MAX_QUESTION, FakeChain, fake_chain

from rag.config import Settings
from rag.records import Answer, AnswerSentence, Done, Event, Question, Retrieved, Said
from ui import streams
from ui.errors import ApiError
from ui.streams import Stream, Streams, told

QUESTION = "青禾县到2027年建成多少个数字乡村示范村？"
ENDLESS, FLOOD = (
    "没完没了",
    "滔滔不绝",
)  # questions whose answer never ends, the second one's in long sentences
HELD = "且慢"  # a question whose answer waits to be let go
SENTENCES = {
    ENDLESS: AnswerSentence("这一句说了又说。", (), "supported"),
    FLOOD: AnswerSentence("这一句说了又说。" * 40_000, (), "supported"),  # a few fill every buffer on the way
}
GRACE = 0.5  # seconds


@dataclass
class Endless(FakeChain):
    """Answers some questions without end, and notes when it is stopped; holds another one."""

    said: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)
    held: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    let_go: threading.Event = field(default_factory=threading.Event)

    def stream(self, question: Question) -> Iterator[Event]:
        if question.text == HELD:
            self.held.release()
            assert self.let_go.wait(60)
        if question.text not in SENTENCES:
            yield from super().stream(question)
            return
        self.stopped.clear()
        self.asked.append(question)
        try:
            yield Retrieved(())
            while True:
                time.sleep(0.01)
                self.said += 1
                yield Said(SENTENCES[question.text])
        finally:
            self.stopped.set()

    def waited(self) -> bool:
        """Whether it is stopped soon, and says nothing afterwards."""
        stopped, said = self.stopped.wait(30), self.said
        time.sleep(0.1)
        return stopped and self.said == said


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    kb = tmp_path_factory.mktemp("kb")
    chain = Endless(fake_chain(kb).store)
    patched = pytest.MonkeyPatch()
    patched.setattr(streams, "GRACE", GRACE)
    patched.setattr(streams, "SLOWEST", 1.0)
    with serving(Settings(kb=kb, max_question=MAX_QUESTION, max_answers=2), chain) as found:
        yield found
    patched.undo()


@pytest.fixture
def chain(site: Site) -> Endless:
    assert isinstance(site.chain, Endless)
    return site.chain


Told = tuple[str, str, dict[str, Any]]  # id, name, data


def asked(site: Site, question: str, last: str = "", most: int = 10**6) -> list[Told]:
    """The first events of a stream; then the client goes away."""
    found: list[Told] = []
    body = {"question": question, "stream": True}
    headers = {"Last-Event-ID": last} if last else {}
    with httpx.stream("POST", f"{site.url}/api/ask", json=body, headers=headers, timeout=30) as response:
        response.raise_for_status()
        text = ""
        for part in response.iter_text():
            *blocks, text = (text + part).split("\n\n")
            for block in blocks:
                fields = dict(line.split(": ", 1) for line in block.split("\n"))
                found.append((fields["id"], fields["event"], json.loads(fields["data"])))
                if len(found) == most:
                    return found
    return found


def refused(site: Site, question: str, last: str) -> tuple[int, str]:
    body = {"question": question, "stream": True}
    response = httpx.post(f"{site.url}/api/ask", json=body, headers={"Last-Event-ID": last}, timeout=30)
    return response.status_code, response.json()["error"]["code"]


def is_free(site: Site) -> bool:
    """Whether an answer can be asked for soon."""
    return soon(lambda: httpx.post(f"{site.url}/api/ask", json={"question": QUESTION}).status_code == 200)


def soon(what: Callable[[], bool]) -> bool:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.05)
    return False


# --- Going on --------------------------------------------------------------------------------------


def test_a_cut_stream_is_gone_on_with_and_nothing_is_computed_anew(site: Site, chain: Endless) -> None:
    begun = asked(site, QUESTION, most=2)
    count = len(chain.asked)
    rest = asked(site, QUESTION, begun[-1][0])
    assert len(chain.asked) == count
    assert [name for _, name, _ in begun + rest] == ["retrieved", "citation", "sentence", "done"]
    key = begun[0][0].rpartition(".")[0]
    assert [number for number, _, _ in begun + rest] == [f"{key}.{n}" for n in (1, 2, 3, 4)]
    assert rest[-1][2] == site.answer(QUESTION)


def test_the_same_events_can_be_asked_for_twice(site: Site) -> None:
    whole = asked(site, QUESTION)
    assert asked(site, QUESTION, whole[0][0]) == asked(site, QUESTION, whole[0][0]) == whole[1:]


def test_after_the_last_event_there_is_nothing(site: Site) -> None:
    last = asked(site, QUESTION)[-1][0]
    body = {"question": QUESTION, "stream": True}
    response = httpx.post(f"{site.url}/api/ask", json=body, headers={"Last-Event-ID": last})
    assert (response.status_code, response.content) == (204, b"")


def test_a_stream_that_is_not_there_is_told(site: Site) -> None:
    key = asked(site, QUESTION)[0][0].rpartition(".")[0]
    for last in ("none.1", "1", ".", f"{key}.", f"{key}.x", f"{key}.99", f"{key}.-1"):
        assert refused(site, QUESTION, last) == (410, "stream_gone")
    assert refused(site, "县财政安排多少专项资金？", f"{key}.1") == (409, "other_stream")


# --- Going away ------------------------------------------------------------------------------------


def test_work_pauses_when_the_client_goes_and_stops_when_it_stays_away(site: Site, chain: Endless) -> None:
    begun = asked(site, ENDLESS, most=3)
    rest = asked(site, ENDLESS, begun[-1][0], most=3)  # within the grace
    assert [int(number.rpartition(".")[2]) for number, _, _ in begun + rest] == [1, 2, 3, 4, 5, 6]
    assert chain.waited()
    assert soon(lambda: refused(site, ENDLESS, rest[-1][0]) == (410, "stream_gone"))
    assert is_free(site)


def test_a_stream_can_be_cancelled(site: Site, chain: Endless) -> None:
    begun = asked(site, ENDLESS, most=2)
    address = f"{site.url}/api/streams/{begun[0][0].rpartition('.')[0]}"
    assert httpx.delete(address).status_code == 204
    assert chain.waited()
    assert refused(site, ENDLESS, begun[-1][0]) == (410, "stream_gone")
    again = httpx.delete(address)
    assert (again.status_code, again.json()["error"]["code"]) == (410, "stream_gone")


def test_cancelling_ends_the_response_that_is_being_read(site: Site, chain: Endless) -> None:
    body = {"question": ENDLESS, "stream": True}
    with httpx.stream("POST", f"{site.url}/api/ask", json=body, timeout=30) as response:
        lines = response.iter_lines()
        key = next(lines).removeprefix("id: ").partition(".")[0]
        assert httpx.delete(f"{site.url}/api/streams/{key}").status_code == 204
        assert "event: done" not in list(lines)  # to the end, which comes
    assert chain.waited()


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/ask", {"question": ENDLESS}),
        (
            "/v1/chat/completions",
            {"model": "youju", "messages": [{"role": "user", "content": ENDLESS}], "stream": True},
        ),
        ("/v1/chat/completions", {"model": "youju", "messages": [{"role": "user", "content": ENDLESS}]}),
    ],
)
def test_what_cannot_be_gone_on_with_stops_at_once(
    site: Site, chain: Endless, path: str, body: dict[str, Any]
) -> None:
    before, began = len(chain.asked), time.monotonic()
    patience = httpx.Timeout(10, read=1.0)
    with (
        pytest.raises(httpx.ReadTimeout),
        httpx.stream("POST", site.url + path, json=body, timeout=patience) as response,
    ):
        for _ in response.iter_bytes():  # comments come all the time
            if time.monotonic() - began > 1:
                raise httpx.ReadTimeout("enough")
    assert len(chain.asked) == before + 1
    assert chain.waited()
    assert is_free(site)


def test_a_reader_who_accepts_nothing_is_given_up(site: Site, chain: Endless) -> None:
    body = json.dumps({"question": FLOOD, "stream": True}).encode()
    address, before = urlsplit(site.url), len(chain.asked)
    with socket.create_connection((address.hostname, address.port)) as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        head = f"POST /api/ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        reader.sendall(head.encode() + b"\r\n\r\n" + body)
        assert soon(lambda: len(chain.asked) > before)
        assert chain.waited()
        assert is_free(site)


# --- Many at once ----------------------------------------------------------------------------------


def test_one_answer_too_many_is_told_when_to_come_back(site: Site, chain: Endless) -> None:
    assert is_free(site)
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(site.answer, HELD) for _ in range(2)]
        for _ in answers:
            assert chain.held.acquire(timeout=10)
        for path, body in (
            ("/api/ask", {"question": QUESTION}),
            ("/api/ask", {"question": QUESTION, "stream": True}),
            ("/v1/chat/completions", {"model": "youju", "messages": [{"role": "user", "content": QUESTION}]}),
        ):
            response = httpx.post(site.url + path, json=body)
            assert (response.status_code, response.json()["error"]["code"]) == (503, "busy")
            assert response.headers["Retry-After"] == "2"
        assert httpx.get(f"{site.url}/healthz").status_code == 200
        assert httpx.get(f"{site.url}/api/articles").status_code == 200
        chain.let_go.set()
        assert [answer.result()["refused"] for answer in answers] == [True, True]
    assert is_free(site)


def test_clients_who_go_away_leave_nothing_behind(site: Site, chain: Endless) -> None:
    assert is_free(site)
    threads = threading.active_count()
    for _ in range(10):
        assert soon(lambda: bool(_begun(site)))
    assert is_free(site) and chain.waited()
    assert soon(lambda: threading.active_count() <= threads + 2)


def _begun(site: Site) -> list[Told]:
    try:
        return asked(site, ENDLESS, most=2)
    except httpx.HTTPStatusError as error:
        assert error.response.status_code == 503  # those before are waited for still
        return []


# --- By themselves ---------------------------------------------------------------------------------


def done(text: str) -> Done:
    return Done(Answer((), (), (), False, text, {}))


def test_a_stream_that_is_stopped_within_a_step_ends_after_it() -> None:
    step, go_on = threading.Event(), threading.Event()
    closed = threading.Event()

    def events() -> Iterator[Event]:
        try:
            step.set()
            go_on.wait(10)
            yield done("one")
            yield done("two")
        finally:
            closed.set()

    stream = Stream(told(events()), None)
    read: list[str] = []
    reading = threading.Thread(target=lambda: read.extend(stream.after(0)))
    reading.start()
    step.wait(10)
    began = time.monotonic()
    stream.stop()
    assert time.monotonic() - began < 1  # it does not wait for the step
    assert not closed.is_set()
    go_on.set()
    reading.join(10)
    assert closed.is_set() and stream.over
    assert len(read) == 1


def test_only_so_many_streams_are_kept_and_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "KEPT", 2)
    now = 0.0
    kept = Streams(clock=lambda: now)
    begun = []
    for name in "abc":
        response: Any = kept.begin(told([done(name)]), name)
        begun.append(read(response))
    assert len(begun) == 3
    with pytest.raises(ApiError) as gone:
        kept.resume(begun[0], "a")
    assert gone.value.code == "stream_gone"
    assert kept.resume(begun[2], "c").status_code == 204
    now = streams.KEPT_FOR + 1
    with pytest.raises(ApiError):
        kept.resume(begun[2], "c")


def read(response: Any) -> str:
    """Read a response to its end; the id of its last event."""
    sent: list[bytes] = []

    async def receive() -> dict[str, Any]:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        sent.append(message.get("body", b""))

    anyio.run(lambda: response({"type": "http"}, receive, send))
    return b"".join(sent).decode().split("id: ")[-1].split("\n")[0]
