"""Many clients at once: does the server stay right, how fast is it, and does its memory stay where it is?

    python benchmarks/load.py --kb DIR --cases samples/questions.jsonl [--clients 50] [--seconds 180] [--workers 1] [--bare]
    python benchmarks/load.py --url http://127.0.0.1:7860 --cases samples/questions.jsonl

One client first asks every question alone: those are the answers to expect, and each of their citations must be, by
``/api/source``, exactly what it quotes. Then all clients ask them in orders of their own; an answer that differs from
the expected one in a character or a citation is an error, as is any status but 200. While they do, ``/healthz`` is
asked once a second.

Memory is the resident set of the server and its workers, after a tenth of the time (at least 5 s) and at the end; it is
known where this program starts the server. ``--bare`` puts the same load on a bare FastAPI endpoint that only embeds
the question with the same encoder (benchmarks/bare.py). Exits with 1 after any error.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np

HERE = Path(__file__).parent
PATIENCE = 300.0  # seconds that a client waits
STARTING = "import sys; from rag.cli import main; sys.argv[0] = 'youju'; main()"

Answered = tuple[
    str, tuple[tuple[str, int, int, str], ...]
]  # text; document, start, end and quote of each citation


@dataclass
class Outcome:
    """What a load came to; times in seconds, memory in bytes."""

    seconds: float = 0
    times: list[float] = field(default_factory=list)
    health: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    memory: list[int] = field(default_factory=list)  # after warm-up, at the end

    def figures(self) -> dict[str, Any]:
        return {
            "answers": len(self.times),
            "errors": len(self.errors),
            "per_second": round(len(self.times) / self.seconds, 2),
            **{f"p{p}": round(float(np.percentile(self.times, p)), 3) for p in (50, 95, 99) if self.times},
            "healthz_max": round(max(self.health), 3) if self.health else None,
            "memory_mb": [round(size / 2**20) for size in self.memory],
            "memory_growth": round(self.memory[-1] / self.memory[0] - 1, 4) if self.memory else None,
        }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--kb", type=Path)
    where.add_argument("--url")
    parser.add_argument("--cases", type=Path, required=True)
    parser.add_argument("--questions", type=int, help="only so many (default: all)")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=180)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--bare", action="store_true", help="and the endpoint that only embeds")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    questions = read_questions(options.cases)[: options.questions]
    found: dict[str, Any] = {}
    begun = os.getloadavg()[0]
    if options.url:
        found["youju"] = answering(options.url, questions, options.clients, options.seconds, None)
    else:
        serve = ["-c", STARTING, "serve", "--port", "0", "--workers", str(options.workers)]
        with started([*serve, "--kb", str(options.kb)]) as (url, pid):
            found["youju"] = answering(url, questions, options.clients, options.seconds, pid)
    if options.bare:
        with started([str(HERE / "bare.py")]) as (url, pid):
            found["bare"] = embedding(url, questions, options.clients, options.seconds, pid)
    print(
        f"{options.clients} clients, {options.seconds:g} s, {len(questions)} questions, {options.workers} workers"
    )
    print(f"{os.cpu_count()} cores, load average {begun:.1f} before")
    for name, outcome in found.items():
        print(f"{name:6} " + "  ".join(f"{key} {value}" for key, value in outcome.figures().items()))
    errors = [error for outcome in found.values() for error in outcome.errors]
    for error in errors[:10]:
        print(error, file=sys.stderr)
    if options.json:
        settings = {key: str(value) for key, value in vars(options).items()}
        rows = {name: {**outcome.figures(), **asdict(outcome)} for name, outcome in found.items()}
        options.json.write_text(json.dumps({"settings": settings, **rows}, ensure_ascii=False))
    sys.exit(1 if errors else 0)


def read_questions(cases: Path) -> list[str]:
    """The different questions of a file of cases that need no earlier turn."""
    rows = map(json.loads, cases.read_text("utf-8").splitlines())
    return list(dict.fromkeys(row["question"] for row in rows if not row.get("history")))


# --- The server --------------------------------------------------------------------------------------


@contextmanager
def started(arguments: Sequence[str]) -> Iterator[tuple[str, int]]:
    """The address and the process of a server, which says the address as the last word of a line on stderr."""
    environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
    with subprocess.Popen(
        [sys.executable, *arguments], env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        said: list[str] = []
        for line in process.stderr:
            said.append(line)
            if "http://" in line:
                break
        else:
            raise SystemExit("the server did not start:\n" + "".join(said))
        drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        try:
            yield said[-1].split()[-1], process.pid
        finally:
            process.terminate()
            process.wait()
            drain.wait()


def resident(pid: int) -> int:
    """Bytes of a process and its children that are in memory."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(resident(int(child)) for child in children)


# --- The load ----------------------------------------------------------------------------------------


def answering(url: str, questions: Sequence[str], clients: int, seconds: float, pid: int | None) -> Outcome:
    """The load on ``/api/ask``, every answer compared with the one that a client alone was given."""
    with httpx.Client(base_url=url, timeout=PATIENCE) as alone:
        expected = {question: asked_alone(alone, question) for question in questions}

    def wrong(question: str, response: httpx.Response) -> str | None:
        if answered(response.json()) != expected[question]:
            return f"another answer: {question}: {response.text[:300]}"
        return None

    return asyncio.run(Load(url, "/api/ask", wrong, pid).run(questions, clients, seconds))


def embedding(url: str, questions: Sequence[str], clients: int, seconds: float, pid: int | None) -> Outcome:
    """The load on the endpoint that only embeds."""
    httpx.post(f"{url}/embed", json={"question": questions[0]}, timeout=PATIENCE).raise_for_status()
    return asyncio.run(Load(url, "/embed", lambda *_: None, pid).run(questions, clients, seconds))


def asked_alone(client: httpx.Client, question: str) -> Answered:
    """The answer to expect, once each of its citations is found to be what it quotes."""
    response = client.post("/api/ask", json={"question": question}).raise_for_status()
    found = answered(response.json())
    for document, start, end, quoted in found[1]:
        params = {"start": start, "end": end, "context": 0}
        place = client.get(f"/api/source/{quote(document)}", params=params).raise_for_status().json()
        if place["text"] != quoted:
            raise SystemExit(f"a citation does not resolve: {question}: {document} [{start}, {end})")
    return found


def answered(answer: dict[str, Any]) -> Answered:
    return answer["answer"], tuple(
        (c["document"], c["start"], c["end"], c["quote"]) for c in answer["citations"]
    )


class Load:
    """Clients that ask for a while; ``wrong`` says what is wrong with an answer, None where nothing is."""

    def __init__(
        self, url: str, path: str, wrong: Callable[[str, httpx.Response], str | None], pid: int | None
    ) -> None:
        self._url, self._path, self._wrong, self._pid = url, path, wrong, pid
        self._outcome = Outcome()

    async def run(self, questions: Sequence[str], clients: int, seconds: float) -> Outcome:
        begun = time.perf_counter()
        self._end = begun + seconds
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with httpx.AsyncClient(base_url=self._url, timeout=PATIENCE, limits=limits) as client:
            tasks = [self._client(client, random.Random(seed), questions) for seed in range(clients)]
            await asyncio.gather(*tasks, self._health(client), self._memory(seconds))
        self._outcome.seconds = time.perf_counter() - begun
        if self._pid:
            self._outcome.memory.append(resident(self._pid))
        return self._outcome

    async def _client(
        self, client: httpx.AsyncClient, order: random.Random, questions: Sequence[str]
    ) -> None:
        while time.perf_counter() < self._end:
            await self._ask(client, order.choice(questions))

    async def _ask(self, client: httpx.AsyncClient, question: str) -> None:
        begun = time.perf_counter()
        try:
            response = await client.post(self._path, json={"question": question})
        except httpx.HTTPError as error:
            self._outcome.errors.append(f"{type(error).__name__}: {question}")
            return
        self._outcome.times.append(time.perf_counter() - begun)
        if response.status_code != 200:
            self._outcome.errors.append(f"status {response.status_code}: {question}: {response.text[:300]}")
        elif wrong := self._wrong(question, response):
            self._outcome.errors.append(wrong)

    async def _health(self, client: httpx.AsyncClient) -> None:
        while time.perf_counter() < self._end:
            begun = time.perf_counter()
            (await client.get("/healthz")).raise_for_status()
            self._outcome.health.append(time.perf_counter() - begun)
            await asyncio.sleep(1)

    async def _memory(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, max(5, seconds / 10)))
        if self._pid:
            self._outcome.memory.append(resident(self._pid))


if __name__ == "__main__":
    main()
