"""What docs/operations.md says of metrics, logs, stopping, workers and load, and docs/mcp.md: every command runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from running import free_port

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PATIENCE = 300  # seconds
ADDRESS = "127.0.0.1:7860"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="shell, signals")]


def blocks(document: str, language: str, *chapters: str) -> list[str]:
    """The blocks of code in the chapters whose titles end with one of these words, or in all of them."""
    parts = re.split(r"^## ", (DOCS / document).read_text("utf-8"), flags=re.MULTILINE)
    wanted = [part for part in parts if not chapters or part.partition("\n")[0].endswith(chapters)]
    return [block for part in wanted for block in re.findall(rf"```{language}\n(.*?)```", part, re.DOTALL)]


COMMANDS = blocks("operations.md", "sh", "Metrics", "Logs", "workers", "Load")
MCP = blocks("mcp.md", "sh")
SERVING = [command for command in (*COMMANDS, *MCP) if "youju serve" in command]


@pytest.fixture
def environment(sample_kb: Path, tmp_path: Path) -> dict[str, str]:
    """Where ``youju`` and ``python`` are this Python's, the knowledge base is the sample, and the port a free one."""
    python = tmp_path / "bin" / "python"
    youju = python.with_name("youju")
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    youju.write_text(f'#!/bin/sh\nexec {sys.executable} -c "from rag.cli import main; main()" "$@"\n')
    for program in (python, youju):
        program.chmod(0o755)
    own = {"YOUJU_KB": str(sample_kb), "YOUJU_PORT": str(free_port()), "PYTHONPATH": str(ROOT)}
    return os.environ | own | {"PATH": f"{python.parent}:{os.environ['PATH']}"}


@contextmanager
def serving(command: str, environment: dict[str, str], log: Path) -> Iterator[None]:
    """The server that the command starts, once it answers; it ends with 0 when it is told to."""
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            ["sh", "-c", f"{command.strip().replace('youju serve', 'exec youju serve')}"],
            cwd=ROOT,
            env=environment,
            stderr=stderr,
        ) as process,
    ):
        try:
            ready = f"curl -sf --retry 300 --retry-delay 1 --retry-all-errors {ADDRESS}/readyz"
            run(ready, environment)
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(PATIENCE) == 0, log.read_text()
        finally:
            process.kill()


def run(command: str, environment: dict[str, str]) -> str:
    """What a command prints, on the test's port."""
    shown = command.replace(ADDRESS, f"127.0.0.1:{environment['YOUJU_PORT']}")
    done = subprocess.run(
        ["sh", "-c", shown], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_command_is_run_below() -> None:
    others = [command for command in (*COMMANDS, *MCP) if command not in SERVING]
    assert len(SERVING) == 4
    assert all(command.startswith(("curl ", "python benchmarks/load.py ")) for command in others)


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl")
@pytest.mark.parametrize(
    "command", SERVING, ids=lambda c: c.strip().rpartition("serve")[2].strip() or "plain"
)
def test_serving(command: str, environment: dict[str, str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    with serving(command, environment, log):
        for probe in COMMANDS:
            if probe.startswith("curl "):
                assert run(probe, environment)
        if "--mcp" in command:
            (program,) = blocks("mcp.md", "python")
            called = run(f"python - <<'EOF'\n{program}\nEOF", environment)
            assert "[1]" in called
    if "json" in command:
        for line in log.read_text().splitlines()[1:]:  # after the address
            assert json.loads(line)["level"]


def test_the_load(environment: dict[str, str], sample_kb: Path) -> None:
    (command,) = [command for command in COMMANDS if "load.py" in command]
    shown = run(command.replace(".youju/sample", str(sample_kb)), environment)
    assert "errors 0 " in shown
    assert "p99" in shown
