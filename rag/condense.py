"""Follow-up questions, by rules: does one refer back, and how it reads beside the turns before it."""

from __future__ import annotations

import re

from rag.records import Question

_REFERS = re.compile(
    r"^(?:那么?|这|其中|另外|还有|然后|再|具体|同样|上述|以上|前面|刚才|它|他|她|是谁|为什么[呢?？]?$|怎么[做办]?[呢?？]?$)"
    r"|[它其该]|这[个些篇项里次]|那[个些篇项里次边]|上面|刚才|前面|前者|后者|他们|她们|后来|呢\s*[?？]?$"
)
_SHORT = 12
_TURNS, _TURN_LENGTH = 2, 300


def refers(text: str) -> bool:
    """Whether a question points to what was said before it (它, 这项, 前者, …呢)."""
    return bool(_REFERS.search(text.strip()))


def may_go_on(text: str) -> bool:
    """Whether a question that points to nothing may still go on from what was said: it is too short to say it all."""
    return len(text.strip()) <= _SHORT


def beside_earlier(question: Question) -> str:
    """The question after the user's last turns; "" where there are none.

    Only the user's own turns are taken: an earlier answer, even a wrong one, cannot steer the search.
    """
    turns = [turn.content.strip()[:_TURN_LENGTH] for turn in question.history if turn.role == "user"]
    return " ".join([*turns[-_TURNS:], question.text.strip()]) if turns else ""
