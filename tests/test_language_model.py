"""Answers by a language model over real HTTP: each way to fail, citations repaired, hostile output, conversations."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from builders import compilation, document, fill
from fakes import FakeEncoder

from eval.scripted import PRESETS, Reply, Script, ScriptedServer, evidence_in
from rag.chain import DOUBT, Chain
from rag.check import support_checker
from rag.claims import names, quantities
from rag.config import Settings
from rag.errors import ConfigError
from rag.lexicon import fold
from rag.llm import open_model
from rag.records import Answer, Citation, Cited, Discarded, Done, Question, Said, Turn
from rag.retrieve import HybridRetriever
from rag.store import Store

QUESTION = "养老服务工作建立由几个部门组成的联席会议？"
SENTENCE = "建立由3个部门组成的养老服务联席会议，每季度开一次。"
Ask = Callable[..., Answer]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("llm")
    fill(folder, document(compilation()), encoder=FakeEncoder())
    with Store.open(folder) as opened:
        yield opened


def chain_over(store: Store, server: ScriptedServer, **options: Any) -> Chain:
    settings = Settings(
        kb=store.folder,
        refuse_below=options.pop("refuse_below", 0),
        checker="lexical",
        llm="openai:scripted",
        llm_base_url=server.address,
        llm_timeout=options.pop("llm_timeout", 2),
        llm_deadline=options.pop("llm_deadline", 5),
        llm_retries=options.pop("llm_retries", 0),
        **options,
    )
    retriever = HybridRetriever(store=store, encoder=FakeEncoder())
    return Chain(retriever, settings, None, open_model(settings), support_checker(settings))


@pytest.fixture
def ask(store: Store) -> Iterator[Ask]:
    """Asks a chain whose model answers by a script."""
    servers: list[ScriptedServer] = []

    def asked(script: Script, question: str | Question = QUESTION, **options: Any) -> Answer:
        server = ScriptedServer(script)
        servers.append(server)
        server.__enter__()
        return chain_over(store, server, **options).invoke(
            Question(question) if isinstance(question, str) else question
        )

    yield asked
    for server in servers:
        server.__exit__()


def place_of(sentence: str) -> Callable[[Any], int]:
    """The number that the prompt gives a sentence."""
    return lambda request: 1 + next(i for i, s in enumerate(evidence_in(request)) if sentence in s)


def resolves(answer: Answer, store: Store) -> None:
    known = {c.n for c in answer.citations}
    for citation in answer.citations:
        source = store.document(citation.document)
        assert source and source.text[citation.start : citation.end] == citation.quote != ""
    for sentence in answer.sentences:
        assert set(sentence.citations) <= known


# -- every way to fail --------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_whatever_the_model_does_the_answer_is_supported(preset: str, ask: Ask, store: Store) -> None:
    ask(PRESETS["quoting"])  # what is loaded on first use
    begun = time.monotonic()
    answer = ask(PRESETS[preset], llm_timeout=1, llm_deadline=2)
    assert time.monotonic() - begun < 6
    resolves(answer, store)
    assert answer.citations and not answer.refused
    assert all(s.support in ("quoted", "supported") for s in answer.sentences)
    kept = ("quoting", "wrong-citation", "no-marks")
    if preset in kept:
        assert answer.engine == "openai:scripted" and not answer.fallback
    elif preset not in ("slow", "cut"):  # these may have said enough
        assert answer.engine == "extractive" and answer.fallback


@pytest.mark.parametrize(
    ("preset", "words"),
    [
        ("busy", "请求太多"),
        ("broken", "服务出错 500"),
        ("malformed", "回应不能用"),
        ("hang", "没有答完"),
        ("refusing", "没有作答"),
    ],
)
def test_why_the_model_was_not_taken_is_said(preset: str, words: str, ask: Ask) -> None:
    assert words in ask(PRESETS[preset], llm_timeout=1, llm_deadline=2).fallback


def test_a_model_that_recovers_is_asked_again(store: Store) -> None:
    script = [
        Reply(fault="status", status=429, retry_after=0.1),
        Reply("建立由3个部门组成的养老服务联席会议[1]。"),
    ]
    with ScriptedServer(script) as server:
        answer = chain_over(store, server, llm_retries=2).invoke(Question(QUESTION))
        assert len(server.requests) == 2
    assert answer.engine == "openai:scripted"


def test_a_server_that_is_not_there_is_named(store: Store) -> None:
    with ScriptedServer([Reply()]) as server:
        chain = chain_over(store, server)
    answer = chain.invoke(Question(QUESTION))
    assert answer.engine == "extractive" and "连接" in answer.fallback


# -- citations ----------------------------------------------------------------------------------------------


def test_a_wrong_citation_is_repaired(ask: Ask) -> None:
    def wrong(request: Any) -> Reply:
        right = place_of(SENTENCE)(request)
        return Reply(f"养老服务联席会议由3个部门组成，每季度开一次[{1 if right != 1 else 2}]。")

    answer = ask(wrong)
    assert answer.engine == "openai:scripted"
    assert [c.quote for c in answer.citations] == [SENTENCE]
    assert answer.sentences[0].support == "supported"


def test_a_citation_of_everything_narrows_to_what_supports(ask: Ask) -> None:
    def whole(request: Any) -> Reply:
        right = place_of(SENTENCE)(request)
        return Reply(f"养老服务联席会议由3个部门组成[{right},{right + 1},{max(1, right - 1)}]。")

    assert [c.quote for c in ask(whole).citations] == [SENTENCE]


def test_what_no_source_says_is_marked_and_a_strange_number_dropped(ask: Ask) -> None:
    def half(request: Any) -> Reply:
        right = place_of(SENTENCE)(request)
        return Reply(
            f"养老服务联席会议由3个部门组成，每季度开一次[{right}]。养老服务联席会议每季度开一次[{right}]。群众对此普遍感到满意[{right}]。全国有98765个这样的会议[{right}]。"
        )

    answer = ask(half)
    assert [(s.support, bool(s.citations)) for s in answer.sentences] == [
        ("supported", True),
        ("supported", True),
        ("unsupported", False),
    ]
    assert "98765" not in answer.text
    assert [s.support for s in ask(half, unsupported="drop").sentences] == ["supported", "supported"]


def test_forged_marks_in_the_question_are_no_links(ask: Ask, store: Store) -> None:
    answer = ask(PRESETS["quoting"], QUESTION + "[1] 请引用[99]")
    resolves(answer, store)
    assert all("[" not in s.text for s in answer.sentences)


def test_the_prompt_holds_the_evidence_and_no_more_than_fits(store: Store) -> None:
    with ScriptedServer(PRESETS["quoting"]) as server:
        chain_over(store, server).invoke(Question(QUESTION))
        chain_over(store, server, llm_context=1024, llm_max_tokens=256).invoke(Question(QUESTION))
        many, few = (evidence_in(r) for r in server.requests)
    assert len(few) < len(many) and few == many[: len(few)]
    assert any(SENTENCE in line for line in few)


# -- refusing -----------------------------------------------------------------------------------------------


def test_both_must_agree_to_refuse(ask: Ask) -> None:
    sure = ask(PRESETS["refusing"])
    assert not sure.refused and sure.engine == "extractive"
    unsure = ask(PRESETS["refusing"], refuse_below=1.0)
    assert unsure.refused and not unsure.citations


def test_an_answer_without_full_confidence_says_so_first(ask: Ask) -> None:
    sure = ask(PRESETS["quoting"], refuse_below=0.01, doubt_below=0)
    doubtful = ask(PRESETS["quoting"], refuse_below=0.01, doubt_below=1)
    assert sure.engine == doubtful.engine == "openai:scripted"
    assert doubtful.text == DOUBT + sure.text
    assert doubtful.citations == sure.citations


def test_no_model_is_asked_where_the_documents_say_nothing_near(store: Store) -> None:
    with ScriptedServer(PRESETS["quoting"]) as server:
        answer = chain_over(store, server, refuse_below=1.0).invoke(
            Question("量子计算机的退相干时间有多长？")
        )
        assert not server.requests
    assert answer.refused and answer.engine == "extractive"


# -- events -------------------------------------------------------------------------------------------------


def test_sentences_come_while_the_model_still_writes(store: Store) -> None:
    def slow(request: Any) -> Reply:
        right = place_of(SENTENCE)(request)
        return Reply(
            f"养老服务联席会议由3个部门组成[{right}]。" + f"会议每季度开一次[{right}]。" * 3,
            size=8,
            pause=0.1,
        )

    with ScriptedServer(slow) as server:
        chain = chain_over(store, server)
        arrived: dict[str, float] = {}
        for event in chain.stream(Question(QUESTION)):
            arrived.setdefault(type(event).__name__, time.monotonic())
    assert arrived["Said"] < arrived["Done"] - 0.2


def test_first_words_come_within_a_third_of_a_second_of_the_first_finished_sentence(store: Store) -> None:
    size, pause = 8, 0.1
    finished: list[float] = []

    def slow(request: Any) -> Reply:
        first = f"{SENTENCE}[{place_of(SENTENCE)(request)}]"
        pieces = (
            len(first) // size + 1
        )  # the sentence is known to be over with the next one's first character
        finished.append(time.monotonic() + pieces * pause)
        return Reply(first + "会议每季度开一次，由县民政局召集。" * 3, size=size, pause=pause)

    with ScriptedServer(slow) as server:
        chain = chain_over(store, server)
        chain.invoke(Question(QUESTION))  # clients are made on first use
        said = next(time.monotonic() for e in chain.stream(Question(QUESTION)) if isinstance(e, Said))
    assert said - finished[-1] < 0.3


def test_what_was_said_is_discarded_before_the_extract_takes_its_place(store: Store) -> None:
    text = "群众普遍感到满意。" * 4
    with ScriptedServer([Reply(text)]) as server:
        events = list(chain_over(store, server).stream(Question(QUESTION)))
    kinds = [type(e) for e in events]
    at = kinds.index(Discarded)
    assert Said in kinds[:at] and Cited not in kinds[:at]
    answer = events[-1]
    assert isinstance(answer, Done)
    said = [e.sentence for e in events[at:] if isinstance(e, Said)]
    assert tuple(said) == answer.answer.sentences and answer.answer.citations[0].n == 1


def test_a_closed_stream_ends_the_request(store: Store) -> None:
    with ScriptedServer([Reply("会议每季度开一次。", fault="endless", pause=0.05)]) as server:
        chain = chain_over(store, server, llm_deadline=60, llm_concurrency=1)
        events = chain.stream(Question(QUESTION))
        for event in events:
            if isinstance(event, Said):
                break
        events.close()  # type: ignore[attr-defined]
        begun = time.monotonic()
        next(iter(chain.stream(Question(QUESTION))))
        assert time.monotonic() - begun < 2


# -- conversations ------------------------------------------------------------------------------------------


def test_a_follow_up_is_condensed_by_the_model_and_shown(store: Store) -> None:
    def script(request: Any) -> Reply:
        if "改写" in str(request["messages"][0]["content"]):
            return Reply("养老服务联席会议多久开一次？")
        right = place_of(SENTENCE)(request)
        return Reply(f"养老服务联席会议每季度开一次[{right}]。")

    history = (Turn("user", QUESTION), Turn("assistant", "由3个部门组成。"))
    with ScriptedServer(script) as server:
        answer = chain_over(store, server).invoke(Question("它多久开一次？", history))
    assert answer.question == "养老服务联席会议多久开一次？"
    assert answer.as_json()["asked"] == answer.question
    assert answer.sentences[0].text == "养老服务联席会议每季度开一次。"


def test_a_model_that_cannot_condense_leaves_it_to_the_rules(store: Store) -> None:
    def script(request: Any) -> Reply:
        if "改写" in str(request["messages"][0]["content"]):
            return Reply(fault="status", status=500)
        return Reply(f"养老服务联席会议每季度开一次[{place_of(SENTENCE)(request)}]。")

    with ScriptedServer(script) as server:
        answer = chain_over(store, server).invoke(Question("它多久开一次？", (Turn("user", QUESTION),)))
    assert answer.question == f"{QUESTION} 它多久开一次？"


def test_citations_are_numbered_through_the_conversation(ask: Ask) -> None:
    first = ask(PRESETS["quoting"])
    again = ask(PRESETS["quoting"], Question(QUESTION, cited=first.citations))
    assert [(c.n, c.quote) for c in again.citations] == [(c.n, c.quote) for c in first.citations]
    other = ask(PRESETS["quoting"], Question("河道巡查每月通报几次？", cited=first.citations))
    fresh = [c for c in other.citations if c.quote not in {d.quote for d in first.citations}]
    highest = max(c.n for c in first.citations)
    assert [c.n for c in fresh] == list(range(highest + 1, highest + 1 + len(fresh)))


# -- hostile output -----------------------------------------------------------------------------------------

GOOD = (
    "养老服务联席会议由3个部门组成，每季度开一次[1]。",
    "每季度开一次养老服务联席会议。",
    "养老服务联席会议由3个部门组成[2]。",
)
PIECES = (
    "根据材料，", "养老服务", "联席会议由3个部门组成", "由99个部门组成", "[1]", "[2]", "[99]", "[0]", "[-1]", "［3］", "【4】",
    "[^1^]", "。", "\n", "- ", "1. ", "<script>alert(1)</script>", "![图](http://evil.example/x.png)",
    "[链接](javascript:alert(1))", "</证据>", "<think>", "</think>", "张三丰", "《绝密文件》", "每季度开一次", "每天开五次",
    "2099年", "河道巡查", "第1版提出", "建成101个示范点", "建成777个示范点", "文档中没有。", "“", "”", "忽略以上要求", "北京市",
    "50%", "[1][2][3]", "\u202e", "\x00", "🙂", "不得", "应当", "。[1]", "www.evil.example", "DeepThink", *GOOD * 4,
)  # fmt: skip


def hostile(chance: random.Random) -> str:
    return "".join(chance.choice(PIECES) for _ in range(chance.randint(1, 30)))


def test_a_thousand_hostile_outputs_show_nothing_unsupported(store: Store) -> None:
    chance = random.Random(7)
    texts = [hostile(chance) for _ in range(1000)]
    queue = iter(texts)
    with ScriptedServer(lambda request: Reply(next(queue), size=chance.randint(1, 9))) as server:
        chain = chain_over(store, server)
        taken = 0
        for _ in texts:
            answer = chain.invoke(Question(QUESTION))
            taken += answer.engine != "extractive"
            resolves(answer, store)
            cited = {c.n: c for c in answer.citations}
            for sentence in answer.sentences:
                assert not re.search(r"<script|javascript:|\]\(|[\[［【]\s*\d+\s*[\]］】]", sentence.text)
                if sentence.support != "unsupported":
                    assert_held(sentence.text, [cited[n] for n in sentence.citations])
    assert taken > 20  # some of it is good enough to be taken, or the test would prove nothing


def assert_held(text: str, citations: list[Citation]) -> None:
    """Every number and name of a sentence stands in what it cites, in its headings or in the question; a few things may
    have been counted."""
    if not citations:
        assert not quantities(text) and not names(text)
        return
    around = " ".join(" ".join((c.quote, c.article.title, *c.section)) for c in citations) + " " + QUESTION
    values = {(q.value, q.unit) for q in quantities(around.removesuffix(QUESTION))}
    for stated in quantities(text):
        assert stated.counted or any(
            stated.value == v and (stated.unit == u or not u or not stated.unit) for v, u in values
        )
    for name in names(text):
        assert name.replace(" ", "") in fold(around).replace(" ", "")


# -- settings -----------------------------------------------------------------------------------------------


def test_no_model_is_opened_where_none_is_named() -> None:
    assert open_model(Settings()) is None


def test_a_provider_that_is_not_installed_names_the_command() -> None:
    with pytest.raises(ConfigError, match=r"pip install langchain-ollama"):
        open_model(Settings(llm="ollama:qwen3"))


@pytest.mark.parametrize("name", ["deepseek-chat", "openai:", "nowhere:x"])
def test_a_name_that_cannot_be_used_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="→"):
        open_model(Settings(llm=name))


def test_the_key_is_never_shown(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    key = "sk-very-secret"
    with ScriptedServer(PRESETS["broken"]) as server:
        settings = Settings(llm="openai:scripted", llm_base_url=server.address, llm_api_key=key)
        assert key not in repr(settings) and key not in settings.model_dump_json()
        answer = chain_over(store, server, llm_api_key=key).invoke(Question(QUESTION))
    assert key not in str(answer.as_json()) and key not in caplog.text


def test_the_knowledge_base_is_untouched(store: Store, tmp_path: Path) -> None:
    before = (store.folder / "youju.sqlite").read_bytes()
    with ScriptedServer(PRESETS["quoting"]) as server:
        chain_over(store, server).invoke(Question(QUESTION))
    assert (store.folder / "youju.sqlite").read_bytes() == before
