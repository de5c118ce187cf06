"""benchmarks/load.py on a small server: it measures, and it sees what it is there to see."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from fakes_ui import FakeChain, fake_chain
from running import running

from rag.config import Settings
from rag.records import Done, Event, Question
from ui.app import create_app

PROGRAM = Path(__file__).parent.parent / "benchmarks" / "load.py"
QUESTIONS = (
    "青禾县到2027年建成多少个数字乡村示范村？",
    "县财政每年安排多少专项资金？",
    "干部每周几到村坐班？",
    "社区食堂有多少家？",
    "建强服务队伍，选好村级网格员，每村配备几名？",
    "火星移民",
)


def load(chain: FakeChain, folder: Path, clients: int, seconds: float) -> tuple[int, dict[str, Any], str]:
    """Exit code, figures and complaints of the program."""
    cases, out = folder / "cases.jsonl", folder / "out.json"
    rows = (json.dumps({"question": question}, ensure_ascii=False) for question in QUESTIONS)
    cases.write_text("\n".join(rows) + "\n", encoding="utf-8")
    with running(create_app(Settings(kb=folder), chain)) as url:
        command = [sys.executable, str(PROGRAM), "--url", url, "--cases", str(cases), "--json", str(out)]
        command += ["--clients", str(clients), "--seconds", str(seconds)]
        run = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert out.exists(), run.stderr
    return run.returncode, json.loads(out.read_text("utf-8"))["youju"], run.stderr


def test_ten_clients_get_their_own_answers(tmp_path: Path) -> None:
    code, found, complaints = load(fake_chain(tmp_path / "kb"), tmp_path, clients=10, seconds=5)
    assert (code, found["errors"], complaints) == (0, [], "")
    assert found["answers"] >= 10
    assert 0 < found["p50"] <= found["p95"] <= found["p99"]
    assert found["per_second"] > 0


class MixingUp(FakeChain):
    """Every tenth answer cites what another question was answered with."""

    def stream(self, question: Question) -> Iterator[Event]:
        mixed = len(self.asked) > len(QUESTIONS) and len(self.asked) % 10 == 0
        for event in super().stream(question):
            if mixed and isinstance(event, Done):
                other = QUESTIONS[question.text == QUESTIONS[0]]
                last = list(super().stream(replace(question, text=other)))[-1]
                assert isinstance(last, Done)
                yield Done(last.answer)
                return
            yield event


def test_an_answer_to_another_question_is_seen(tmp_path: Path) -> None:
    chain = MixingUp(fake_chain(tmp_path / "kb").store)
    code, found, complaints = load(chain, tmp_path, clients=4, seconds=3)
    assert code == 1
    assert found["errors"]
    assert "another answer" in complaints
