"""Feedback on answers: taken down by the server, whole or not at all, and written out as cases."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes_ui import MAX_QUESTION, NAME, FakeChain, fake_chain, written
from fastapi.testclient import TestClient
from typer.testing import CliRunner, Result

from eval.cases import GoldArticle, Library
from eval.cli import app as evaluation
from eval.cli import feedback as command
from eval.feedback import export
from eval.metrics import Place
from rag.config import Settings
from rag.errors import FormatError, KnowledgeBaseError
from rag.feedback import Feedback, FeedbackLog, Verdict, Within
from rag.records import Answer, AnswerSentence, ArticleRef, Citation, Question, Turn
from ui.app import create_app
from ui.feedback import MAX_COMMENT
from ui.limits import MAX_BODY

QUESTION = "青禾县到2027年建成多少个数字乡村示范村？"
QUOTE = "到2027年，全县行政村5G覆盖率达到98%，建成数字乡村示范村36个。"
TEXT = written()[0].text


def cited(quote: str, n: int = 1, text: str = TEXT) -> Citation:
    start = text.index(quote)
    return Citation(start, start + len(quote), n, NAME, "0" * 64, ArticleRef(1, "题", None), (), quote)


def given(verdict: Verdict = "helpful", *quotes: str, question: str = QUESTION, **other: Any) -> Feedback:
    """Feedback on an answer that quotes these."""
    citations = tuple(cited(quote, n) for n, quote in enumerate(quotes or (QUOTE,), 1))
    sentences = tuple(AnswerSentence(c.quote, (c.n,), "quoted") for c in citations)
    answer = Answer(sentences, citations, (), False, "extractive", {}, 0.9)
    return Feedback(verdict, "2026-01-02T03:04:05+00:00", question, answer, **other)


REFUSAL = Answer((AnswerSentence("没有提到。", (), "supported"),), (), (), True, "extractive", {}, 0.1)


def nothing_reported(problem: str) -> None:
    raise AssertionError(problem)


# -- the file -----------------------------------------------------------------------------------------------


def test_feedback_is_read_as_it_was_written(tmp_path: Path) -> None:
    first = given(
        "wrong_source",
        history=(Turn("user", "示范村？"), Turn("assistant", "36个。")),
        articles=(1, (NAME, 3)),
        within=(Within(3, 9, NAME),),
        comment="应在第三篇\n“对策建议”",
    )
    asked = replace(given().answer, question="按此理解")
    log = FeedbackLog(tmp_path)
    for one in (first, replace(first, answer=asked)):
        log.append(one)
    assert log.read(nothing_reported) == [first, replace(first, answer=asked)]
    row = json.loads((tmp_path / "feedback.jsonl").read_text("utf-8").splitlines()[0])
    assert row["answer"]["answer"] == QUOTE + "[1]"
    assert row["answer"]["citations"][0]["quote"] == QUOTE
    assert row["articles"] == [1, [NAME, 3]] and row["within"] == [{"document": NAME, "start": 3, "end": 9}]


def test_there_is_no_feedback_before_the_first(tmp_path: Path) -> None:
    assert FeedbackLog(tmp_path / "none").read(nothing_reported) == []
    assert list(tmp_path.iterdir()) == []


def test_lines_of_many_writers_stay_whole(tmp_path: Path) -> None:
    def write(writer: int) -> None:
        for i in range(5):
            FeedbackLog(tmp_path).append(given(comment=f"{writer}.{i}" * 500))

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = FeedbackLog(tmp_path).read(nothing_reported)
    assert {one.comment for one in found} == {f"{w}.{i}" * 500 for w in range(4) for i in range(5)}


def test_a_last_line_that_was_cut_off_is_reported_and_makes_way(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = FeedbackLog(tmp_path)
    log.append(given("wrong"))
    log.append(given("missing"))
    log.path.write_bytes(log.path.read_bytes()[:-20])
    told: list[str] = []
    assert [one.verdict for one in log.read(told.append)] == ["wrong"]
    assert len(told) == 1 and "第 2 行没有写完" in told[0]
    with caplog.at_level(logging.WARNING):
        log.append(given("helpful"))
    assert "cut off" in caplog.text
    assert [one.verdict for one in log.read(nothing_reported)] == ["wrong", "helpful"]


def test_a_last_line_that_lacks_only_its_end_counts(tmp_path: Path) -> None:
    log = FeedbackLog(tmp_path)
    log.append(given("wrong"))
    log.path.write_bytes(log.path.read_bytes().rstrip(b"\n"))
    assert [one.verdict for one in log.read(nothing_reported)] == ["wrong"]
    log.append(given("helpful"))
    assert [one.verdict for one in log.read(nothing_reported)] == ["wrong", "helpful"]


@pytest.mark.parametrize(
    ("line", "place"),
    [
        (b"{", ""),
        (b"\xff", ""),
        (b"[]", ""),
        (b'{"verdict": "good"}', "verdict"),
        (b'{"answer": 1}', "verdict"),
    ],
)
def test_any_other_line_that_cannot_be_read_is_an_error(tmp_path: Path, line: bytes, place: str) -> None:
    log = FeedbackLog(tmp_path)
    log.append(given())
    log.path.write_bytes(log.path.read_bytes() + line + b"\n")
    log.append(given())
    with pytest.raises(FormatError, match=rf"第 2 行读不了.*{place}.*改正"):
        log.read(nothing_reported)


def test_a_full_file_is_an_error_and_stays_as_it_is(tmp_path: Path) -> None:
    FeedbackLog(tmp_path).append(given())
    log = FeedbackLog(tmp_path, limit=log_size(tmp_path) + 10)
    with pytest.raises(KnowledgeBaseError, match="已满.*youju feedback export"):
        log.append(given())
    assert len(log.read(nothing_reported)) == 1


def log_size(folder: Path) -> int:
    return (folder / "feedback.jsonl").stat().st_size


def test_what_cannot_be_written_whole_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = FeedbackLog(tmp_path)
    log.append(given())
    before = log.path.read_bytes()

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KnowledgeBaseError, match="No space left"):
        log.append(given("wrong"))
    assert log.path.read_bytes() == before


def test_the_id_is_that_of_question_restriction_and_answer() -> None:
    one = given()
    assert one.id == replace(one, verdict="wrong", comment="不对", history=(Turn("user", "问"),)).id
    others = (replace(one, question="别的？"), replace(one, articles=(1,)), replace(one, answer=REFUSAL))
    assert len({one.id, replace(one, within=(Within(0, 2, NAME),)).id, *(o.id for o in others)}) == 5


# -- the route ----------------------------------------------------------------------------------------------


@pytest.fixture
def chain(tmp_path: Path) -> FakeChain:
    return fake_chain(tmp_path / "kb")


@pytest.fixture
def client(chain: FakeChain, tmp_path: Path) -> Iterator[TestClient]:
    settings = Settings(kb=tmp_path / "unused", max_question=MAX_QUESTION)
    with TestClient(
        create_app(settings, chain), base_url="http://127.0.0.1", raise_server_exceptions=False
    ) as found:
        yield found


@pytest.fixture
def body(client: TestClient) -> dict[str, Any]:
    """What the page sends: the request for the answer, the answer, and a verdict."""
    answer = client.post("/api/ask", json={"question": QUESTION}).json()
    return {"verdict": "helpful", "question": QUESTION, "stream": True, "answer": answer}


def test_feedback_is_stored_in_the_knowledge_base(
    client: TestClient, body: dict[str, Any], chain: FakeChain
) -> None:
    sent = {
        **body,
        "verdict": "missing",
        "comment": " 还有5G覆盖率 ",
        "history": [{"role": "user", "content": "示范村？"}],
        "articles": [[NAME, 1]],
        "within": [{"document": NAME, "start": 70, "end": 106}],
    }
    response = client.post("/chat/feedback", json=sent)
    assert (response.status_code, response.content) == (204, b"")
    (one,) = FeedbackLog(chain.store.folder).read(nothing_reported)
    assert (one.verdict, one.comment, one.question) == ("missing", "还有5G覆盖率", QUESTION)
    assert (one.history, one.articles) == ((Turn("user", "示范村？"),), ((NAME, 1),))
    assert one.within == (Within(70, 106, NAME),)
    assert [c.quote for c in one.answer.citations] == [QUOTE]
    assert one.answer.retrieved == ()
    assert one.time.endswith("+00:00")
    assert 'youju_feedback_total{verdict="missing"} 1' in client.get("/metrics").text


def changed(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda body: body.update(fields)


def cites(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda body: body["answer"]["citations"][0].update(fields)


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (changed(verdict="good"), (422, "invalid_request")),
        (changed(question=" \u3000"), (422, "invalid_request")),
        (changed(comment="字" * (MAX_COMMENT + 1)), (422, "invalid_request")),
        (changed(comment="\ud800"), (422, "invalid_request")),
        (changed(articles=[0]), (422, "invalid_request")),
        (changed(within=[{"document": NAME, "start": -1, "end": 2}]), (422, "invalid_request")),
        (changed(answer=None), (422, "invalid_request")),
        (changed(answer={"answer": "没有引文"}), (422, "invalid_request")),
        (lambda body: body["answer"].update(engine="\ud800"), (422, "invalid_request")),
        (lambda body: body["answer"].update(confidence=float("nan")), (422, "invalid_request")),
        (lambda body: body["answer"].update(engine="a" * MAX_BODY), (413, "body_too_large")),
        (cites(document="别的.txt"), (422, "bad_citation")),
        (cites(quote=QUOTE[:-1]), (422, "bad_citation")),
        (cites(start=71), (422, "bad_citation")),
        (cites(start=-36, end=-30, quote=TEXT[-36:-30]), (422, "bad_citation")),
        (cites(start=5, end=5, quote=""), (422, "bad_citation")),
    ],
)
def test_feedback_that_cannot_be_used_is_a_4xx(
    client: TestClient,
    body: dict[str, Any],
    chain: FakeChain,
    spoil: Callable[[dict[str, Any]], None],
    expected: tuple[int, str],
) -> None:
    spoil(body)
    headers = {"content-type": "application/json"}
    response = client.post("/chat/feedback", content=json.dumps(body), headers=headers)
    assert (response.status_code, response.json()["error"]["code"]) == expected
    assert not FeedbackLog(chain.store.folder).path.exists()


def test_a_form_of_another_site_is_not_taken(
    client: TestClient, body: dict[str, Any], chain: FakeChain
) -> None:
    headers = {"content-type": "text/plain"}
    assert client.post("/chat/feedback", content=json.dumps(body), headers=headers).status_code == 422
    assert not FeedbackLog(chain.store.folder).path.exists()


def test_a_full_file_is_said_in_words(
    client: TestClient, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(log: FeedbackLog, feedback: Feedback) -> None:
        raise KnowledgeBaseError("反馈文件已满", "导出后移走它")

    monkeypatch.setattr(FeedbackLog, "append", full)
    response = client.post("/chat/feedback", json=body)
    assert response.status_code == 503
    assert response.json()["error"]["message"] == "反馈文件已满 → 导出后移走它"


# -- cases --------------------------------------------------------------------------------------------------


def library(text: str = TEXT, *more: str) -> Library:
    articles = tuple(
        GoldArticle(a.number, a.title, Place(name, a.start, a.end))
        for name in (NAME, *more)
        for a in written()[1].articles
    )
    return Library({name: text for name in (NAME, *more)}, articles)


def rows(*feedback: Feedback) -> list[dict[str, Any]]:
    return list(export(feedback, library()).rows)


def test_a_helpful_answer_becomes_a_gold_case() -> None:
    assert rows(given()) == [
        {
            "id": f"feedback-helpful-{given().id}",
            "type": "fact",
            "question": QUESTION,
            "history": [],
            "articles": [1],
            "evidence": [QUOTE],
            "key_points": [["36个"]],
        }
    ]


@pytest.mark.parametrize("verdict", ["wrong", "wrong_source", "missing"])
def test_what_was_found_fault_with_becomes_a_draft(verdict: Verdict) -> None:
    (row,) = rows(given(verdict))
    assert row["id"].startswith(f"feedback-{verdict}-")
    assert (row["draft"], row["evidence"], row["key_points"]) == (True, [QUOTE], [])


def test_a_helpful_answer_whose_case_would_not_be_sound_becomes_a_draft() -> None:
    refused = replace(given(), answer=REFUSAL)
    (row,) = rows(refused)
    assert (row["type"], row["draft"], row["evidence"]) == ("unanswerable", True, [])
    restricted = (given(articles=((NAME, 1),)), given(within=(Within(70, 106, NAME),)))
    assert all(row["draft"] for one in restricted for row in rows(one))
    elsewhere = cited("每")  # stands earlier in the same article too
    later = TEXT.index("每", elsewhere.end)
    citation = replace(elsewhere, start=later, end=later + 1)
    (row,) = rows(replace(given(), answer=replace(given().answer, citations=(citation,))))
    assert (row["draft"], row["evidence"]) == (True, ["每"])


def test_evidence_of_several_articles_and_documents_names_them() -> None:
    one = given(
        "helpful", "社区食堂只有19家", "建议三年内新建社区食堂40家", "满意率96.5%", question="哪些数字？"
    )
    (row,) = rows(one)
    assert (row["type"], row["articles"]) == ("list", [3, 2])
    assert row["evidence"] == [c.quote for c in one.answer.citations]
    (row,) = export([one], library(TEXT, "另一份.txt")).rows
    assert row["articles"] == [[NAME, 3], [NAME, 2]]


@pytest.mark.parametrize(
    ("question", "history", "expected"),
    [
        ("为什么要建示范村？", (), "why"),
        ("哪一篇讲到示范村？", (), "locate"),
        ("那示范村呢？", (Turn("user", "5G覆盖率？"), Turn("assistant", "98%。")), "followup"),
    ],
)
def test_the_type_is_read_off_the_question(question: str, history: tuple[Turn, ...], expected: str) -> None:
    (row,) = rows(given(question=question, history=history))
    assert row["type"] == expected
    assert row["history"] == [{"role": turn.role, "content": turn.content} for turn in history]


@pytest.mark.parametrize(
    ("question", "quote", "expected"),
    [
        ("专项资金每年多少钱？", "县财政每年安排专项资金2400万元", [["2400万元"]]),
        ("专项资金每年多少万元？", "县财政每年安排专项资金2400万元", [["2400万元"]]),
        ("红石镇有多少个村？", "红石镇下辖9个村，人口2.3万。", [["9个"]]),
        ("社区食堂怎么样？", "社区食堂只有19家", []),  # no figure is asked for
        ("建成几个示范村，覆盖率多少？", QUOTE, []),  # two things are
        ("有多少个老人？", "60岁以上老人8.7万人", []),  # none is counted so
        ("社区食堂有几家？", "建议三年内新建社区食堂40家，并按就餐人次给予每餐3元补助", [["40家"]]),
        ("三年内改造几个乡镇？", "三年内完成12个乡镇的线路更新", [["12个"]]),
        ("三年是几年？", "三年内完成12个乡镇的线路更新", []),  # written out
        ("到2027年是哪一年、几年？", QUOTE, []),
        ("多少家？", "社区食堂只有19家。 二、对策建议。 建议三年内新建社区食堂40家", []),  # two figures
    ],
)
def test_a_key_point_is_the_one_figure_asked_for(
    question: str, quote: str, expected: list[list[str]]
) -> None:
    (row,) = rows(given("helpful", quote, question=question))
    assert row["key_points"] == expected


def test_the_last_verdict_on_an_answer_counts() -> None:
    assert [row["id"] for row in rows(given("wrong"), given("helpful"))] == [f"feedback-helpful-{given().id}"]
    (row,) = rows(given("helpful"), given("wrong", history=(Turn("user", "问"),)))
    assert row["draft"]


def test_a_question_makes_one_case_and_a_gold_one_before_a_draft() -> None:
    other = given("wrong", "满意率96.5%")
    for order in ((given(), other), (other, given())):
        assert [row["id"] for row in rows(*order)] == [f"feedback-helpful-{given().id}"]
    assert [row["evidence"] for row in rows(given("missing"), other)] == [["满意率96.5%"]]
    assert len(rows(given(), given(history=(Turn("user", "问"),), articles=(1,)))) == 2


def test_feedback_on_documents_that_changed_is_left_out() -> None:
    found = export([given()], library(TEXT.replace("36个", "37个")))
    assert (found.rows, found.gone) == ((), (given().id,))
    half = export([given("helpful", QUOTE, "满意率96.5%")], library(TEXT.replace("36个", "37个")))
    assert [(row["draft"], row["evidence"]) for row in half.rows] == [(True, ["满意率96.5%"])]


# -- the commands -------------------------------------------------------------------------------------------


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def test_exported_cases_are_taken_by_eval_as_they_are(
    client: TestClient,
    body: dict[str, Any],
    chain: FakeChain,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    second = "社区食堂现在有多少家？"
    answer = client.post("/api/ask", json={"question": second}).json()
    for sent in (body, {**body, "question": second, "answer": answer}, body):
        assert client.post("/chat/feedback", json=sent).status_code == 204
    kb, out = chain.store.folder, tmp_path / "cases.jsonl"
    exported = run("export", "--out", out, "--kb", kb)
    assert exported.exit_code == 0 and "写出 2 题, 其中草稿 0 题" in exported.stderr
    checked = CliRunner().invoke(evaluation, ["check", str(out), "--kb", str(kb)])
    assert checked.exit_code == 0 and "2 题, 无误" in checked.stdout and "草稿 0 题" in checked.stdout

    measured = measure(chain, out, monkeypatch)
    assert measured.exit_code == 0 and "草稿" not in measured.stderr, measured.output
    figures = json.loads(out.with_name("result.json").read_text("utf-8"))["metrics"]
    assert (figures["cite_recall"]["mean"], figures["kp"]["mean"]) == (1, 1)


def measure(chain: FakeChain, cases: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    """``youju eval cases`` on the fake chain, with its result beside the cases."""
    monkeypatch.setattr("eval.chains.named", lambda name: lambda store, encoder, settings: Asked(chain))
    monkeypatch.setattr("rag.ingest.sentence_encoder", lambda settings: None)
    where = ["--kb", chain.store.folder, "--json", cases.with_name("result.json")]
    return CliRunner().invoke(evaluation, list(map(str, ["cases", cases, "--chain", "fake:chain", *where])))


class Asked:
    """The fake chain as the evaluation asks it."""

    def __init__(self, chain: FakeChain) -> None:
        self._chain = chain

    def invoke(self, asked: dict[str, Any]) -> dict[str, Any]:
        *_, done = self._chain.stream(Question(asked["question"]))
        return done.answer.as_json()  # type: ignore[union-attr]


def test_drafts_pass_the_check_and_are_said_when_measured(
    chain: FakeChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kb, out = chain.store.folder, tmp_path / "cases.jsonl"
    FeedbackLog(kb).append(given())
    FeedbackLog(kb).append(given("wrong", question="示范村有几个？"))
    FeedbackLog(kb).append(replace(given("missing", question="有几种鱼？"), answer=REFUSAL))
    assert "写出 3 题, 其中草稿 2 题" in run("export", "--out", out, "--kb", kb).stderr
    checked = CliRunner().invoke(evaluation, ["check", str(out), "--kb", str(kb)])
    assert checked.exit_code == 0 and "3 题, 无误" in checked.stdout and "草稿 2 题" in checked.stdout
    assert "草稿 2 题也计入" in measure(chain, out, monkeypatch).stderr


def test_what_became_no_case_is_said(tmp_path: Path) -> None:
    chain, out = fake_chain(tmp_path / "kb"), tmp_path / "cases.jsonl"
    gone = given("helpful")
    citations = tuple(replace(c, document="移除.txt") for c in gone.answer.citations)
    gone = replace(gone, answer=replace(gone.answer, citations=citations))
    FeedbackLog(chain.store.folder).append(gone)
    told = run("export", "--out", out, "--kb", chain.store.folder)
    assert told.exit_code == 0 and f"略去 (left out): {gone.id}" in told.stderr
    assert out.read_bytes() == b""


def test_an_export_does_not_replace_a_file(chain: FakeChain, tmp_path: Path) -> None:
    FeedbackLog(chain.store.folder).append(given())
    (tmp_path / "cases.jsonl").write_text("改过的题", "utf-8")
    told = run("export", "--out", tmp_path / "cases.jsonl", "--kb", chain.store.folder)
    assert told.exit_code == 2 and "文件已存在" in told.stderr
    assert (tmp_path / "cases.jsonl").read_text("utf-8") == "改过的题"


@pytest.mark.parametrize("arguments", [("export", "--out", "new.jsonl"), ("list",)])
def test_without_feedback_the_commands_say_so(
    chain: FakeChain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    told = run(*arguments, "--kb", chain.store.folder)
    assert told.exit_code == 2 and "还没有反馈" in told.stderr
    assert not (tmp_path / "new.jsonl").exists()


def test_the_list_shows_verdicts_and_comments(chain: FakeChain) -> None:
    kb = chain.store.folder
    log = FeedbackLog(kb)
    log.append(given())
    log.append(given("wrong", comment="应为\n36\x1b[31m个"))
    log.path.write_bytes(log.path.read_bytes() + b'{"verdict"')
    told = run("list", "--kb", kb)
    assert told.stdout.splitlines() == [
        f"{given().id}  helpful  {QUESTION}",
        f"{given().id}  wrong  {QUESTION}  应为 36 [31m个",
    ]
    assert "第 3 行没有写完" in told.stderr
    found = json.loads(run("list", "--json", "--kb", kb).stdout)
    assert [(row["id"], row["comment"]) for row in found] == [
        (given().id, ""),
        (given().id, "应为\n36\x1b[31m个"),
    ]
