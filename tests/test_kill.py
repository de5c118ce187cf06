"""SIGKILL at random moments of an ingest: the knowledge base holds all of the old or all of the new state."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import compilation
from fakes import FakeEncoder

from rag.config import read_settings
from rag.errors import EmptyError
from rag.ingest import PassageEncoder, ingest, sentence_encoder
from rag.store import Store
from rag.vectors import load_or_build

KILLS = 20
TESTS = Path(__file__).parent

State = tuple[Any, ...]


def _state(kb: Path) -> State:
    """All that the knowledge base holds, without its keys; checks on the way that its parts fit together."""
    with Store.open(kb) as store:
        store.require_documents()
        with store.snapshot():
            ids, matrix = store.vectors()
            documents = [(d.name, d.sha256, d.articles, d.chunks) for d in store.documents()]
            texts = [store.document(name) for name, *_ in documents]
            articles = [stored.as_json() for stored in store.articles()]
            chunks = [
                (indexed.chunk, indexed.vector.tobytes(), indexed.sentence_vectors.tobytes())
                for name, *_ in documents
                for indexed in store.indexed_chunks(name)
            ]
            searchable = sorted(p.text for p in store.passages(k for k, _ in store.search_text('"联席会议"')))
            assert store._rows("PRAGMA integrity_check") == [("ok",)]
            assert store._rows("PRAGMA foreign_key_check") == []
        index = load_or_build(store)
        assert len(index) == len(ids)
        for key, vector in zip(ids.tolist()[::25], matrix[::25], strict=True):
            best = index.search(vector, 1)[0][0]
            assert best == key or np.allclose(matrix[ids.tolist().index(best)], vector, atol=1e-6)
    return documents, texts, articles, chunks, searchable


@contextmanager
def _child(model: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(TESTS / "ingest_child.py"), model]
    environment = os.environ | {"PYTHONPATH": str(TESTS.parent)}
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        assert process.stdin is not None
        process.stdin.close()


def _run(child: subprocess.Popen[str], kb: Path, path: Path, kill_after: float | None = None) -> int:
    """Ingest ``path``, killed after so many seconds; the status, which is 0 where it came to its end."""
    assert child.stdin is not None
    assert child.stdout is not None
    print(kb, path, sep="\t", file=child.stdin, flush=True)
    pid = int(child.stdout.readline())
    if kill_after is not None:
        time.sleep(kill_after)
        with suppress(ProcessLookupError):  # it was quicker
            os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(int(child.stdout.readline()))


def _kill_at_random_moments(folder: Path, model: str, articles: int) -> None:
    kb, path = folder / "kb", folder / "docs" / "汇编.txt"
    path.parent.mkdir()
    encoder: PassageEncoder = FakeEncoder() if model == "fake" else sentence_encoder(read_settings())
    texts = [compilation(version, articles) for version in (1, 2)]
    complete = [_complete(folder / f"complete-{i}", path, text, encoder) for i, text in enumerate(texts)]
    assert complete[0] != complete[1]

    path.write_text(texts[0], encoding="utf-8")
    with _child(model) as child:
        assert _run(child, kb, path) == 0
        current = 0
        path.write_text(texts[1], encoding="utf-8")
        began = time.perf_counter()
        assert _run(child, kb, path) == 0
        whole = time.perf_counter() - began
        current = 1
        rng = random.Random(20)
        killed = 0
        for _ in range(4 * KILLS):
            target = 1 - current
            path.write_text(texts[target], encoding="utf-8")
            if _run(child, kb, path, rng.uniform(0, whole)) == -signal.SIGKILL:
                killed += 1
            else:  # it was quicker: how long one takes varies with what else the machine does
                whole *= 0.9
            state = _state(kb)
            assert state in (complete[current], complete[target])
            current = complete.index(state)
            if killed == KILLS:
                break
        assert killed == KILLS
        path.write_text(texts[1 - current], encoding="utf-8")
        assert _run(child, kb, path) == 0  # and the next ingest goes through
        assert _state(kb) == complete[1 - current]


def _complete(kb: Path, path: Path, text: str, encoder: PassageEncoder) -> State:
    """The state after an ingest that nothing interrupted."""
    path.write_text(text, encoding="utf-8")
    ingest([path], read_settings(kb=kb), encoder)
    return _state(kb)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_killed_at_random_moments(tmp_path: Path) -> None:
    _kill_at_random_moments(tmp_path, "fake", articles=40)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_killed_at_random_moments_with_the_real_encoder(tmp_path: Path) -> None:
    _kill_at_random_moments(tmp_path, "bundled", articles=3)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_killed_while_it_makes_a_new_knowledge_base(tmp_path: Path) -> None:
    """Nothing at all, or everything; and what is left over does not stop the next ingest."""
    path = tmp_path / "汇编.txt"
    expected = _complete(tmp_path / "complete", path, compilation(articles=20), FakeEncoder())
    rng = random.Random(8)
    with _child("fake") as child:
        for attempt in range(KILLS):
            kb = tmp_path / f"kb-{attempt}"
            _run(child, kb, path, rng.uniform(0, 0.2))
            try:
                assert _state(kb) == expected
            except EmptyError:
                assert _run(child, kb, path) == 0
                assert _state(kb) == expected
