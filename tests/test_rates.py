"""Limits on how often somebody may ask."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import limits.storage.memory
import limits.strategies
import pytest

import ui.rates
from ui.errors import ApiError
from ui.rates import Rates


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that stands still, at the start of an hour."""
    found = SimpleNamespace(now=3_600_000.0)
    stopped = SimpleNamespace(time=lambda: found.now)
    for module in (limits.storage.memory, limits.strategies, ui.rates):
        monkeypatch.setattr(module, "time", stopped)
    return found


def refusal(rates: Rates, subject: str, limit: str) -> ApiError | None:
    try:
        rates.hit(subject, limit)
    except ApiError as error:
        return error
    return None


def test_one_too_many_is_told_when_to_come_back(clock: SimpleNamespace) -> None:
    rates = Rates()
    assert [refusal(rates, "a", "3/minute") for _ in range(3)] == [None] * 3
    clock.now += 15.5
    error = refusal(rates, "a", "3/minute")
    assert error is not None
    assert (error.status, error.code, error.headers) == (429, "too_many_requests", {"Retry-After": "45"})
    clock.now += 44
    assert refusal(rates, "a", "3/minute")
    clock.now += 1  # the window has slid on: a little of the first minute is forgotten
    assert refusal(rates, "a", "3/minute") is None
    assert refusal(rates, "a", "3/minute")


def test_subjects_and_limits_are_counted_apart(clock: SimpleNamespace) -> None:
    rates = Rates()
    rates.hit("a", "1/minute")
    rates.hit("b", "1/minute")
    rates.hit("a", "2/hour")
    assert refusal(rates, "a", "1/minute") and refusal(rates, "b", "1/minute")
    assert refusal(rates, "a", "2/hour") is None


def test_many_at_once_are_counted_exactly(clock: SimpleNamespace) -> None:
    rates = Rates()
    with ThreadPoolExecutor(16) as pool:
        refused = list(pool.map(lambda _: refusal(rates, "a", "100/minute"), range(400)))
    assert sum(error is None for error in refused) == 100
