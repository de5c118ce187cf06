"""Checkers other than words: the bundled model, a cross-encoder for entailment, the language model asked again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from embeddings.checker import WEIGHTS, SupportModel
from embeddings.errors import ModelError
from eval.scripted import Reply, ScriptedServer
from rag.check import AskingChecker, ModelChecker, support_checker
from rag.config import Settings
from rag.errors import LanguageModelError
from rag.llm import open_model
from rag.verify import LexicalChecker, Source, Verifier

ABOVE = (("关于社区食堂的意见", "二、补助", "(一)标准"),)
SOURCE = Source("每家食堂一次性补助5万元，由县财政从2026年起列入预算。", ABOVE)


class Recording:
    """A model that says the same of everything and keeps what it was asked."""

    def __init__(self, probability: float) -> None:
        self.probability = probability
        self.asked: list[tuple[str, str, str]] = []

    def supports(self, triples: Sequence[tuple[str, str, str]]) -> list[float]:
        self.asked += triples
        return [self.probability] * len(triples)


def test_a_model_reads_the_text_below_title_and_innermost_heading() -> None:
    model = Recording(0.7)
    assert ModelChecker(model).supports([("補助5萬元。", SOURCE)]) == [0.7]
    assert model.asked == [("补助5万元。", "关于社区食堂的意见 (一)标准", SOURCE.text)]


def test_a_model_decides_what_numbers_and_names_leave_open() -> None:
    sentence = "每家食堂补助5万元。"
    assert Verifier([SOURCE], ModelChecker(Recording(0.9))).verdict(sentence, [0]).sources == (0,)
    assert Verifier([SOURCE], ModelChecker(Recording(0.1))).verdict(sentence, [0]).sources == ()
    assert Verifier([SOURCE], ModelChecker(Recording(0.9))).verdict("每家食堂补助6万元。", [0]).sources == ()


# -- the bundled model -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sentence, supported",
    [
        ("一家食堂可以一次性得到5万元补助。", True),
        ("从2026年起，食堂的补助列入县财政预算。", True),
        ("这笔补助由省财政列入预算。", False),
        ("每家食堂每年补助5万元，连续补三年。", False),
        ("食堂补助不列入县财政预算。", False),
    ],
)
def test_the_bundled_model_tells_paraphrase_from_contradiction(
    sentence: str, supported: bool, model_home: Path
) -> None:
    checker = support_checker(Settings(model_home=model_home))
    assert (checker.supports([(sentence, SOURCE)])[0] >= 0.5) == supported


def test_the_order_and_the_company_of_pairs_change_nothing(model_home: Path) -> None:
    model = SupportModel(model_home)
    triples = [("一句话。", "题", "一句话。" * k) for k in (1, 9, 3)]
    together = model.supports(triples)
    assert together == pytest.approx([model.supports([t])[0] for t in triples], abs=1e-4)


def test_weights_that_are_not_there_are_named(tmp_path: Path, model_home: Path) -> None:
    missing = tmp_path / "none.safetensors"
    checker = support_checker(Settings(checker=str(missing), model_home=model_home))
    with pytest.raises(ModelError, match="none.safetensors"):
        checker.supports([("一句。", SOURCE)])
    assert WEIGHTS.is_file()


# -- others ----------------------------------------------------------------------------------------------------


def test_words_alone_are_a_setting() -> None:
    assert isinstance(support_checker(Settings(checker="lexical")), LexicalChecker)


@pytest.mark.parametrize(
    "reply, supported",
    [
        ("是", True),
        ("是。", True),
        ("<think>不是吧</think>\n是", True),
        ("Yes", True),
        ("否", False),
        ("是否支持不好说", False),
        ("", False),
    ],
)
def test_the_language_model_is_asked_once_more_where_the_settings_say_so(reply: str, supported: bool) -> None:
    with ScriptedServer([Reply(reply)]) as server:
        settings = Settings(llm="openai:x", llm_base_url=server.address, checker="llm")
        checker = support_checker(settings, open_model(settings))
        assert isinstance(checker, AskingChecker)
        assert checker.supports([("每家补助5万元。", SOURCE)]) == [float(supported)]
    (request,) = server.requests
    assert (
        SOURCE.text in request["messages"][-1]["content"]
        and "每家补助5万元。" in request["messages"][-1]["content"]
    )


def test_a_language_model_that_fails_to_judge_is_an_error() -> None:
    with ScriptedServer([Reply(fault="status", status=500)]) as server:
        settings = Settings(llm="openai:x", llm_base_url=server.address, checker="llm", llm_retries=0)
        with pytest.raises(LanguageModelError):
            support_checker(settings, open_model(settings)).supports([("一句。", SOURCE)])


def test_an_entailment_model_is_read_by_its_classes(tmp_path: Path, model_home: Path) -> None:
    """A tiny model with random weights: what matters is which of its outputs is taken."""
    import numpy as np
    from sentence_transformers import CrossEncoder
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    from embeddings.bundled import prepare
    from embeddings.entailment import EntailmentModel

    tokenizer = AutoTokenizer.from_pretrained(prepare(model_home))
    labels = {0: "contradiction", 1: "entailment", 2: "neutral"}
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    config = BertConfig(vocab_size=len(tokenizer), num_labels=3, id2label=labels, **sizes)
    BertForSequenceClassification(config).save_pretrained(tmp_path / "nli")
    tokenizer.save_pretrained(tmp_path / "nli")
    found = EntailmentModel(str(tmp_path / "nli")).supports([("补助5万元。", "意见", "每家补助5万元。")])
    whole = CrossEncoder(str(tmp_path / "nli"), device="cpu").predict(
        [("意见：每家补助5万元。", "补助5万元。")], apply_softmax=True
    )
    assert found == pytest.approx([float(np.asarray(whole)[0, 1])], abs=1e-6)
    config.id2label = {0: "a", 1: "b", 2: "c"}
    config.save_pretrained(tmp_path / "nli")
    with pytest.raises(ModelError, match="entailment"):
        EntailmentModel(str(tmp_path / "nli")).supports([("一", "", "二")])


def test_an_entailment_model_that_is_not_on_this_machine_is_an_error() -> None:
    with pytest.raises(ModelError, match="YOUJU_CHECKER"):
        support_checker(Settings(checker="nobody/no-such-model")).supports([("一句。", SOURCE)])
