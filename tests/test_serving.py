"""A real server in a process of its own: stopped, killed at the other end, read slowly, shared by workers."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from builders import compilation
from fakes import FakeEncoder

from rag.config import Settings, read_settings
from rag.errors import ConfigError, YoujuError
from rag.ingest import ingest
from ui.serving import serve

TESTS = Path(__file__).parent
QUESTION = "联席会议怎么开展？"
PATIENCE = 60  # seconds: how long a start or an answer may take on a busy machine
pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals")


@dataclass
class Server:
    """A running server."""

    process: subprocess.Popen[str]
    url: str
    gate: Path

    def ask(self, question: str = QUESTION, **options: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/api/ask", json={"question": question}, timeout=PATIENCE, **options)

    def metric(self, name: str) -> float:
        """The value of a sample in /metrics, summed over its labels."""
        text = self.get("/metrics").text
        return sum(float(v) for v in re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text, re.MULTILINE))

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=PATIENCE)

    def ended(self) -> int:
        """The exit code, within the time that no hanging answer takes."""
        return self.process.wait(PATIENCE)


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("served"))


def filled(folder: Path) -> Path:
    """A knowledge base with one document."""
    path = folder / "汇编.txt"
    path.write_text(compilation(), encoding="utf-8")
    ingest([path], read_settings(kb=folder / "kb"), FakeEncoder())
    return folder / "kb"


@contextmanager
def served(kb: Path, tmp_path: Path, gated: bool = False, **settings: Any) -> Iterator[Server]:
    """A server as a process of its own, whose answers wait at its gate if it is ``gated``."""
    given = {f"YOUJU_{name.upper()}": str(value) for name, value in {"kb": kb, "refuse_below": 0}.items()}
    given |= {f"YOUJU_{name.upper()}": str(value) for name, value in settings.items()}
    gate = tmp_path / "gate"
    log = tmp_path / "log"
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, str(TESTS / "serving_child.py")],
            env=os.environ | given | {"PYTHONPATH": f"{TESTS.parent}:{TESTS}", "GATE": str(gate) * gated},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as process,
    ):
        try:
            assert process.stdout
            port = process.stdout.readline().strip()
            assert port, log.read_text()
            yield Server(process, f"http://127.0.0.1:{port}", gate)
        finally:
            for child in children(process):
                os.kill(child, signal.SIGKILL)
            process.kill()


def until(true: Callable[[], bool], within: float = PATIENCE) -> None:
    """Wait until something is so."""
    end = time.monotonic() + within
    while not true():
        assert time.monotonic() < end, "it did not come to be so"
        time.sleep(0.05)


@contextmanager
def stream(server: Server, question: str = QUESTION) -> Iterator[Iterator[str]]:
    """The lines of an answer's events as they come."""
    body = {"question": question, "stream": True}
    with httpx.stream("POST", f"{server.url}/api/ask", json=body, timeout=PATIENCE) as response:
        yield response.iter_lines()


# --- Stopping --------------------------------------------------------------------------------------


def test_an_answer_in_mid_stream_is_delivered_whole_and_the_server_ends(kb: Path, tmp_path: Path) -> None:
    with served(kb, tmp_path, gated=True) as server:
        with stream(server) as lines:
            assert next(lines).startswith("id: ")
            server.process.send_signal(signal.SIGTERM)
            until(lambda: server.get("/readyz").status_code == 503)
            assert server.get("/readyz").json()["status"] == "stopping"
            assert server.get("/healthz").status_code == 200
            refused = server.ask()
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "10"
            assert refused.json()["error"]["code"] == "stopping"
            server.gate.touch()
            text = "\n".join(lines)
        assert "event: done" in text
        done = json.loads(text.split("event: done\ndata: ")[1].split("\n")[0])
        assert done["citations"]
        assert server.ended() == 0


def test_an_idle_server_ends_at_once_although_connections_are_open(kb: Path, tmp_path: Path) -> None:
    with served(kb, tmp_path) as server, httpx.Client() as kept:
        assert kept.get(f"{server.url}/healthz").status_code == 200
        server.process.send_signal(signal.SIGINT)
        assert server.ended() == 0


def test_an_answer_that_takes_too_long_does_not_hold_the_server(kb: Path, tmp_path: Path) -> None:
    with served(kb, tmp_path, gated=True, stop_timeout=1) as server, stream(server) as lines:
        assert next(lines).startswith("id: ")
        server.process.send_signal(signal.SIGTERM)
        assert server.ended() == 0


def test_a_second_signal_ends_it_at_once(kb: Path, tmp_path: Path) -> None:
    with served(kb, tmp_path, gated=True) as server, stream(server) as lines:
        assert next(lines).startswith("id: ")
        server.process.send_signal(signal.SIGTERM)
        until(lambda: server.get("/readyz").status_code == 503)
        server.process.send_signal(signal.SIGTERM)
        assert server.ended() == 1


# --- The other end ---------------------------------------------------------------------------------


def opened(server: Server, question: str, buffer: int = 0) -> socket.socket:
    """A connection on which an answer has begun."""
    body = json.dumps({"question": question, "stream": True}).encode()
    head = f"POST /api/ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    connection = socket.socket()
    if buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    connection.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
    connection.sendall(head.encode() + b"\r\n\r\n" + body)
    assert connection.recv(1) == b"H"
    return connection


def sockets(server: Server) -> int:
    """How many sockets the server has open."""
    folder = Path(f"/proc/{server.process.pid}/fd")
    targets = []
    for entry in folder.iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            targets.append(str(entry.readlink()))
    return sum(target.startswith("socket:") for target in targets)


def threads(server: Server) -> int:
    return len(list(Path(f"/proc/{server.process.pid}/task").iterdir()))


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_clients_that_go_in_mid_stream_leave_nothing_behind(kb: Path, tmp_path: Path) -> None:
    with served(kb, tmp_path, gated=True) as server:
        server.gate.touch()
        server.ask()
        open_before, threads_before = sockets(server), threads(server)
        server.gate.unlink()
        gone = [opened(server, QUESTION) for _ in range(8)]
        until(lambda: server.metric("youju_answers_running") == 8)
        for connection in gone:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # reset
            connection.close()
        server.gate.touch()
        until(lambda: server.metric("youju_answers_running") == 0)  # once nobody has gone on with them
        assert server.metric("youju_answers_waiting") == 0
        until(lambda: sockets(server) <= open_before)
        until(lambda: threads(server) <= threads_before + 10)  # of the pool, which the next ones use again
        assert server.metric('youju_answers_total{state="cancelled"}') == 8
        assert server.ask().json()["citations"]


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_a_slow_reader_holds_up_nobody_and_is_cut_off(kb: Path, tmp_path: Path) -> None:
    with served(kb, tmp_path, write_timeout=2) as server:
        open_before = sockets(server)
        slow = opened(server, "大" + QUESTION, buffer=4096)

        def read() -> None:
            """One byte a second, until the connection is cut."""
            with suppress(ConnectionResetError):
                while slow.recv(1):
                    time.sleep(1)

        threading.Thread(target=read, daemon=True).start()
        assert server.ask().json()["citations"]
        assert server.metric("youju_answers_running") == 1
        until(lambda: server.metric("youju_answers_running") == 0)
        until(lambda: sockets(server) <= open_before)


# --- Workers ---------------------------------------------------------------------------------------


def test_all_workers_answer_from_a_new_document_and_count_together(tmp_path: Path) -> None:
    kb = filled(tmp_path)
    with served(kb, tmp_path, workers=2) as server:
        for _ in range(20):
            assert server.ask().status_code == 200  # a connection each: both workers answer
        assert server.metric("youju_answers_total") == 20
        assert server.metric("youju_documents") == 1
        workers = children(server.process)
        assert len(workers) == 2
        path = tmp_path / "新增.txt"
        path.write_text("一、浮桥\n沙洲浮桥每日清晨六点开放，限载三吨。\n", encoding="utf-8")
        ingest([path], read_settings(kb=kb), FakeEncoder())
        for _ in range(20):
            answer = server.ask("沙洲浮桥每日几点开放？").json()
            assert "新增.txt" in {row["document"] for row in answer["retrieved"]}
            assert answer["citations"][0]["quote"] in path.read_text("utf-8")
        assert server.metric("youju_documents") == 2

        os.kill(workers[0], signal.SIGKILL)
        until(lambda: len(children(server.process)) == 2 and workers[0] not in children(server.process))
        assert server.metric("youju_answers_total") == 40  # what it counted stays
        server.process.send_signal(signal.SIGTERM)
        assert server.ended() == 0


def test_workers_finish_their_answers_and_end_with_their_parent(kb: Path, tmp_path: Path) -> None:
    with served(kb, tmp_path, gated=True, workers=2) as server:
        workers = children(server.process)
        with stream(server) as lines:
            assert next(lines).startswith("id: ")
            server.process.kill()
            server.process.wait()
            server.gate.touch()
            assert "event: done" in "\n".join(lines)
        until(lambda: not any(alive(pid) for pid in workers))


def children(process: subprocess.Popen[str]) -> list[int]:
    """The workers: a server's child processes that run its program."""
    listed = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    pids = listed.read_text().split() if process.poll() is None and listed.exists() else []
    return [int(pid) for pid in pids if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def unmakeable(settings: Settings, shared_metrics: Path | None) -> Any:
    raise YoujuError("不成", "算了")


def test_workers_that_cannot_begin_end_the_server(tmp_path: Path) -> None:
    handlers = {sig: signal.getsignal(sig) for sig in (signal.SIGINT, signal.SIGTERM)}
    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            pytest.raises(YoujuError, match="exit code 2"),
        ):
            serve(Settings(kb=tmp_path, workers=2), listener, lambda: None, unmakeable)
    finally:
        for sig, handler in handlers.items():
            signal.signal(sig, handler)


def test_uploads_and_several_workers_exclude_each_other(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(ConfigError, match="allow_upload"):
        serve(Settings(kb=tmp_path, workers=2, allow_upload=True), listener, lambda: None)
