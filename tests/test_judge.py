"""Which answers of a language model take the extract's place."""

from __future__ import annotations

import pytest

from rag.extract import Part
from rag.intent import understand
from rag.judge import shortcoming
from rag.records import AnswerSentence

LIST = "田埂书屋的守书人要做哪些事？"
LISTED = ("守书人每天开门四小时，", "每周办一次读书会，", "每月清点一次图书。")
COUNT = "雁丘县建了多少间田埂书屋？"
COUNTED = ("雁丘县利用旧粮仓、旧祠堂改建田埂书屋83间。",)
OPEN = "田埂书屋给雁丘县带来了什么变化？"
OPENED = ("村民借书从一年几十册变成人均三册，夜里打牌的少了，孩子放学有了去处。",)


def said(text: str) -> AnswerSentence:
    """A sentence, supported but for one that is marked with a question mark before it."""
    if text.startswith("?"):
        return AnswerSentence(text[1:], (), "unsupported")
    return AnswerSentence(text, (1,), "supported")


def why(
    question: str, extract: tuple[str, ...], *sentences: str, dropped: int = 0, answers: float = 5
) -> str:
    """The beginning of the reason, in Chinese."""
    parts = [Part(text, ()) for text in extract]
    reason = shortcoming(
        question, understand(question), [said(s) for s in sentences], dropped, parts, lambda text: answers
    )
    return reason.partition(" (")[0]


@pytest.mark.parametrize(
    ("question", "extract", "sentence"),
    [
        (COUNT, COUNTED, "雁丘县建了83间田埂书屋。"),
        (COUNT, COUNTED, "利用旧粮仓改建了83间。"),
        (OPEN, OPENED, "孩子放学有了去处。"),
        (LIST, LISTED, "守书人每天开门四小时，每周办读书会，每月清点图书。"),
    ],
)
def test_what_answers_is_taken(question: str, extract: tuple[str, ...], sentence: str) -> None:
    assert why(question, extract, sentence) == ""


@pytest.mark.parametrize(
    ("question", "extract", "sentences", "reason"),
    [
        (COUNT, COUNTED, (), "模型的回答没有一句有依据"),
        (COUNT, COUNTED, ("?雁丘县建了83间田埂书屋。",), "模型的回答没有一句有依据"),
        (COUNT, COUNTED, ("雁丘县建了多少间田埂书屋？",), "模型的回答没有一句有依据"),
        (
            COUNT,
            COUNTED,
            ("建了83间。", "?这些书屋让全县的老人和孩子都爱上了读书。"),
            "模型的回答大半没有依据",
        ),
        (COUNT, COUNTED, ("雁丘县建了田埂书屋。",), "模型只重复了问题"),
        (OPEN, OPENED, ("它实现了治理能力的提升。",), "模型的回答与最接近的原文说的不是一回事"),
        (COUNT, COUNTED, ("守书人每天开门四小时。",), "模型的回答与最接近的原文说的不是一回事"),
        (LIST, LISTED, ("守书人每天开门。",), "模型的回答漏了主要内容"),
    ],
)
def test_what_is_worth_less_is_not(
    question: str, extract: tuple[str, ...], sentences: tuple[str, ...], reason: str
) -> None:
    assert why(question, extract, *sentences) == reason


def test_what_was_dropped_counts_as_unsupported() -> None:
    sentence = "雁丘县建了83间田埂书屋。"
    assert why(COUNT, COUNTED, sentence, dropped=len(sentence)) == ""
    assert why(COUNT, COUNTED, sentence, dropped=len(sentence) + 1) == "模型的回答大半没有依据"


def test_the_reader_must_see_an_answer() -> None:
    assert why(COUNT, COUNTED, "雁丘县建了83间田埂书屋。", answers=0.9) == "模型的回答没有回答问题"


def test_what_announces_a_list_stands_or_falls_with_it() -> None:
    items = ("每天开门四小时", "每周办读书会", "每月清点图书")
    assert why(LIST, LISTED, "?田埂书屋的守书人平日里要做到的事情主要有：", *items) == ""
    assert (
        why(LIST, LISTED, "?田埂书屋的守书人平日里要做到的事情主要有很多。", *items)
        == "模型的回答大半没有依据"
    )
