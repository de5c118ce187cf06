"""Follow-up questions: which ones refer back, and how they read beside the turns before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.condense import beside_earlier, may_go_on, refers
from rag.records import Question, Turn

FIRST = "护理员入职奖励多少钱？"
ANSWER = "一次性给予6000元入职奖励。"


def beside(text: str, *turns: str) -> str:
    """``text`` after turns of user and assistant by turns."""
    roles = ("user", "assistant") * len(turns)
    history = tuple(Turn(role, content) for role, content in zip(roles, turns, strict=False))
    return beside_earlier(Question(text, history))


@pytest.mark.parametrize(
    "text",
    [
        "那么这笔钱从哪里出，由哪一级财政安排？",
        "它从哪一年开始执行，有没有截止的时间？",
        "其中对已经在岗三年以上的人员怎么规定？",
        "上面说的这项政策由哪个部门负责落实？",
        "为什么呢？",
        "  为什么？\n",
        "他们要签几年的服务协议才能领到？",
    ],
)
def test_some_questions_point_back(text: str) -> None:
    assert refers(text)


@pytest.mark.parametrize("text", ["城乡供水一体化到2025年要覆盖多少行政村？", FIRST, "从哪年开始？"])
def test_others_do_not(text: str) -> None:
    assert not refers(text)


def test_a_short_question_may_go_on() -> None:
    assert may_go_on("队员一共有多少人？") and may_go_on(" 从哪年开始？\n")
    assert not may_go_on("城乡供水一体化到2025年要覆盖多少行政村？")


def test_a_question_is_put_after_the_turn_before() -> None:
    assert beside("从哪年开始？", FIRST, ANSWER) == f"{FIRST} 从哪年开始？"
    assert beside("  它是什么？\n", FIRST, ANSWER) == f"{FIRST} 它是什么？"


def test_without_earlier_turns_there_is_nothing_to_put_it_after() -> None:
    assert beside("那么从哪年开始？") == ""


def test_only_the_users_own_last_two_turns_are_taken() -> None:
    turns = ("第一个问题是什么？", "答一。", "第二个问题是什么？", "答二。", "第三个问题是什么？", "答三。")
    assert beside("那它呢？", *turns) == "第二个问题是什么？ 第三个问题是什么？ 那它呢？"


@given(
    st.text(min_size=1),
    st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text(max_size=20)), max_size=5),
)
def test_the_question_itself_always_comes_last(text: str, turns: list[tuple[str, str]]) -> None:
    history = tuple(Turn(role, content) for role, content in turns)  # type: ignore[arg-type]
    found = beside_earlier(Question(text, history))
    if any(role == "user" for role, _ in turns):
        assert found.endswith(" " + text.strip())
    else:
        assert found == ""
