"""A follow-up question and the turns before it -> one question that stands alone, by rules."""

from __future__ import annotations

import re
from collections.abc import Callable

from rag.lexicon import terms
from rag.records import Question

_REFERS = re.compile(
    r"^(?:那么?|这|其中|另外|还有|然后|再|具体|同样|上述|以上|前面|刚才|它|他|她|是谁|为什么[呢?？]?$|怎么[做办]?[呢?？]?$)"
    r"|[它其该]|这[个些篇项里次]|那[个些篇项里次边]|上面|刚才|前面|前者|后者|他们|她们|后来|呢\s*[?？]?$"
)
_SHORT = 12
_TURNS, _TURN_LENGTH = 2, 300


def condense(question: Question, knows: Callable[[str], bool] = lambda term: True) -> str:
    """The question with what it leaves out put before it: the user's last turns, if it refers to them.

    A short question refers to them too, unless it asks after something that the documents do not know
    (``knows``): then it changes the subject. Only the user's own turns are taken: an earlier answer, even a wrong
    one, cannot steer the search.
    """
    asked = question.text.strip()
    earlier = [turn.content.strip()[:_TURN_LENGTH] for turn in question.history if turn.role == "user"][
        -_TURNS:
    ]
    if not earlier:
        return asked
    short = len(asked) <= _SHORT and all(map(knows, terms(asked)))
    return " ".join([*earlier, asked]) if short or _REFERS.search(asked) else asked
