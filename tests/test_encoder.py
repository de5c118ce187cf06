"""Sentence encoders: the bundled model, any other, and what both owe to LangChain."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.embeddings import Embeddings
from langchain_tests.integration_tests import EmbeddingsIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from embeddings.encoder import SentenceEncoder
from embeddings.errors import ModelError

PASSAGE = "社会保险费由税务部门统一征收。个人缴费可以通过银行代扣。灵活就业人员自愿参保。"
SENTENCES = [(0, 15), (15, 28), (28, 39)]


class TestLangChainUnit(EmbeddingsUnitTests):
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return SentenceEncoder


class TestLangChainIntegration(EmbeddingsIntegrationTests):
    """Sync and async."""

    @property
    def embeddings_class(self) -> type[Embeddings]:
        return SentenceEncoder


def tiny_model(folder: Path, pooling: str = "mean", activation: str = "gelu") -> Path:
    """A sentence-transformers folder with a random BERT of two layers that knows a few characters."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from tokenizers import Regex, Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Split
    from tokenizers.processors import TemplateProcessing
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    vocabulary = {
        token: i for i, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *"税务部门征收保险。"])
    }
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Split(Regex("."), "isolated")
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=40,
        hidden_act=activation,
        initializer_range=0.5,
    )
    bert = folder / "bert"
    BertModel(config).save_pretrained(bert)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=40, **names).save_pretrained(bert)
    model = SentenceTransformer(modules=[Transformer(str(bert)), Pooling(24, pooling)], device="cpu")
    model.save(str(folder / "model"), create_model_card=False)
    return folder / "model"


# --- the vectors ---


def test_vectors_are_unit_rows_in_the_order_of_the_texts(encoder: SentenceEncoder) -> None:
    texts = ["税", PASSAGE * 3, "", PASSAGE, "个人缴费"]
    steps: list[tuple[int, int]] = []
    together = encoder.encode_passages(texts, progress=lambda done, total: steps.append((done, total)))
    assert together.shape == (5, encoder.dimension) == (5, 384)
    assert together.dtype == np.float32
    assert np.linalg.norm(together, axis=1) == pytest.approx(1, abs=1e-5)
    alone = np.concatenate([encoder.encode_passages([text]) for text in texts])
    assert np.abs(together - alone).max() < 1e-5
    assert steps == sorted(steps)
    assert steps[-1] == (5, 5)


def test_no_texts(encoder: SentenceEncoder) -> None:
    assert encoder.encode_passages([]).shape == (0, 384)
    assert encoder.embed_documents([]) == []


def test_it_computes_what_sentence_transformers_computes(encoder: SentenceEncoder) -> None:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(encoder.folder.path), device="cpu", local_files_only=True)
    texts = [PASSAGE, "", "Tax is collected by the tax office.", PASSAGE * 40]
    assert np.abs(model.encode(texts, prompt_name="document") - encoder.encode_passages(texts)).max() < 1e-5
    assert np.abs(model.encode(PASSAGE, prompt_name="query") - encoder.encode_query(PASSAGE)).max() < 1e-5


def test_what_is_past_the_limit_does_not_count(encoder: SentenceEncoder) -> None:
    long = PASSAGE * 40
    one, other = encoder.encode_passages([long, long + "完全不同的结尾。"])
    assert np.array_equal(one, other)


def test_a_question_finds_its_passage_in_traditional_characters(encoder: SentenceEncoder) -> None:
    passages = [PASSAGE, "加强城市黑臭水体治理,完善污水管网。", "推动优质医疗资源下沉到乡镇卫生院。"]
    scores = encoder.encode_passages(passages) @ encoder.encode_query("社會保險費由誰徵收?")
    assert scores.argmax() == 0


def test_threads_share_one_encoder(model_home: Path) -> None:
    fresh = SentenceEncoder(home=model_home)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(fresh.encode_query, ["税务部门", "社会保险"] * 4))
    assert all(np.array_equal(found[i], found[i % 2]) for i in range(8))


# --- spans ---


def test_the_span_of_a_whole_text_is_nearly_the_text(encoder: SentenceEncoder) -> None:
    vectors, spans = encoder.encode_with_spans([PASSAGE], [[(0, len(PASSAGE))]])
    assert spans[0][0] @ vectors[0] > 0.99
    assert np.abs(vectors - encoder.encode_passages([PASSAGE])).max() < 1e-6


def test_the_span_that_answers_is_nearest_to_the_question(encoder: SentenceEncoder) -> None:
    _, (spans,) = encoder.encode_with_spans([PASSAGE], [SENTENCES])
    assert np.linalg.norm(spans, axis=1) == pytest.approx(1, abs=1e-5)
    for question, best in (
        ("谁负责征收社会保险费?", 0),
        ("个人可以怎样缴费?", 1),
        ("自愿参保的是哪些人?", 2),
    ):
        assert (spans @ encoder.encode_query(question)).argmax() == best


def test_spans_keep_their_place_where_normalisation_changes_lengths(encoder: SentenceEncoder) -> None:
    # ㈠ becomes three characters, the wide letters stay one, the run of spaces becomes one.
    plain, changed = "总则。推动发展。", "㈠㈡ＡＢ  \n总则。推动发展。"
    assert changed[-5:] == "推动发展。"
    _, (a, b) = encoder.encode_with_spans([plain, changed], [[(0, 3), (3, 8)], [(7, 10), (10, 15)]])
    agreement = a @ b.T
    assert agreement[0, 0] > agreement[0, 1]
    assert agreement[1, 1] > agreement[1, 0]


def test_a_span_without_tokens_has_the_vector_of_its_text(encoder: SentenceEncoder) -> None:
    long = PASSAGE * 40
    vectors, spans = encoder.encode_with_spans([long, "税"], [[(1500, 1520), (0, 0)], []])
    assert np.array_equal(spans[0], vectors[[0, 0]])
    assert spans[1].shape == (0, 384)


@settings(max_examples=25)
@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=30))
def test_any_text_has_vectors(encoder: SentenceEncoder, text: str) -> None:
    vectors, (spans,) = encoder.encode_with_spans([text], [[(0, len(text)), (0, 1)]])
    for vector in (vectors[0], *spans):
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-4)


# --- which model it is ---


def test_identity_names_model_dimension_and_prompts(encoder: SentenceEncoder) -> None:
    assert encoder.identity == (
        "multilingual-e5-small-q4@1571fc9827503943.1 d=384 query='query: ' passage='passage: '"
    )


def test_identity_and_vectors_follow_the_prompts(encoder: SentenceEncoder, model_home: Path) -> None:
    bare = SentenceEncoder(home=model_home, query_prompt="", passage_prompt="")
    assert bare.identity != encoder.identity
    assert bare.identity.endswith("query='' passage=''")
    assert bare.encode_query(PASSAGE) @ encoder.encode_query(PASSAGE) < 0.999


def test_the_bundled_model_is_the_same_when_named_as_a_folder(encoder: SentenceEncoder) -> None:
    assert SentenceEncoder(str(encoder.folder.path)).identity == encoder.identity


@pytest.mark.parametrize(
    ("pooling", "activation", "plain"),
    [("mean", "gelu", True), ("cls", "gelu", True), ("mean", "relu", False)],
)
def test_another_model_in_a_folder(tmp_path: Path, pooling: str, activation: str, plain: bool) -> None:
    from sentence_transformers import SentenceTransformer

    path = tiny_model(tmp_path, pooling, activation)
    own = SentenceEncoder(str(path), query_prompt="保险。", batch_size=2)
    assert own.folder.is_plain_bert is plain
    assert own.dimension == 24
    texts = ["税务部门征收保险。", "", "征收。" * 30, "保险"]
    model = SentenceTransformer(str(path), device="cpu", local_files_only=True)
    expected = model.encode(texts, normalize_embeddings=True)
    assert np.abs(own.encode_passages(texts) - expected).max() < 1e-5
    assert own.encode_query("税务") == pytest.approx(
        model.encode("保险。税务", normalize_embeddings=True), abs=1e-5
    )
    vectors, spans = own.encode_with_spans(texts, [[(0, 4), (4, 9)], [], [(0, 3)], []])
    assert np.abs(vectors - expected).max() < 1e-5
    assert [len(own) for own in spans] == [2, 0, 1, 0]
    if pooling == "cls":  # token vectors are no text vectors there: spans are encoded by themselves
        assert np.abs(spans[0] - own.encode_passages(["税务部门", "征收保险。"])).max() < 1e-5


def test_without_packed_weights_it_computes_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny_model(tmp_path)
    packed = SentenceEncoder(str(path)).encode_passages(["税务部门", "征收"])
    monkeypatch.setattr("embeddings.bert.PACK", False)
    plain = SentenceEncoder(str(path)).encode_passages(["税务部门", "征收"])
    assert np.abs(packed - plain).max() < 1e-5


def test_identity_follows_the_weights_not_the_place(tmp_path: Path) -> None:
    path = tiny_model(tmp_path)
    before = SentenceEncoder(str(path)).identity
    moved = tmp_path / "elsewhere" / path.name
    moved.parent.mkdir()
    path.rename(moved)
    assert SentenceEncoder(str(moved)).identity == before
    weights = moved / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert SentenceEncoder(str(moved)).identity != before


def test_a_models_own_prompts_are_read(tmp_path: Path) -> None:
    path = tiny_model(tmp_path)
    config = path / "config_sentence_transformers.json"
    content = json.loads(config.read_text("utf-8")) | {"prompts": {"query": "Instruct: ", "document": ""}}
    config.write_text(json.dumps(content), "utf-8")
    assert SentenceEncoder(str(path)).identity.endswith("query='Instruct: ' passage=''")


def test_a_name_that_is_not_here_says_how_to_bring_it() -> None:
    with pytest.raises(
        ModelError, match="no-one/no-model.*hf download no-one/no-model --local-dir.*YOUJU_MODEL"
    ):
        SentenceEncoder("no-one/no-model").encode_query("税")


def test_a_folder_without_a_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="modules.json"):
        _ = SentenceEncoder(str(tmp_path)).identity


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_broken_weights_are_an_error(tmp_path: Path, activation: str) -> None:
    path = tiny_model(tmp_path, activation=activation)
    (path / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(ModelError, match="model"):
        SentenceEncoder(str(path)).encode_query("税")


@pytest.mark.usefixtures("socket_disabled")
def test_nothing_is_fetched(tmp_path: Path, model_home: Path) -> None:
    assert SentenceEncoder(home=model_home).encode_query("税").shape == (384,)
    assert SentenceEncoder(str(tiny_model(tmp_path, activation="relu"))).encode_query("税").shape == (24,)
    with pytest.raises(ModelError):
        SentenceEncoder("no-one/no-model").encode_query("税")
