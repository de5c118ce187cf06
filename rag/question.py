"""What a caller gives -> a Question, or an error that says what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rag.errors import QuestionError
from rag.records import Question, Turn

ROLES = ("user", "assistant")


def as_question(value: Any) -> Question:
    """A Question from a mapping ``{question, history?, articles?}``; a Question is checked and returned as it is.

    Raises QuestionError for a wrong shape, and for half a surrogate pair, which no text can hold.
    """
    if isinstance(value, Question):
        question = value
    else:
        if not isinstance(value, Mapping) or not isinstance(value.get("question"), str):
            raise QuestionError("缺少 question (no question in it)", '写成 {"question": "…"}')
        history = tuple(_turns(value.get("history") or ()))
        articles = tuple(_articles(value.get("articles") or ()))
        question = Question(value["question"], history, articles)
    for text in (question.text, *(turn.content for turn in question.history)):
        if any("\ud800" <= char <= "\udfff" for char in text):
            raise QuestionError(
                "问题含有不成对的代理字符 (the question has lone surrogates)",
                "去掉无法显示的字符 (remove them)",
            )
    return question


def _turns(history: Any) -> Iterator[Turn]:
    for turn in history if isinstance(history, list | tuple) else (None,):
        role, content = (turn.get("role"), turn.get("content")) if isinstance(turn, Mapping) else (None, None)
        if role not in ROLES or not isinstance(content, str):
            raise QuestionError(
                "history 不对 (bad history)", '写成 [{"role": "user" 或 "assistant", "content": "…"}]'
            )
        yield Turn(role, content)


def _articles(articles: Any) -> Iterator[int | tuple[str, int]]:
    for article in articles if isinstance(articles, list | tuple) else (None,):
        match article:
            case bool():
                pass
            case int():
                yield article
                continue
            case [str() as document, int() as number] if not isinstance(number, bool):
                yield document, number
                continue
        raise QuestionError("articles 不对 (bad articles)", "写编号, 或 [文档, 编号]")
