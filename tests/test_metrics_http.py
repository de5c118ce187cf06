"""What the server counts and logs, read from /metrics and from its log."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes_ui import BROKEN, DOUBTFUL, MAX_QUESTION, NAME, FakeChain, fake_chain
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from rag.config import Settings
from rag.records import Question
from rag.store import Store
from ui.app import create_app
from ui.logs import JsonLines, TextLines
from ui.metrics import Counting, Metrics
from ui.service import Service

QUESTION = "青禾县到2027年建成多少个数字乡村示范村？"
SECRETS = {"Authorization": "Bearer sk-secret-key", "Cookie": "session=secret-cookie"}


@pytest.fixture
def chain(tmp_path: Path) -> FakeChain:
    return fake_chain(tmp_path / "kb")


@pytest.fixture
def client(chain: FakeChain, tmp_path: Path) -> Iterator[TestClient]:
    settings = Settings(kb=tmp_path, max_question=MAX_QUESTION)
    with TestClient(create_app(settings, chain), "http://127.0.0.1", raise_server_exceptions=False) as found:
        yield found


def samples(client: TestClient) -> dict[str, float]:
    """The samples of /metrics, each as it is written there."""
    return parsed(client.get("/metrics").text)


def parsed(text: str) -> dict[str, float]:
    return {
        sample.name + "".join(f"|{sample.labels[key]}" for key in sorted(sample.labels)): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


# --- Metrics ---------------------------------------------------------------------------------------


def test_answers_are_counted_by_how_they_ended(client: TestClient) -> None:
    for question in (QUESTION, QUESTION, "火星移民", BROKEN, "建成" + DOUBTFUL + "示范村"):
        client.post("/api/ask", json={"question": question})
    found = samples(client)
    assert found["youju_answers_total|answered"] == 3
    assert found["youju_answers_total|refused"] == 1
    assert found["youju_answers_total|failed"] == 1
    assert found["youju_unsupported_sentences_total"] == 1
    assert found["youju_answer_seconds_count"] == 4
    assert found["youju_step_seconds_count|retrieve"] == 4
    assert found["youju_step_seconds_sum|retrieve"] == pytest.approx(0.004)
    assert found["youju_step_seconds_bucket|0.001|retrieve"] == 4
    assert found["youju_fallbacks_total"] == 0


def test_the_knowledge_base_is_measured_as_it_is(client: TestClient, chain: FakeChain) -> None:
    found = samples(client)
    assert (found["youju_documents"], found["youju_articles"]) == (1, 3)
    with Store.open(chain.store.folder, writable=True) as store, store.transaction():
        pass
    assert samples(client)["youju_generation"] == found["youju_generation"] + 1


def test_requests_are_counted_by_the_pattern_of_their_route(client: TestClient) -> None:
    client.get(f"/api/source/{NAME}?start=0&end=3")
    client.get("/api/source/none.txt?start=0&end=3")
    client.get("/api/nothing")
    client.request("FOO", "/healthz")
    found = samples(client)
    assert found["youju_http_requests_total|GET|/api/source/{document:path}|200"] == 1
    assert found["youju_http_requests_total|GET|/api/source/{document:path}|404"] == 1
    assert sum(value for name, value in found.items() if "|GET|other|404" in name) == 1
    assert sum(value for name, value in found.items() if "requests_total|other|" in name) == 1


def test_an_answer_waits_until_its_first_event_and_runs_until_its_end(chain: FakeChain) -> None:
    service = Service(chain)

    def gauges() -> tuple[float, float]:
        found = parsed(service.metrics.text(service.store).decode())
        return found["youju_answers_waiting"], found["youju_answers_running"]

    events = service.stream(Question(QUESTION))
    assert gauges() == (0, 0)
    next(events)
    assert gauges() == (0, 1)
    events.close()
    assert gauges() == (0, 0)
    assert 'youju_answers_total{state="cancelled"} 1.0' in service.metrics.text(service.store).decode()


def test_what_has_not_begun_waits() -> None:
    metrics = Metrics()
    with metrics.counting():
        assert metrics.waiting._value.get() == 1
    assert metrics.waiting._value.get() == 0


def test_an_answers_time_is_that_until_its_end() -> None:
    metrics, times = Metrics(), iter((10.0, 12.5))
    counting = Counting(metrics, clock=lambda: next(times))
    with counting:
        pass
    assert (counting.state, counting.seconds) == ("cancelled", 2.5)


def test_applications_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.request("/x", "GET", 200)
    assert one.requests.labels("/x", "GET", "200")._value.get() == 1
    assert other.requests.labels("/x", "GET", "200")._value.get() == 0


# --- The log ---------------------------------------------------------------------------------------


def logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The lines of the log as they are written in JSON."""
    form = JsonLines()
    return [json.loads(form.format(record)) for record in caplog.records if record.name == "youju"]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "youju")
    return caplog


def test_each_request_and_each_answer_is_a_line(client: TestClient, lines: pytest.LogCaptureFixture) -> None:
    response = client.post("/api/ask", json={"question": QUESTION})
    answer, request = logged(lines)
    assert answer["request_id"] == request["request_id"] == response.headers["x-request-id"]
    assert answer["message"] == "answer"
    assert (answer["state"], answer["engine"], answer["refused"]) == ("answered", "extractive", False)
    assert answer["citations"] == 1
    assert request["message"] == "request"
    assert (request["route"], request["method"], request["status"]) == ("/api/ask", "POST", 200)
    for line in (answer, request):
        assert line["level"] == "info"
        assert line["time"].endswith("+00:00")
        assert 0 <= line["duration_ms"] < 60_000


def test_a_failure_and_a_refusal_are_told_apart(client: TestClient, lines: pytest.LogCaptureFixture) -> None:
    for question in (BROKEN, "火星移民"):
        client.post("/api/ask", json={"question": question})
    states = [line["state"] for line in logged(lines) if line["message"] == "answer"]
    assert states == ["failed", "refused"]


@pytest.mark.parametrize("form", [JsonLines(), TextLines()], ids=["json", "text"])
def test_nothing_that_a_reader_wrote_is_logged(
    client: TestClient, lines: pytest.LogCaptureFixture, form: logging.Formatter
) -> None:
    answer = client.post("/api/ask", json={"question": QUESTION}, headers=SECRETS).json()
    client.post("/api/ask", json={"question": QUESTION, "stream": True}, headers=SECRETS)
    client.get("/api/search", params={"q": QUESTION}, headers=SECRETS)
    client.get(f"/api/source/{NAME}?start=0&end=3", headers=SECRETS)
    own = [record for record in lines.records if record.name == "youju"]
    assert [record.getMessage() for record in own].count("request") == 4
    written = "\n".join(map(form.format, own))
    for secret in (QUESTION, "数字乡村", answer["answer"][:8], "sk-secret", "secret-cookie", NAME):
        assert secret not in written


def test_questions_are_logged_where_that_is_asked_for(
    chain: FakeChain, tmp_path: Path, lines: pytest.LogCaptureFixture
) -> None:
    with TestClient(
        create_app(Settings(kb=tmp_path, log_questions=True), chain), "http://127.0.0.1"
    ) as client:
        client.post("/api/ask", json={"question": QUESTION})
    assert logged(lines)[0]["question"] == QUESTION


def test_probes_are_not_logged_while_they_succeed(
    client: TestClient, lines: pytest.LogCaptureFixture
) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        client.get(path)
    assert logged(lines) == []


def test_a_traceback_stays_one_line_of_json() -> None:
    try:
        raise ValueError("broken")
    except ValueError as error:
        record = logging.LogRecord(
            "ui", logging.ERROR, "", 0, "unforeseen", (), (type(error), error, error.__traceback__)
        )
    line = JsonLines().format(record)
    assert "\n" not in line
    assert "ValueError: broken" in json.loads(line)["exception"]
    assert json.loads(line)["level"] == "error"
