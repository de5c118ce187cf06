"""Files to knowledge base: incremental, all or nothing, and every file accounted for."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import compilation
from fakes import FakeEncoder

from rag.config import Settings, read_settings
from rag.errors import FormatError, LockedError, ModelMismatchError, PathError
from rag.ingest import embedded_text, ingest, remove
from rag.load import read_document
from rag.store import Store
from rag.vectors import HEADER, INDEX, load_or_build

SAMPLES = Path(__file__).parent.parent / "samples"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(kb=tmp_path / "kb")


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "汇编.txt").write_text(compilation(), encoding="utf-8")
    return folder


def _state(settings: Settings) -> dict[str, list[str]]:
    """The texts of the chunks of each document."""
    with Store.open(settings.kb) as store:
        ids, _ = store.vectors()
        state: dict[str, list[str]] = {document.name: [] for document in store.documents()}
        for passage in store.passages(ids.tolist()):
            state[passage.document].append(passage.text)
    return state


def test_a_file_is_added_with_a_full_report(docs: Path, settings: Settings) -> None:
    report = ingest([docs / "汇编.txt"], settings, FakeEncoder())
    (row,) = report.documents
    assert (row.name, row.status, row.encoding) == ("汇编.txt", "added", "utf-8")
    assert (row.articles, row.sections) == (4, 16)
    texts = _state(settings)["汇编.txt"]
    assert row.chunks == len(texts)
    assert row.embedded == len(set(texts))  # the bare heading 二、重点任务 stands in every article
    assert row.seconds > 0
    assert report.as_json()["documents"][0]["status"] == "added"


def test_an_unchanged_file_is_left_alone(docs: Path, settings: Settings) -> None:
    ingest([docs], settings, FakeEncoder())
    encoder = FakeEncoder()
    with Store.open(settings.kb) as store:
        generation = store.generation
    report = ingest([docs], settings, encoder)
    assert [row.status for row in report.documents] == ["unchanged"]
    assert encoder.encoded == []
    with Store.open(settings.kb) as store:
        assert store.generation == generation


def test_only_changed_text_is_embedded(docs: Path, settings: Settings) -> None:
    ingest([docs], settings, FakeEncoder())
    (docs / "汇编.txt").write_text(compilation(version=2, changed=3), encoding="utf-8")
    encoder = FakeEncoder()
    (row,) = ingest([docs], settings, encoder).documents
    assert row.status == "updated"
    assert row.embedded == len(encoder.encoded) == 3  # what its article 3 says, in three sections
    assert all("垃圾分类" in text for text in encoder.encoded)


def test_vectors_taken_over_equal_vectors_computed(docs: Path, settings: Settings, tmp_path: Path) -> None:
    ingest([docs], settings, FakeEncoder())
    (docs / "汇编.txt").write_text(compilation(version=2, changed=1), encoding="utf-8")
    ingest([docs], settings, FakeEncoder())
    fresh = read_settings(kb=tmp_path / "fresh")
    ingest([docs], fresh, FakeEncoder())
    with Store.open(settings.kb) as updated, Store.open(fresh.kb) as new:
        assert [i.chunk for i in updated.indexed_chunks("汇编.txt")] == [
            i.chunk for i in new.indexed_chunks("汇编.txt")
        ]
        np.testing.assert_array_equal(updated.vectors()[1], new.vectors()[1])
        np.testing.assert_array_equal(updated.sentence_vectors()[2], new.sentence_vectors()[2])


def test_text_that_only_moved_is_not_embedded_again(docs: Path, settings: Settings) -> None:
    ingest([docs], settings, FakeEncoder())
    (docs / "汇编.txt").write_text("某网站提示：内容仅供参考\n\n" + compilation(), encoding="utf-8")
    encoder = FakeEncoder()
    ingest([docs], settings, encoder)
    assert not any("总体要求" in text or "提出" in text for text in encoder.encoded)


def test_another_version_of_the_pipeline_makes_all_anew(
    docs: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ingest([docs], settings, FakeEncoder())
    monkeypatch.setattr("rag.ingest.PIPELINE", "test")
    encoder = FakeEncoder()
    (row,) = ingest([docs], settings, encoder).documents
    assert row.status == "updated"
    assert row.embedded == len(encoder.encoded) == len(set(_state(settings)["汇编.txt"]))


def test_the_same_text_is_embedded_once(docs: Path, settings: Settings) -> None:
    (docs / "副本.txt").write_text(compilation(), encoding="utf-8")
    encoder = FakeEncoder()
    ingest([docs], settings, encoder)
    assert len(encoder.encoded) == len(set(encoder.encoded))


def test_a_copy_elsewhere_is_the_same_document(docs: Path, settings: Settings, tmp_path: Path) -> None:
    ingest([docs], settings, FakeEncoder())
    copy = tmp_path / "elsewhere" / "汇编.txt"
    copy.parent.mkdir()
    copy.write_text(compilation(), encoding="utf-8")
    (row,) = ingest([copy], settings, FakeEncoder()).documents
    assert (row.name, row.status) == ("汇编.txt", "unchanged")


def test_another_file_of_the_same_name_is_another_document(
    docs: Path, settings: Settings, tmp_path: Path
) -> None:
    ingest([docs], settings, FakeEncoder())
    other = tmp_path / "2024" / "汇编.txt"
    other.parent.mkdir()
    other.write_text(compilation(version=5), encoding="utf-8")
    (row,) = ingest([other], settings, FakeEncoder()).documents
    assert (row.name, row.status) == ("2024/汇编.txt", "added")
    assert set(_state(settings)) == {"汇编.txt", "2024/汇编.txt"}


def test_a_file_that_was_moved_and_changed_is_an_update(
    docs: Path, settings: Settings, tmp_path: Path
) -> None:
    ingest([docs], settings, FakeEncoder())
    docs.rename(tmp_path / "moved")
    (tmp_path / "moved" / "汇编.txt").write_text(compilation(version=2), encoding="utf-8")
    (row,) = ingest([tmp_path / "moved"], settings, FakeEncoder()).documents
    assert (row.name, row.status) == ("汇编.txt", "updated")


def test_a_bad_file_in_a_folder_is_reported_and_passed_over(docs: Path, settings: Settings) -> None:
    (docs / "空.txt").touch()
    report = ingest([docs], settings, FakeEncoder())
    assert {row.name: row.status for row in report.documents} == {"汇编.txt": "added", "空.txt": "skipped"}
    assert "空文件" in report.documents[1].warnings[0]


def test_a_bad_file_that_was_given_stops_all(docs: Path, settings: Settings) -> None:
    (docs / "空.txt").touch()
    with pytest.raises(FormatError, match="空文件"):
        ingest([docs / "汇编.txt", docs / "空.txt"], settings, FakeEncoder())
    assert not settings.kb.exists()


def test_a_folder_of_bad_files_is_an_error(tmp_path: Path, settings: Settings) -> None:
    (tmp_path / "空.txt").touch()
    with pytest.raises(PathError, match=r"没有可读的文件.*空\.txt"):
        ingest([tmp_path], settings, FakeEncoder())
    assert not settings.kb.exists()


def test_another_model_is_refused_before_anything_is_embedded(docs: Path, settings: Settings) -> None:
    ingest([docs], settings, FakeEncoder("first"))
    before = _state(settings)
    (docs / "汇编.txt").write_text(compilation(version=2), encoding="utf-8")
    encoder = FakeEncoder("second")
    with pytest.raises(ModelMismatchError, match=r"first@1.*second@1"):
        ingest([docs], settings, encoder)
    assert encoder.encoded == []
    assert _state(settings) == before


def test_a_second_writer_is_refused_before_anything_is_embedded(docs: Path, settings: Settings) -> None:
    ingest([docs], settings, FakeEncoder())
    (docs / "汇编.txt").write_text(compilation(version=2), encoding="utf-8")
    encoder = FakeEncoder()
    with Store.open(settings.kb, writable=True), pytest.raises(LockedError, match="正在写入"):
        ingest([docs], settings, encoder)
    assert encoder.encoded == []


class _Broken(FakeEncoder):
    """Fails in the middle of its work."""

    def encode_with_spans(self, *args: Any, **kwargs: Any) -> Any:
        raise KeyboardInterrupt


def test_an_interruption_leaves_the_former_state(docs: Path, settings: Settings) -> None:
    ingest([docs], settings, FakeEncoder())
    before = _state(settings)
    (docs / "汇编.txt").write_text(compilation(version=2), encoding="utf-8")
    (docs / "新.txt").write_text(compilation(version=3), encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):
        ingest([docs], settings, _Broken())
    assert _state(settings) == before

    def interrupt(step: str, done: int, total: int) -> None:
        if (step, done) == ("store", 1):  # one of two documents is in, nothing is committed
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest([docs], settings, FakeEncoder(), progress=interrupt)
    assert _state(settings) == before
    ingest([docs], settings, FakeEncoder())
    assert set(_state(settings)) == {"汇编.txt", "新.txt"}


def test_progress_names_each_step_and_ends_at_its_total(docs: Path, settings: Settings) -> None:
    seen: dict[str, tuple[int, int]] = {}

    def note(step: str, done: int, total: int) -> None:
        assert 0 <= done <= total
        seen[step] = (done, total)

    ingest([docs], settings, FakeEncoder(), progress=note)
    assert list(seen) == ["read", "split", "embed", "store"]
    assert all(done == total for done, total in seen.values())


def test_removing_is_all_or_nothing(docs: Path, settings: Settings) -> None:
    (docs / "新.txt").write_text(compilation(version=3), encoding="utf-8")
    ingest([docs], settings, FakeEncoder())
    with pytest.raises(PathError, match=r"没有文档.*不在\.txt.*youju documents"):
        remove(["新.txt", "不在.txt"], settings)
    assert set(_state(settings)) == {"汇编.txt", "新.txt"}
    assert remove(["新.txt", "新.txt"], settings) == ["新.txt"]
    assert set(_state(settings)) == {"汇编.txt"}
    with Store.open(settings.kb) as store:
        assert len(load_or_build(store)) == store.count("chunks")


def test_the_index_is_made_with_the_knowledge_base(docs: Path, settings: Settings) -> None:
    ingest([docs], settings, FakeEncoder())
    assert (settings.kb / INDEX).exists()
    (settings.kb / HEADER).unlink()
    ingest([docs], settings, FakeEncoder())  # nothing changed, but the index is mended
    assert (settings.kb / HEADER).exists()


def test_a_reader_sees_the_next_generation(docs: Path, settings: Settings) -> None:
    ingest([docs], settings, FakeEncoder())
    with Store.open(settings.kb) as reader:
        index = load_or_build(reader)
        assert index.generation == reader.generation
        (docs / "汇编.txt").write_text(compilation(version=2), encoding="utf-8")
        ingest([docs], settings, FakeEncoder())
        assert reader.generation == index.generation + 1
        assert load_or_build(reader).generation == reader.generation
        assert "第2版" in "".join(p.text for p in reader.passages(reader.vectors()[0].tolist()))


def test_embedded_sentences_lie_where_their_spans_say(settings: Settings) -> None:
    source = SAMPLES / "compilation.messy.txt"
    ingest([source], settings, FakeEncoder())
    document = read_document(source)
    with Store.open(settings.kb) as store:
        for indexed in store.indexed_chunks(source.name):
            text, spans = embedded_text(document, indexed.chunk)
            assert len(spans) == len(indexed.chunk.sentences)
            assert spans[0][0] == 0
            assert spans[-1][1] == len(text)
            assert all(text[start:end].strip() for start, end in spans)
            assert all(a[1] <= b[0] for a, b in pairwise(spans))


def test_the_sample_folder_is_read_whole(settings: Settings) -> None:
    report = ingest([SAMPLES], settings, FakeEncoder())
    assert all(row.status == "added" and row.chunks for row in report.documents)
    assert "compilation.messy.txt" in {row.name for row in report.documents}
