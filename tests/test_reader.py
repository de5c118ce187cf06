"""The trained reader: how pairs are encoded, how its weights travel, and what it makes of real passages."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from embeddings.bundled import prepare
from embeddings.crossencoder import CrossEncoderReader
from embeddings.errors import ModelError
from embeddings.pairmodel import pair_ids, save
from embeddings.reader import CUT_OFF, WEIGHTS, Reader, Reading

HEADING = "关于推进护理员队伍建设的意见 三、待遇保障"
CLAUSES = (
    "对取得高级工以上证书的护理员,",
    "一次性给予6000元入职奖励;",
    "连续工作满三年的,",
    "再给予8000元。",
)


@pytest.fixture(scope="module")
def tokenizer(model_home: Path) -> Tokenizer:
    return Tokenizer.from_file(str(prepare(model_home) / "tokenizer.json"))


@pytest.fixture(scope="module")
def reader(model_home: Path) -> Reader:
    return Reader(model_home)


def shown(heading: str, *units: str) -> tuple[str, str, list[tuple[int, int]]]:
    ends = np.cumsum([len(u) for u in units]).tolist()
    return heading, "".join(units), list(zip([0, *ends[:-1]], ends, strict=True))


# -- a run of units -----------------------------------------------------------------------------------------


def test_the_best_run_does_not_end_before_it_begins() -> None:
    reading = Reading(0, 0, np.array([0, 3, 1], np.float32), np.array([5, 0, 2], np.float32))
    assert (
        reading.best_run(0, 3) == 5
    )  # from the first to itself (0 + 5), or from the second to the third (3 + 2)
    assert reading.best_run(1, 3) == 5
    assert reading.best_run(1, 2) == 3
    assert reading.best_run(2, 3) == 3


def test_without_spans_no_run_is_better_than_another() -> None:
    assert Reading(0.3, 0.3).best_run(2, 7) == 0.0


# -- encoding -----------------------------------------------------------------------------------------------


def test_tokens_stand_where_their_characters_do(tokenizer: Tokenizer) -> None:
    text = "".join(CLAUSES)
    ids, places = pair_ids(tokenizer, "奖励多少钱？", HEADING, text, 224)
    assert len(ids) == len(places)
    assert [tokenizer.id_to_token(i) for i in (ids[0], ids[-1])] == ["<s>", "</s>"]
    assert ids.count(tokenizer.token_to_id("</s>")) == 2
    inside = [place for place in places if place[1] > place[0]]
    covered = "".join(text[a:b] for a, b in inside)
    assert covered == text
    whole = tokenizer.decode(ids, skip_special_tokens=True)
    assert "奖励多少钱" in whole and "待遇保障" in whole


def test_a_long_passage_is_cut_and_its_question_kept(tokenizer: Tokenizer) -> None:
    ids, places = pair_ids(tokenizer, "多少钱？", "", "网格员每月补贴三百元。" * 60, 64)
    assert len(ids) == len(places) == 64
    assert "多少钱" in tokenizer.decode(ids, skip_special_tokens=True)


# -- weights ------------------------------------------------------------------------------------------------


def test_matrices_travel_in_8_bits_and_come_back_close(tmp_path: Path) -> None:
    from safetensors import safe_open

    torch.manual_seed(0)
    matrix = torch.randn(6, 32)
    config = {"num_attention_heads": 12, "hidden_size": 384, "layer_norm_eps": 1e-12, "other": 1}
    save(tmp_path / "r.safetensors", {"encoder.x.weight": matrix, "pooled.weight": torch.ones(2, 4)}, config)
    with safe_open(tmp_path / "r.safetensors", "pt") as file:
        stored = file.get_tensor("encoder.x.weight")
        scale = file.get_tensor("encoder.x.weight.scale")
        assert file.get_tensor("pooled.weight").dtype == torch.float16
    assert stored.dtype == torch.int8
    error = (stored.float() * scale[:, None] - matrix).abs().amax(1)
    assert (error <= scale / 2 + 1e-6).all()  # half a step of each row's own scale


def test_what_ships_is_small() -> None:
    assert WEIGHTS.stat().st_size < 50 * 1024 * 1024


@pytest.mark.parametrize("content", [b"", b"no weights", None])
def test_weights_that_cannot_be_used_are_an_error_with_a_way_out(
    model_home: Path, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "reader.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match="重新安装"):
        Reader(model_home, path).read("多少钱？", [shown("", "三百元。")])


def test_a_cross_encoder_that_is_not_on_this_machine_is_an_error() -> None:
    with pytest.raises(ModelError, match="YOUJU_READER"):
        CrossEncoderReader("nobody/no-such-cross-encoder").read("多少钱？", [shown("", "三百元。")])


# -- reading ------------------------------------------------------------------------------------------------


def test_the_passage_that_answers_comes_first_and_its_clause_is_found(reader: Reader) -> None:
    other = shown(HEADING, "护理员每年参加培训不少于40学时,", "由县民政局组织。")
    unrelated = shown("关于垃圾分类的通知", "每个小区设4个投放点,", "定时清运。")
    found = reader.read(
        "护理员拿到高级工证书,入职能奖励多少钱？", [unrelated, other, shown(HEADING, *CLAUSES)]
    )
    assert max(range(3), key=lambda i: found[i].relevance) == 2
    assert found[2].answers > found[0].answers
    scores = [found[2].best_run(i, i + 1) for i in range(len(CLAUSES))]
    assert "6000元" in CLAUSES[scores.index(max(scores))]


def test_each_passage_is_read_as_if_alone(reader: Reader) -> None:
    pairs = [shown(HEADING, *CLAUSES), shown("", "定时清运。"), shown("", "三百元。" * 40)]
    together = reader.read("奖励多少钱？", pairs)
    for pair, reading in zip(pairs, together, strict=True):
        (alone,) = reader.read("奖励多少钱？", [pair])
        assert alone.relevance == pytest.approx(reading.relevance, abs=1e-4)
        assert alone.answers == pytest.approx(reading.answers, abs=1e-4)
    assert reader.read("奖励多少钱？", []) == []


def test_units_beyond_the_limit_are_not_read(reader: Reader) -> None:
    (reading,) = reader.read("多少钱？", [shown("", *(f"第{i}条共计{i}元。" for i in range(120)))])
    assert reading.starts is not None and reading.ends is not None
    assert reading.starts[0] > CUT_OFF and reading.starts[-1] == CUT_OFF
