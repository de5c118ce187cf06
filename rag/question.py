"""What a caller gives -> a Question, or an error that says what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rag.errors import QuestionError
from rag.records import Question, Span, Turn

ROLES = ("user", "assistant")


def as_question(value: Any) -> Question:
    """A Question from a mapping ``{question, history?, articles?, within?}``; a Question is checked and returned as it
    is.

    Raises QuestionError for a wrong shape, and for half a surrogate pair, which no text can hold.
    """
    if isinstance(value, Question):
        question = value
    else:
        if not isinstance(value, Mapping) or not isinstance(value.get("question"), str):
            raise QuestionError("缺少 question (no question in it)", '写成 {"question": "…"}')
        history = tuple(_turns(value.get("history") or ()))
        articles = tuple(_articles(value.get("articles") or ()))
        within = tuple(_within(value.get("within") or ()))
        question = Question(value["question"], history, articles, within=within)
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


def _within(places: Any) -> Iterator[tuple[str, Span]]:
    for place in places if isinstance(places, list | tuple) else (None,):
        match place:
            case {"document": str() as document, "start": int() as start, "end": int() as end} if not (
                isinstance(start, bool) or isinstance(end, bool)
            ):
                yield document, Span(start, end)
            case _:
                raise QuestionError(
                    "within 不对 (bad within)", '写成 [{"document": "…", "start": 0, "end": 1}]'
                )
