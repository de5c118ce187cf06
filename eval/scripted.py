"""A scripted OpenAI-compatible server: a stand-in for a language model that behaves, or fails, as it is told.

It speaks real HTTP with streaming, on this machine alone, and needs nothing but Python. ``youju eval scripted-llm`` serves
it for trying an installation by hand; tests start it with ``ScriptedServer``:

    with ScriptedServer([Reply("三年[1]。")]) as server:
        settings = read_settings(llm="openai:scripted", llm_base_url=server.address)
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal, Self

Fault = Literal["", "cut", "malformed", "hang", "endless", "status"]
_ENDLESS = 10_000  # pieces


@dataclass(frozen=True, slots=True)
class Reply:
    """What the server answers: ``text`` in pieces of ``size`` characters, ``pause`` seconds before each.

    ``fault``: ``cut`` closes the connection after ``text``; ``malformed`` sends what is no JSON; ``hang`` says nothing
    more after ``text`` until the client gives up; ``endless`` repeats ``text``; ``status`` answers with ``status``.
    """

    text: str = ""
    size: int = 4
    pause: float = 0.0
    fault: Fault = ""
    status: int = 500
    retry_after: float | None = None


Request = Mapping[str, Any]
Script = Sequence[Reply] | Callable[[Request], Reply]


def evidence_in(request: Request) -> list[str]:
    """The numbered sentences in a request's prompt."""
    prompt = str(request["messages"][-1]["content"])
    return re.findall(r"^\[\d+\] (.*)$", prompt, re.MULTILINE)


def _first(found: Sequence[str]) -> int:
    """The place of the first piece of evidence that is a whole sentence, not a heading."""
    return next((i for i, text in enumerate(found) if text.endswith("。")), 0)


def _quoting(request: Request) -> Reply:
    found = evidence_in(request)
    place = _first(found)
    return Reply(f"根据材料，{found[place]}[{place + 1}]" if found else "文档中没有。")


def _citing_wrongly(request: Request) -> Reply:
    found = evidence_in(request)
    return Reply(f"{found[_first(found)]}[{len(found)}]" if found else "文档中没有。")


def _inventing(request: Request) -> Reply:
    return Reply("全国共有98765个示范点[1]。这项工作由玄武纪元公司承办[2]。")


PRESETS: dict[str, Script] = {
    "quoting": _quoting,
    "wrong-citation": _citing_wrongly,
    "hallucinating": _inventing,
    "refusing": [Reply("文档中没有。")],
    "in-form-only": [Reply("好的，我可以根据以上证据回答您的问题。")],
    "no-marks": lambda request: Reply("".join([t for t in evidence_in(request) if t.endswith("。")][:2])),
    "slow": lambda request: Reply(_quoting(request).text, size=2, pause=0.3),
    "cut": lambda request: Reply(_quoting(request).text[:-12], fault="cut"),
    "malformed": [Reply(fault="malformed")],
    "hang": [Reply("好", fault="hang")],
    "endless": [Reply("这件事很重要。", fault="endless")],
    "busy": [Reply(fault="status", status=429)],
    "broken": [Reply(fault="status", status=500)],
}


class ScriptedServer:
    """Serves a script on a port of its own until it is closed. ``requests`` are those received, in order."""

    def __init__(self, script: Script, port: int = 0) -> None:
        self.requests: list[dict[str, Any]] = []
        self._script = script
        self._lock = threading.Lock()
        self._closing = threading.Event()
        server = self

        class Handler(_Handler):
            scripted = server

        self._http = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._http.daemon_threads = True

    @property
    def address(self) -> str:
        """The base address that a client is given."""
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> Self:
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exit_info: object) -> None:
        self._closing.set()
        self._http.shutdown()
        self._http.server_close()

    def serve(self) -> None:
        """Serve until interrupted."""
        try:
            self._http.serve_forever()
        finally:
            self._closing.set()
            self._http.server_close()

    def reply_to(self, request: dict[str, Any]) -> Reply:
        with self._lock:
            self.requests.append(request)
            if callable(self._script):
                return self._script(request)
            return self._script[min(len(self.requests), len(self._script)) - 1]

    def wait(self, seconds: float) -> bool:
        """Whether the server is closing within this time."""
        return self._closing.wait(seconds)


class _Handler(BaseHTTPRequestHandler):
    scripted: ScriptedServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.rstrip("/").endswith("/models"):
            self._json(200, {"object": "list", "data": [{"id": "scripted", "object": "model"}]})
        else:
            self._json(404, {"error": {"message": "no such path"}})

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        request = json.loads(self.rfile.read(length) or b"{}")
        reply = self.scripted.reply_to(request)
        if reply.fault == "status":
            headers = {"retry-after": f"{reply.retry_after:g}"} if reply.retry_after is not None else {}
            self._json(reply.status, {"error": {"message": "scripted", "type": "scripted"}}, headers)
        elif request.get("stream"):
            self._stream(reply)
        else:
            time.sleep(reply.pause)
            message = {"role": "assistant", "content": reply.text}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            self._json(200, {**_BASE, "object": "chat.completion", "choices": [choice], "usage": usage})

    def _stream(self, reply: Reply) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        try:
            for piece in _pieces(reply):
                if reply.pause and self.scripted.wait(reply.pause):
                    return
                self._event(json.dumps(_chunk({"content": piece}), ensure_ascii=False))
            if reply.fault == "malformed":
                self._event('{"choices": [{"delta": ')
            elif reply.fault == "hang":
                while not self.scripted.wait(0.2):
                    self.wfile.write(b": waiting\n\n")  # notices that the client is gone
                    self.wfile.flush()
            elif reply.fault != "cut":
                self._event(json.dumps(_chunk({}, "stop")))
                self._event("[DONE]")
        except OSError:
            pass  # the client gave up, as some scripts mean it to

    def _event(self, data: str) -> None:
        self.wfile.write(f"data: {data}\n\n".encode())
        self.wfile.flush()

    def _json(self, status: int, content: object, headers: Mapping[str, str] | None = None) -> None:
        body = json.dumps(content, ensure_ascii=False).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


_BASE = {"id": "scripted", "created": 0, "model": "scripted"}


def _pieces(reply: Reply) -> Iterator[str]:
    for _ in range(_ENDLESS if reply.fault == "endless" else 1):
        for start in range(0, len(reply.text), max(1, reply.size)):
            yield reply.text[start : start + max(1, reply.size)]


def _chunk(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {**_BASE, "object": "chat.completion.chunk", "choices": [choice]}
