"""Words mistyped by their sound."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import compilation, document, fill
from fakes import FakeEncoder

from rag.records import Question
from rag.retrieve import HybridRetriever
from rag.spelling import Homophones, corrections, sounds
from rag.store import Store

KNOWN = Homophones({"下移": 3, "下沉": 5, "证明": 2, "清单": 9, "公章": 1, "网格": 7, "a1": 4, "管理员": 8})


@pytest.mark.parametrize(
    ("mistyped", "meant"),
    [
        ("下仪", ["下移"]),
        ("正明", ["证明"]),
        ("青单", ["清单"]),
        ("公张", ["公章"]),
        ("网隔", ["网格"]),
        ("上仪", []),  # two characters away
        ("下去", []),  # sounds otherwise
        ("b1", []),
    ],
)
def test_a_word_is_meant_that_differs_in_one_character_of_the_same_sound(
    mistyped: str, meant: list[str]
) -> None:
    assert KNOWN.of(mistyped) == meant


def test_sounds_are_compared_as_people_confuse_them() -> None:
    assert sounds("诗") & sounds("司") and sounds("清") & sounds("亲")
    assert not sounds("诗") & sounds("书")


def test_only_what_has_a_correction_is_listed() -> None:
    assert corrections(["下仪", "火星"], KNOWN) == {"下仪": ["下移"]}


def test_a_mistyped_question_finds_the_passage(tmp_path: Path) -> None:
    fill(tmp_path / "kb", document(compilation()))
    with Store.open(tmp_path / "kb") as store:
        retriever = HybridRetriever(store=store, encoder=FakeEncoder(), mode="lexical")
        (best, *_) = retriever.retrieve(Question("联西会议")).passages
        assert "联席会议" in best.text
        query = retriever.retrieve(Question("联西会议")).query
        assert "联西" in query.unknown and 0 < query.weights["联席"] < query.weights["联西"]
