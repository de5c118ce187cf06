"""The FAISS cache: exact search, and never anything but what the store holds."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from builders import compilation, document, fill
from fakes import FakeEncoder

from rag import vectors
from rag.store import DATABASE, Store
from rag.vectors import HEADER, INDEX, VectorIndex, build, load_or_build

DOCUMENT = document(compilation())


@pytest.fixture
def kb(tmp_path: Path) -> Path:
    fill(tmp_path, DOCUMENT)
    with Store.open(tmp_path) as store:
        build(store)
    return tmp_path


def _check(kb: Path) -> VectorIndex:
    """Every chunk's own vector finds it first, with its cosine of 1."""
    with Store.open(kb) as store:
        index = load_or_build(store)
        ids, matrix = store.vectors()
        assert len(index) == len(ids)
        assert index.generation == store.generation
    for key, vector in zip(ids.tolist(), matrix, strict=True):
        ((found, score),) = index.search(vector, 1)
        assert score == pytest.approx(1.0, abs=1e-5)
        assert found == key or np.array_equal(matrix[ids.tolist().index(found)], vector)
    return index


def test_search_gives_inner_products_best_first() -> None:
    index = VectorIndex.of(np.array([7, 9, 11]), np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32))
    query = np.array([1, 0], np.float32)
    assert index.search(query, 2) == [(7, 1.0), (11, pytest.approx(0.6))]
    assert index.search(query, 10) == [(7, 1.0), (11, pytest.approx(0.6)), (9, 0.0)]
    assert index.search(query, 10, ids=[9, 11]) == [(11, pytest.approx(0.6)), (9, 0.0)]
    assert index.search(query, 10, ids=[9, 12345]) == [(9, 0.0)]
    assert index.search(query, 10, ids=[]) == []
    assert index.search(query, 0) == []


def test_an_empty_index_finds_nothing(tmp_path: Path) -> None:
    with Store.open(tmp_path, writable=True, create=True) as store:
        assert build(store).search(np.zeros(0, np.float32), 5) == []
        assert load_or_build(store).search(np.zeros(0, np.float32), 5) == []


def test_a_fitting_cache_is_used(kb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "build", lambda store: pytest.fail("built although cached"))
    _check(kb)


def _edit_header(kb: Path, **values: object) -> None:
    header = json.loads((kb / HEADER).read_text())
    (kb / HEADER).write_text(json.dumps(header | values))


SPOIL = {
    "index missing": lambda kb: (kb / INDEX).unlink(),
    "header missing": lambda kb: (kb / HEADER).unlink(),
    "index empty": lambda kb: (kb / INDEX).write_bytes(b""),
    "index cut short": lambda kb: (kb / INDEX).write_bytes((kb / INDEX).read_bytes()[:-100]),
    "one bit flipped": lambda kb: (kb / INDEX).write_bytes(
        (kb / INDEX).read_bytes()[:-1] + bytes([(kb / INDEX).read_bytes()[-1] ^ 1])
    ),
    "header not JSON": lambda kb: (kb / HEADER).write_bytes(b"\xff{"),
    "header not an object": lambda kb: (kb / HEADER).write_text("[]"),
    "another model": lambda kb: _edit_header(kb, model="other@1"),
    "another dimension": lambda kb: _edit_header(kb, dimension=64),
    "another count": lambda kb: _edit_header(kb, count=1),
    "another state": lambda kb: _edit_header(kb, generation=99),
    "another store": lambda kb: _edit_header(kb, store="0" * 32),
}


@pytest.mark.parametrize("spoil", SPOIL)
def test_a_cache_that_does_not_fit_is_rebuilt_with_one_warning(
    kb: Path, spoil: str, caplog: pytest.LogCaptureFixture
) -> None:
    SPOIL[spoil](kb)
    with caplog.at_level(logging.WARNING):
        _check(kb)
    assert len(caplog.records) == 1
    assert INDEX in caplog.text
    caplog.clear()
    _check(kb)  # and is whole again
    assert caplog.records == []


def test_a_cache_of_a_store_made_anew_is_not_used(kb: Path) -> None:
    for file in kb.glob(DATABASE + "*"):
        file.unlink()
    fill(kb, document(compilation(version=2)))  # as many chunks, and again the first generation
    _check(kb)


def test_a_write_makes_the_cache_stale(kb: Path) -> None:
    fill(kb, document(compilation(version=2)))
    _check(kb)


def test_where_it_cannot_be_saved_it_is_used_from_memory(
    kb: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: Path, data: bytes) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(vectors, "_replace", refuse)
    (kb / INDEX).unlink()
    _check(kb)
    assert "只在内存中" in caplog.text
    assert not (kb / INDEX).exists()


def test_an_interrupted_save_is_noticed(kb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the two files: the new index lies beside the old header."""
    fill(kb, document(compilation(version=2)))
    real = vectors._replace

    def only_index(path: Path, data: bytes) -> None:
        if path.name == HEADER:
            raise KeyboardInterrupt
        real(path, data)

    with monkeypatch.context() as patch, Store.open(kb) as store, pytest.raises(KeyboardInterrupt):
        patch.setattr(vectors, "_replace", only_index)
        build(store)
    _check(kb)


def test_searches_match_plain_arithmetic(kb: Path) -> None:
    query = FakeEncoder().encode_query("河道巡查联席会议由几个部门组成")
    index = _check(kb)
    with Store.open(kb) as store:
        ids, matrix = store.vectors()
    scores = matrix @ query
    order = np.argsort(-scores, kind="stable")[:5]
    assert [score for _, score in index.search(query, 5)] == pytest.approx(scores[order].tolist())
    wanted = ids[:4].tolist()
    best = index.search(query, 2, ids=wanted)
    assert [score for _, score in best] == pytest.approx(sorted((matrix[:4] @ query).tolist())[::-1][:2])
