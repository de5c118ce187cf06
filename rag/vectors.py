"""The FAISS index: a cache of the store's vectors, rebuilt whenever it is not exactly what the store holds.

Two files in the knowledge-base folder: ``vectors.faiss`` and ``vectors.json``, a header that says which state
of which store the index was made from. Nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from rag.store import Ids, Store, Vector

INDEX = "vectors.faiss"
HEADER = "vectors.json"

_log = logging.getLogger(__name__)


class VectorIndex:
    """Exact inner-product search over vectors with keys; for vectors of length one that is the cosine."""

    def __init__(self, index: Any, generation: int = 0) -> None:
        self._index = index
        self.generation = generation  # of the store it was made from

    @classmethod
    def of(cls, ids: Ids, matrix: Vector, generation: int = 0) -> VectorIndex:
        """An index in memory over ``matrix`` ``(n, d)`` with keys ``(n,)``."""
        index = faiss.IndexIDMap2(faiss.IndexFlatIP(matrix.shape[1]))
        index.add_with_ids(np.ascontiguousarray(matrix, dtype=np.float32), np.ascontiguousarray(ids))
        return cls(index, generation)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def dimension(self) -> int:
        return int(self._index.d)

    def search(self, vector: Vector, k: int, ids: Collection[int] | None = None) -> list[tuple[int, float]]:
        """The ``k`` nearest keys with their inner products, best first, among ``ids`` where given."""
        k = min(k, len(self) if ids is None else len(ids))
        if k <= 0 or not len(self):
            return []
        parameters = None
        if ids is not None:
            wanted = np.fromiter(ids, dtype=np.int64)
            # The stubs know the constructor without its keywords.
            parameters = faiss.SearchParameters(sel=faiss.IDSelectorBatch(wanted))  # type: ignore[call-arg]
        query = np.ascontiguousarray(vector, dtype=np.float32).reshape(1, -1)
        scores, keys = self._index.search(query, k, params=parameters)
        return [(int(key), float(score)) for key, score in zip(keys[0], scores[0], strict=True) if key >= 0]

    def as_bytes(self) -> bytes:
        return bytes(faiss.serialize_index(self._index))


def load_or_build(store: Store) -> VectorIndex:
    """The index of the store's present chunks: from the cache where it fits, else made anew and cached."""
    with store.snapshot():
        expected = _expected(store)
        data, why = _cached(store.folder, expected)
        if data is not None:
            index = VectorIndex(faiss.deserialize_index(np.frombuffer(data, np.uint8)), store.generation)
            if (len(index), index.dimension) == (expected["count"], expected["dimension"]):
                return index
            why = "内容不符 (wrong content)"
        _log.warning("向量索引 %s %s, 已从数据库重建 (rebuilt)", store.folder / INDEX, why)
        return build(store)


def build(store: Store) -> VectorIndex:
    """Make the index from the store and cache it; in a folder that cannot be written to, only make it."""
    with store.snapshot():
        ids, matrix = store.vectors()
        index = VectorIndex.of(ids, matrix, store.generation)
        header = _expected(store)
    data = index.as_bytes()
    header["sha256"] = hashlib.sha256(data).hexdigest()
    try:
        _replace(store.folder / INDEX, data)
        _replace(store.folder / HEADER, json.dumps(header, indent=1).encode())
    except OSError as error:
        _log.warning("向量索引未能保存, 只在内存中使用 (index kept in memory only): %s", error)
    return index


def _expected(store: Store) -> dict[str, Any]:
    """What the header of an index of the store's present state says."""
    model, dimension = store.model or ("", 0)
    return {
        "store": store.identity,
        "generation": store.generation,
        "model": model,
        "dimension": dimension,
        "count": store.count("chunks"),
    }


def _cached(folder: Path, expected: dict[str, Any]) -> tuple[bytes | None, str]:
    """The bytes of the cached index if its header fits and its checksum holds, else why not."""
    try:
        header = json.loads((folder / HEADER).read_bytes())
        data = (folder / INDEX).read_bytes()
    except FileNotFoundError:
        return None, "不存在 (missing)"
    except (OSError, ValueError):
        return None, "不可读 (unreadable)"
    if not isinstance(header, dict) or {key: header.get(key) for key in expected} != expected:
        return None, "已过期 (stale)"
    if header.get("sha256") != hashlib.sha256(data).hexdigest():
        return None, "已损坏 (damaged)"
    return data, ""


def _replace(path: Path, data: bytes) -> None:
    """Write a file so that it is, at every moment, wholly the old or wholly the new one.

    Two processes that write at once can only spoil the temporary file; the checksum then tells.
    """
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
