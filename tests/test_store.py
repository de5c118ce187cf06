"""The knowledge base: what goes in comes out, whole or not at all, for one writer and many readers."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from builders import compilation, document, fill, prepared
from fakes import FakeEncoder

from rag.errors import DamagedError, KnowledgeBaseError, LockedError, ModelMismatchError
from rag.lexicon import tokens
from rag.outline import outline
from rag.records import Span
from rag.store import DATABASE, Store

DOCUMENT = document(compilation())
OTHER = document(compilation(version=2, articles=2), "另一份.txt")


@pytest.fixture
def kb(tmp_path: Path) -> Path:
    folder = tmp_path / "知识库 #1?"  # characters that mean something in an SQLite address
    fill(folder, DOCUMENT, OTHER)
    return folder


def _query(text: str) -> str:
    return " OR ".join(f'"{token}"' for token in tokens(text))


def test_documents_come_out_as_they_went_in(kb: Path) -> None:
    with Store.open(kb) as store:
        assert store.document("汇编.txt") == DOCUMENT
        assert store.document("没有.txt") is None
        assert [(d.name, d.articles, d.characters) for d in store.documents()] == [
            ("另一份.txt", 2, len(OTHER.text)),
            ("汇编.txt", 4, len(DOCUMENT.text)),
        ]


def test_articles_come_out_with_their_trees(kb: Path) -> None:
    with Store.open(kb) as store:
        articles = store.articles("汇编.txt")
        assert tuple(stored.article for stored in articles) == outline(DOCUMENT).articles
        assert store.article(articles[2].id) == articles[2]
        assert store.article(99_999) is None
        assert len(store.articles()) == 6
        first = articles[0].as_json()
        assert first["title"] == "关于网格管理工作的实施意见之1"
        assert [s["heading"] for s in first["sections"]] == ["总体要求", "重点任务"]
        assert [s["heading"] for s in first["sections"][1]["sections"]] == ["健全机制", "压实责任"]
        assert list(first["sections"][0]) == ["level", "marker", "heading", "start", "end", "sections"]


def test_passages_are_slices_of_the_document(kb: Path) -> None:
    with Store.open(kb) as store:
        ids, _ = store.vectors()
        passages = store.passages(reversed(ids.tolist()))
        assert [passage.chunk for passage in passages] == ids.tolist()[::-1]
        for passage in passages:
            source = DOCUMENT if passage.document == DOCUMENT.name else OTHER
            assert passage.text == source.text[passage.start : passage.end]
            assert passage.sha256 == source.sha256
            assert passage.sentences
            assert all(passage.contains(sentence) for sentence in passage.sentences)


def test_chunks_and_vectors_come_out_as_they_went_in(kb: Path) -> None:
    _, _, expected = prepared(DOCUMENT, FakeEncoder())
    with Store.open(kb) as store:
        found = store.indexed_chunks("汇编.txt")
        assert [f.chunk for f in found] == [e.chunk for e in expected]
        for f, e in zip(found, expected, strict=True):
            np.testing.assert_array_equal(f.vector, e.vector)
            np.testing.assert_array_equal(f.sentence_vectors, e.sentence_vectors)
        assert store.indexed_chunks("没有.txt") == []
        ids, matrix = store.vectors()
        assert matrix.shape == (len(ids), 32)
        sentence_ids, owners, sentence_matrix = store.sentence_vectors()
        assert len(sentence_ids) == len(owners) == len(sentence_matrix) == store.count("sentences")
        some = store.sentence_vectors(ids[:2].tolist())
        assert set(some[1].tolist()) == set(ids[:2].tolist())


def test_text_is_found_by_its_words_and_by_its_headings(kb: Path) -> None:
    with Store.open(kb) as store:
        hits = store.search_text(_query("垃圾分类责任落实到多少名专职人员"), limit=3)
        best = store.passages([hits[0][0]])[0]
        assert "垃圾分类责任落实到" in best.text
        assert [score for _, score in hits] == sorted((score for _, score in hits), reverse=True)
        by_heading = store.search_text('path : "机制"', (0.0, 1.0), 100)
        assert {p.section[-1] for p in store.passages(key for key, _ in by_heading)} == {"(一)健全机制"}
        assert store.search_text('"没有这个词"') == []


def test_text_search_can_be_restricted_to_chunks(kb: Path) -> None:
    with Store.open(kb) as store:
        second = store.articles("汇编.txt")[1]
        (inside,) = store.chunks_inside([("汇编.txt", second.article)])
        hits = store.search_text(_query("联席会议"), limit=100, chunks=inside)
        assert {key for key, _ in hits} <= set(inside)
        assert set(store.article_of(key for key, _ in hits).values()) == {second.id}
        assert hits
        assert store.search_text(_query("联席会议"), chunks=[]) == []


def test_the_chunks_inside_places_are_found_for_each(kb: Path) -> None:
    with Store.open(kb) as store:
        first, second = (stored.article for stored in store.articles("汇编.txt")[:2])
        section = second.sections[0]
        whole, part, cut, none, unknown = store.chunks_inside(
            [
                ("汇编.txt", first),
                ("汇编.txt", section),
                ("汇编.txt", Span(section.start, section.end - 2)),
                ("汇编.txt", Span(0, 2)),
                ("没有.txt", first),
            ]
        )
        assert {p.article.number for p in store.passages(whole)} == {1}
        assert {p.section[-1] for p in store.passages(part)} == {section.label}
        assert len(cut) == len(part) - 1  # a chunk is inside or it is not
        assert none == unknown == []
        assert whole == sorted(whole)
        assert store.chunks_inside([]) == []


def test_a_position_is_in_an_article_or_in_none(kb: Path) -> None:
    with Store.open(kb) as store:
        for stored in store.articles("汇编.txt"):
            assert store.article_at("汇编.txt", stored.article.start) == stored
            assert store.article_at("汇编.txt", stored.article.end - 1) == stored
        assert store.article_at("汇编.txt", 0) is None
        assert store.article_at("没有.txt", 100) is None


def test_articles_are_known_by_place_without_their_sections(kb: Path) -> None:
    with Store.open(kb) as store:
        assert store.article_places() == [
            (a.document, a.article.number, Span(a.article.start, a.article.end)) for a in store.articles()
        ]


def test_a_document_has_its_length(kb: Path) -> None:
    with Store.open(kb) as store:
        found = store.document("汇编.txt")
        assert found and store.characters("汇编.txt") == len(found.text)
        assert store.characters("没有.txt") is None


def test_document_frequency_counts_chunks(kb: Path) -> None:
    with Store.open(kb) as store:
        assert store.document_frequency(["联席会议", "河道", "没有"]) == {"联席会议": 6, "河道": 0, "没有": 0}


def test_putting_again_replaces_and_deleting_leaves_nothing(kb: Path) -> None:
    newer = document(compilation(version=3))
    with Store.open(kb, writable=True) as store:
        old_ids = set(store.vectors()[0].tolist())
        generation = store.generation
        with store.transaction():
            store.put(*prepared(newer, FakeEncoder()))
        assert store.generation == generation + 1
        assert store.document("汇编.txt") == newer
        new_ids = set(store.vectors()[0].tolist()) - old_ids
        assert new_ids  # and none of them was in use before
        assert store.passages(old_ids - set(store.vectors()[0].tolist())) == []
        with store.transaction():
            assert store.delete("汇编.txt")
            assert store.delete("另一份.txt")
            assert not store.delete("没有.txt")
        for table in ("documents", "articles", "chunks", "sentences"):
            assert store.count(table) == 0
        assert store.search_text('"工作"') == []
        with pytest.raises(KnowledgeBaseError, match=r"空的.*youju ingest"):
            store.require_documents()


def test_an_error_inside_a_transaction_leaves_the_former_state(kb: Path) -> None:
    with Store.open(kb, writable=True) as store:
        generation = store.generation
        with pytest.raises(RuntimeError), store.transaction():
            store.delete("汇编.txt")
            raise RuntimeError
        assert store.generation == generation
        assert store.document("汇编.txt") == DOCUMENT


def test_vectors_of_another_shape_are_refused(kb: Path) -> None:
    with (
        Store.open(kb, writable=True) as store,
        pytest.raises(ValueError, match="32 dimensions"),
        store.transaction(),
    ):
        store.put(*prepared(DOCUMENT, FakeEncoder(dimension=8)))


def test_a_reader_sees_each_commit_and_a_snapshot_does_not(kb: Path) -> None:
    with Store.open(kb) as reader, Store.open(kb, writable=True) as writer:
        before = reader.generation
        with reader.snapshot():
            names = [d.name for d in reader.documents()]
            with writer.transaction():
                writer.delete("汇编.txt")
            assert [d.name for d in reader.documents()] == names
            assert reader.generation == before
        assert reader.generation == before + 1
        assert [d.name for d in reader.documents()] == ["另一份.txt"]


def test_a_reader_cannot_write(kb: Path) -> None:
    with Store.open(kb) as store, pytest.raises(KnowledgeBaseError, match="不可用"), store.transaction():
        store.delete("汇编.txt")


def test_threads_share_a_store(kb: Path) -> None:
    errors: list[BaseException] = []

    def read() -> None:
        try:
            for _ in range(20):
                with store.snapshot():
                    ids = [key for key, _ in store.search_text(_query("养老服务"))]
                    assert len(store.passages(ids)) == len(ids)
        except BaseException as error:
            errors.append(error)

    with Store.open(kb) as store:
        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert errors == []


def test_there_is_one_writer_and_readers_go_on(kb: Path) -> None:
    with Store.open(kb, writable=True):
        with pytest.raises(LockedError, match=r"正在写入.*知识库 #1.*→"):
            Store.open(kb, writable=True)
        with Store.open(kb) as reader:
            assert len(reader.documents()) == 2
    with Store.open(kb, writable=True):
        pass


def test_the_lock_of_a_killed_writer_is_free(kb: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from rag.store import Store\n"
        "store = Store.open(Path(sys.argv[1]), writable=True); print('open', flush=True); sys.stdin.read()"
    )
    root = Path(__file__).parent.parent
    command = [sys.executable, "-c", program, str(kb)]
    with subprocess.Popen(
        command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with pytest.raises(LockedError):
            Store.open(kb, writable=True)
        process.kill()
    with Store.open(kb, writable=True) as store:
        assert len(store.documents()) == 2


def test_another_model_is_refused_by_both_names(kb: Path) -> None:
    with Store.open(kb, writable=True) as store:
        store.require_model("fake@1", 32)
        with pytest.raises(ModelMismatchError, match=r"fake@1 \(32 维\).*other@1 \(32 维\).*→"):
            store.require_model("other@1", 32)
        with pytest.raises(ModelMismatchError, match="64 维"), store.transaction():
            store.set_model("fake@1", 64)
        with store.transaction():
            store.delete("汇编.txt")
            store.delete("另一份.txt")
        with store.transaction():  # nothing is left to mix with
            store.set_model("other@1", 64)
        assert store.model == ("other@1", 64)


def test_a_missing_knowledge_base_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(KnowledgeBaseError, match=r"知识库不存在.*youju ingest"):
        Store.open(tmp_path / "none")
    assert not (tmp_path / "none").exists()
    (tmp_path / DATABASE).touch()  # what a process killed at the very start leaves
    with pytest.raises(KnowledgeBaseError, match=r"空的.*youju ingest"):
        Store.open(tmp_path)


@pytest.mark.parametrize("damage", ["not a database", "cut short", "overwritten"])
def test_a_damaged_database_is_an_error_with_a_remedy(kb: Path, damage: str) -> None:
    path = kb / DATABASE
    data = path.read_bytes()
    if damage == "not a database":
        path.write_bytes(b"something else entirely" * 100)
    elif damage == "cut short":
        path.write_bytes(data[: len(data) // 2])
    else:
        path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))
    with pytest.raises(DamagedError, match=r"已损坏.*→"), Store.open(kb) as store:
        store.articles()
        store.passages(store.vectors()[0].tolist())


def test_vectors_cut_short_are_damage(kb: Path) -> None:
    with sqlite3.connect(kb / DATABASE) as connection:
        connection.execute("UPDATE chunks SET vector = x'00000000' WHERE id = 1")
    with Store.open(kb) as store, pytest.raises(DamagedError):
        store.vectors()


def test_another_schema_version_is_refused(kb: Path) -> None:
    with sqlite3.connect(kb / DATABASE) as connection:
        connection.execute("UPDATE meta SET value = '99' WHERE key = 'schema'")
    with pytest.raises(KnowledgeBaseError, match=r"格式版本是 99.*→"):
        Store.open(kb)


def test_a_foreign_database_is_refused(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / DATABASE) as connection:
        connection.execute("CREATE TABLE other (x)")
    for writable in (False, True):
        with pytest.raises(KnowledgeBaseError, match="格式版本"):
            Store.open(tmp_path, writable=writable, create=writable)


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KnowledgeBaseError, match="→"):
        Store.open(tmp_path / "file", writable=True, create=True)
