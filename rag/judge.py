"""Whether what a language model wrote may take the extract's place: an answer must never be worse than without it.

Each rule is there for a way in which small models' answers were supported and yet worth less than the extract: they repeat
the question, give a part of what was asked, or say something true of another matter. docs/language-models.md has the
figures by which the limits were chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rag.extract import Part
from rag.fold import squeeze
from rag.intent import Intent
from rag.lexicon import content, fold
from rag.records import AnswerSentence

_STANDS = 0.5  # share of the answer's characters that must be supported
_NEWS = 3  # characters of words that the question has not
_COVERED = 0.3  # of what the extract says beyond the question, on average over its parts
_ANSWERS, _OVERRULES = 1.0, 2.0  # the reader's logit for an answer, and where the extract is a refusal

Answers = Callable[[str], float]


def shortcoming(
    question: str,
    intent: Intent,
    said: Sequence[AnswerSentence],
    dropped: int,
    extract: Sequence[Part],
    answers: Answers | None,
) -> str:
    """Why the model's answer is not taken; "" where it is.

    ``extract`` is empty where it is a refusal. ``dropped``: characters of the sentences that were not shown.
    ``answers`` says how well a text answers the question as a reader sees it, as a logit; None: there is no reader.
    """
    held = [s for s in said if s.citations and not s.text.rstrip().endswith(("？", "?"))]
    text = " ".join(s.text for s in held)
    stands = sum(len(s.text) for s in held)
    falls = dropped + sum(len(s.text) for s in said if s.support == "unsupported" and not _leads(s))
    if not stands:
        return "模型的回答没有一句有依据 (nothing in the model's answer is supported)"
    if stands < _STANDS * (stands + falls):
        return "模型的回答大半没有依据 (most of the model's answer is unsupported)"
    if _length(_beyond(question, text)) < _NEWS:
        return "模型只重复了问题 (the model's answer only repeats the question)"
    if answers and answers(text) < (_ANSWERS if extract else _OVERRULES):
        return "模型的回答没有回答问题 (the model's answer does not answer the question)"
    covered = _covered(question, text, extract)
    if not covered:
        return (
            "模型的回答与最接近的原文说的不是一回事 (the model's answer shares nothing with the nearest text)"
        )
    simple = (intent.kind, intent.asks, intent.count) == ("fact", 1, None) and intent.fits(text)
    if not simple and covered < _COVERED:
        return "模型的回答漏了主要内容 (the model's answer misses the main points)"
    return ""


def _leads(sentence: AnswerSentence) -> bool:
    """Whether a sentence announces what follows: it stands or falls with that."""
    return sentence.text.rstrip().endswith(("：", ":"))


def _covered(question: str, text: str, extract: Sequence[Part]) -> float:
    """The share of each part's words beyond the question that the text has, on average; 1 where there are none."""
    written = squeeze(fold(text))[0]
    shares = []
    for part in extract:
        beyond = _beyond(question, part.text)
        if beyond:
            shares.append(_length([w for w in beyond if w in written]) / _length(beyond))
    return sum(shares) / len(shares) if shares else 1.0


def _beyond(question: str, text: str) -> list[str]:
    """The words of ``text`` that say something and are not the question's."""
    asked = fold(question)
    return [w for w in dict.fromkeys(content(text)) if w not in asked]


def _length(found: Sequence[str]) -> int:
    """Characters of words; a number says as much as a word of ``_NEWS``."""
    return sum(max(len(word), _NEWS) if word[0].isdigit() else len(word) for word in found)
