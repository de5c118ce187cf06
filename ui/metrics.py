"""What the service counts, in Prometheus's text format."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from rag.errors import InputError
from rag.records import Answer, Done, Event
from rag.store import Store
from ui.errors import ApiError

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_STEPS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)  # seconds
_ANSWERS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)  # seconds
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class Metrics:
    """The counters of one application, safe to share between threads.

    ``shared`` is the folder through which several workers' counters are added up: the one that
    ``PROMETHEUS_MULTIPROC_DIR`` named when prometheus_client was imported.
    """

    def __init__(self, shared: Path | None = None) -> None:
        disable_created_metrics()
        self._shared = shared
        self._registry = own = CollectorRegistry()
        self.requests = Counter(
            "youju_http_requests", "HTTP requests", ["route", "method", "status"], registry=own
        )
        self.answers = Counter("youju_answers", "Answers by how they ended", ["state"], registry=own)
        self.answer_seconds = Histogram(
            "youju_answer_seconds", "From a question to its whole answer", registry=own, buckets=_ANSWERS
        )
        self.step_seconds = Histogram(
            "youju_step_seconds", "Time of a step of an answer", ["step"], registry=own, buckets=_STEPS
        )
        self.fallbacks = Counter(
            "youju_fallbacks", "Answers of a language model that gave way to the extract", registry=own
        )
        self.unsupported = Counter(
            "youju_unsupported_sentences", "Sentences marked as without support", registry=own
        )
        self.feedback = Counter("youju_feedback", "Verdicts of readers", ["verdict"], registry=own)
        self.waiting = self._gauge("youju_answers_waiting", "Questions that wait for their turn")
        self.running = self._gauge("youju_answers_running", "Answers that are being told")

    def _gauge(self, name: str, says: str) -> Gauge:
        return Gauge(name, says, registry=self._registry, multiprocess_mode="livesum")

    def request(self, route: str, method: str, status: int) -> None:
        """Count a request; methods that HTTP does not name are one, as a client may invent any number of them."""
        self.requests.labels(route, method if method in _METHODS else "other", str(status)).inc()

    def counting(self) -> Counting:
        """To be entered for an answer that begins."""
        return Counting(self)

    def text(self, store: Store) -> bytes:
        """All samples, those of the knowledge base after the others."""
        counted = self._registry
        if self._shared:
            counted = CollectorRegistry()
            MultiProcessCollector(counted, str(self._shared))
        return generate_latest(counted) + generate_latest(_KnowledgeBase(store))


class Counting:
    """One answer being counted: it waits until its first event, and runs until its end."""

    def __init__(self, metrics: Metrics, clock: Callable[[], float] = time.perf_counter) -> None:
        self._metrics, self._clock = metrics, clock
        self._place = metrics.waiting
        self._begun = clock()
        self.state = ""  # answered, refused, rejected, failed or cancelled, once it has ended
        self.seconds = 0.0
        self.answer: Answer | None = None

    def __enter__(self) -> Counting:
        self._place.inc()
        return self

    def see(self, event: Event) -> None:
        """Take note of the answer's next event."""
        if self._place is self._metrics.waiting:
            self._place.dec()
            self._place = self._metrics.running
            self._place.inc()
        if isinstance(event, Done):
            self.answer = event.answer
            self._end("refused" if event.answer.refused else "answered")
            self._count(event.answer)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._place.dec()
        if not self.state:
            match error:
                case InputError() | ApiError():
                    self._end("rejected")
                case Exception():
                    self._end("failed")
                case _:  # whoever asked has gone
                    self._end("cancelled")

    def _end(self, state: str) -> None:
        self.state, self.seconds = state, self._clock() - self._begun
        self._metrics.answers.labels(state).inc()

    def _count(self, answer: Answer) -> None:
        self._metrics.answer_seconds.observe(self.seconds)
        for step, milliseconds in answer.timings_ms.items():
            self._metrics.step_seconds.labels(step).observe(milliseconds / 1000)
        if answer.fallback:
            self._metrics.fallbacks.inc()
        self._metrics.unsupported.inc(sum(s.support == "unsupported" for s in answer.sentences))


class _KnowledgeBase(Collector):
    """What the knowledge base holds at present."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterator[Metric]:
        with self._store.snapshot():
            yield GaugeMetricFamily("youju_documents", "Documents", self._store.count("documents"))
            yield GaugeMetricFamily("youju_articles", "Articles", self._store.count("articles"))
            yield GaugeMetricFamily("youju_chunks", "Passages", self._store.count("chunks"))
            yield GaugeMetricFamily(
                "youju_generation", "Committed writes of the knowledge base", self._store.generation
            )


def forget_worker(pid: int, shared: Path) -> None:
    """Leave a worker that has ended out of what is running; what it counted stays."""
    mark_process_dead(pid, str(shared))
