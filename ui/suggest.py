"""Questions that go on from an answer: ``POST /chat/follow-ups``."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from ui.inputs import PlaceIn, Text, places
from ui.service import Service

SHOWN = 3  # questions


class AnsweredIn(BaseModel):
    """A question, and what its answer cites; where it was refused, the passages that came nearest."""

    model_config = ConfigDict(extra="forbid")
    question: Text = Field(max_length=20_000)
    cited: list[PlaceIn] = Field(default_factory=list, max_length=500)
    refused: bool = False


class Suggested(BaseModel):
    """Questions that the documents answer."""

    questions: list[str]


def suggestions(service: Service) -> APIRouter:
    """The route that the page asks when an answer is finished."""
    router = APIRouter(prefix="/chat")

    @router.post("/follow-ups")
    def follow_ups(body: AnsweredIn) -> Suggested:
        cited = [(document.name, span.start) for document, span in places(service, body.cited)]
        return Suggested(questions=service.follow_ups(cited, body.question, SHOWN, body.refused))

    return router
