"""Follow-up questions made to stand alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.condense import condense
from rag.records import Question, Turn

FIRST = "护理员入职奖励多少钱？"
ANSWER = "一次性给予6000元入职奖励。"


def asked(text: str, *turns: str) -> str:
    """``text`` after turns of user and assistant by turns."""
    roles = ("user", "assistant") * len(turns)
    history = tuple(Turn(role, content) for role, content in zip(roles, turns, strict=False))
    return condense(Question(text, history))


@pytest.mark.parametrize(
    "text",
    [
        "那么这笔钱从哪里出，由哪一级财政安排？",
        "它从哪一年开始执行，有没有截止的时间？",
        "其中对已经在岗三年以上的人员怎么规定？",
        "上面说的这项政策由哪个部门负责落实？",
        "为什么呢？",
        "从哪年开始？",
        "他们要签几年的服务协议才能领到？",
    ],
)
def test_a_question_that_refers_takes_the_turn_before(text: str) -> None:
    assert asked(text, FIRST, ANSWER) == f"{FIRST} {text}"


def test_a_question_that_stands_alone_is_left_alone() -> None:
    text = "城乡供水一体化到2025年要覆盖多少行政村？"
    assert asked(text, FIRST, ANSWER) == text
    assert asked(f"  {text}\n", FIRST, ANSWER) == text


@pytest.mark.parametrize("text", ["那么从哪年开始？", "为什么？", "它是什么？"])
def test_without_earlier_turns_there_is_nothing_to_add(text: str) -> None:
    assert asked(text) == text


def test_only_the_users_own_last_two_turns_are_taken() -> None:
    turns = ("第一个问题是什么？", "答一。", "第二个问题是什么？", "答二。", "第三个问题是什么？", "答三。")
    assert asked("那它呢？", *turns) == "第二个问题是什么？ 第三个问题是什么？ 那它呢？"


def test_a_short_question_on_something_else_is_left_alone() -> None:
    history = (Turn("user", FIRST), Turn("assistant", ANSWER))

    def knows(term: str) -> bool:
        return "天气" not in term

    assert condense(Question("明天天气怎么样？", history), knows) == "明天天气怎么样？"
    assert condense(Question("从哪年开始？", history), knows) == f"{FIRST} 从哪年开始？"


@given(
    st.text(min_size=1),
    st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text(max_size=20)), max_size=5),
)
def test_the_question_itself_always_comes_last(text: str, turns: list[tuple[str, str]]) -> None:
    history = tuple(Turn(role, content) for role, content in turns)  # type: ignore[arg-type]
    assert condense(Question(text, history)).endswith(text.strip())
