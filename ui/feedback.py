"""What readers say of an answer, taken down: ``POST /chat/feedback``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Self

from fastapi import APIRouter
from pydantic import BaseModel, Field, model_validator

from rag.feedback import Feedback, FeedbackLog, GivenAnswer, Verdict, Within, stands
from rag.records import Citation, Turn
from ui.errors import ApiError
from ui.inputs import Number, Text, TurnIn
from ui.limits import MAX_BODY, limited_route
from ui.service import Service

MAX_COMMENT = 2_000  # characters
MAX_QUESTION = 20_000  # characters: far above what may be asked, which is a setting


class WithinIn(BaseModel):
    """A place that the question was restricted to."""

    document: Text
    start: Annotated[int, Field(ge=0, le=10**9)]
    end: Annotated[int, Field(ge=0, le=10**9)]


class FeedbackIn(BaseModel):
    """A verdict, the question as it was sent to ``/api/ask``, and the answer that came; other keys are left out."""

    verdict: Verdict
    comment: Text = Field("", max_length=MAX_COMMENT)
    question: Text = Field(max_length=MAX_QUESTION, pattern=r"\S")
    history: list[TurnIn] = Field(default_factory=list, max_length=100)
    articles: list[Number | tuple[Text, Number]] = Field(default_factory=list, max_length=1_000)
    within: list[WithinIn] = Field(default_factory=list, max_length=1_000)
    answer: GivenAnswer

    @model_validator(mode="after")
    def _is_text(self) -> Self:
        """Refuses half a surrogate pair anywhere in the answer, and numbers that JSON does not have."""
        json.dumps(self.answer.as_json(), ensure_ascii=False, allow_nan=False).encode()
        return self

    def as_feedback(self) -> Feedback:
        return Feedback(
            verdict=self.verdict,
            time=datetime.now(UTC).isoformat(timespec="seconds"),
            question=self.question,
            answer=self.answer,
            history=tuple(Turn(turn.role, turn.content) for turn in self.history),
            articles=tuple(self.articles),
            within=tuple(Within(place.start, place.end, place.document) for place in self.within),
            comment=self.comment.strip(),
        )


def feedback_routes(service: Service, log: FeedbackLog) -> APIRouter:
    """The route that takes feedback and appends it to ``log``."""
    router = APIRouter(prefix="/chat", route_class=limited_route(MAX_BODY))

    @router.post("/feedback", status_code=204)
    def feedback(body: FeedbackIn) -> None:
        given = body.as_feedback()
        _check_citations(service, given.answer.citations)
        log.append(given)
        service.metrics.feedback.labels(given.verdict).inc()

    return router


def _check_citations(service: Service, citations: Sequence[Citation]) -> None:
    """Raises ApiError 422 for a citation that is not in the knowledge base as it stands."""
    found = {name: service.store.document(name) for name in {c.document for c in citations}}
    for citation in citations:
        document = found[citation.document]
        if not stands(citation, document.text if document else None):
            raise ApiError(
                422,
                "bad_citation",
                f"引文 [{citation.n}] 在“{citation.document}”中已找不到，文件可能换过或移除了，请重新提问再评价 "
                "(the citation is not in the documents as they are now: ask again)",
            )
