"""docs/api.md: every command and program on the page, against a real server on the sample."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from chat_site import Site, serving

from rag.chain import open_chain
from rag.config import read_settings
from ui import streams
from ui.limits import MAX_BODY

DOCS = Path(__file__).parent.parent / "docs" / "api.md"
TEXT = DOCS.read_text(encoding="utf-8")
SETTINGS = read_settings()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture(scope="module")
def site(sample_kb: Path) -> Iterator[Site]:
    settings = read_settings(kb=sample_kb)
    with serving(settings, open_chain(settings)) as found:
        yield found


def check_told(block: str, output: str) -> None:
    """What was asked about is in the answer, and nothing failed."""
    assert '"error"' not in output
    if "护理员" in block:
        assert "护理员" in output


@pytest.mark.parametrize("command", blocks("sh"))
def test_the_commands_run(site: Site, command: str) -> None:
    there = command.replace("http://127.0.0.1:7860", site.url)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", there], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    check_told(command, done.stdout)
    data = re.findall(r"^data: (\{.*\})$", done.stdout, re.MULTILINE)
    if "grep" not in command:
        assert [json.loads(text) for text in data or [done.stdout]]


@pytest.mark.parametrize("code", blocks("python"))
def test_the_programs_run(site: Site, capsys: pytest.CaptureFixture[str], code: str) -> None:
    exec(code.replace("http://127.0.0.1:7860", site.url), {})
    check_told(code, capsys.readouterr().out)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (f"{MAX_BODY:,}", "请求体"),
        (f"{SETTINGS.max_question:,} 字", "YOUJU_MAX_QUESTION"),
        (f"每分钟 {SETTINGS.rate.partition('/')[0]} 次", "YOUJU_RATE"),
        (f"{SETTINGS.max_answers} 个", "YOUJU_MAX_ANSWERS"),
        (f"等 {streams.GRACE:.0f} 秒", "未完的流"),
        (f"留 {streams.KEPT_FOR:.0f} 秒", "说完的"),
        (f"最多留 {streams.KEPT} 个", "说完的"),
        (f"{streams.SLOWEST:.0f} 秒收不下", "读者"),
    ],
)
def test_the_limits_are_those_there_are(number: str, words: str) -> None:
    assert any(number in line and words in line for line in TEXT.splitlines())
