"""What a question asks for, by its wording."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.intent import topic, understand


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("护理员入职奖励多少钱？", "fact"),
        ("哪个部门负责水质监测？", "fact"),
        ("为什么要给候鸟老人办健康档案？", "fact"),
        ("村级服务站的站长由谁兼任？", "fact"),
        ("主要措施有哪些？", "list"),
        ("从哪四个方面推进？", "list"),
        ("守水员的职责包括什么？", "list"),
        ("都有什么要求？", "list"),
        ("請列出六項任務", "list"),
        ("哪篇文章讲到了流动图书车？", "locate"),
        ("祖孙书房的经验出自哪一篇？", "locate"),
        ("哪里提到了阶梯水价？", "locate"),
        ("有没有文章讲老年食堂？", "locate"),
        ("两个县的做法有何不同？", "compare"),
        ("云岫县和白榆市相比，哪个更早？", "compare"),
        ("同样是办食堂，两地各自怎么收费？", "compare"),
    ],
)
def test_kinds_of_questions(question: str, kind: str) -> None:
    assert understand(question).kind == kind


@pytest.mark.parametrize(
    ("question", "count"),
    [
        ("从哪四个方面推进？", 4),
        ("“六不漏”是哪6项？", 6),
        ("十二条措施是什么？", 12),
        ("两张清单分别是什么？", 2),
        ("１２项任务有哪些？", 12),
        ("有哪些措施？", None),
        ("一个站长管几个村？", None),
        ("2025年的目标是什么？", None),
    ],
)
def test_how_many_items_a_question_names(question: str, count: int | None) -> None:
    assert understand(question).count == count


@pytest.mark.parametrize(
    ("question", "fitting", "unfitting"),
    [
        ("护理员入职奖励多少钱？", "一次性给予6000元入职奖励。", "建立护理员入职奖励制度。"),
        ("奖励多少元？", "给予六千元奖励。", "给予奖励。"),
        ("每千名老人有多少张床位？", "拥有养老床位达到42张。", "全省有120个站点。"),
        ("占比是多少？护理型床位的比例呢？", "其中护理型占58%。", "床位达到42张。"),
        ("什么时候实现全覆盖？", "到2025年实现全覆盖。", "逐步实现全覆盖。"),
        ("要多久才能修好？", "3小时内修复。", "尽快修复。"),
        ("投诉电话是多少？", "热线电话12345。", "公布热线电话。"),
        ("多少户用上了自来水？", "共有3200户通水。", "全村都通了水。"),
    ],
)
def test_the_form_of_what_answers(question: str, fitting: str, unfitting: str) -> None:
    intent = understand(question)
    assert intent.fits(fitting)
    assert not intent.fits(unfitting)


def test_numbers_that_the_question_states_do_not_answer_it() -> None:
    intent = understand("2025年养老床位达到多少张？")
    assert not intent.fits("2025年的目标另行通知。")
    assert intent.fits("到2025年达到42张。")


def test_where_any_sentence_may_answer() -> None:
    intent = understand("站长由谁兼任？")
    assert intent.form is None
    assert intent.fits("由村党组织书记兼任。")


@pytest.mark.parametrize(
    ("question", "left"),
    [
        ("用五本账管老年食堂的做法，出自哪一篇？", "用五本账管老年食堂"),
        ("给村民发水票的事是哪篇文章里的？", "给村民发水票"),
        ("哪篇文章？", "哪篇文章？"),  # nothing would be left
        ("护理员入职奖励多少钱？", "护理员入职奖励多少钱？"),
    ],
)
def test_the_topic_of_a_question_after_an_article(question: str, left: str) -> None:
    assert topic(question) == left


@given(st.text())
def test_any_question_is_understood(question: str) -> None:
    intent = understand(question)
    assert intent.kind in ("fact", "list", "locate", "compare")
    assert intent.count is None or 2 <= intent.count <= 40
    assert topic(question).strip() or not question.strip()
    intent.fits(question)
