"""A language model's answer: drafted from numbered evidence, each sentence verified before it is shown, and given up where
too little of it stands.

The answer that needs no model (the extract) is known before: ``rag.judge`` compares the two. Whether to refuse is decided
by both, too.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from rag.cite import Numbering
from rag.errors import LanguageModelError
from rag.generate import Draft, Numbered, drafts, prompt, refuses
from rag.llm import LanguageModel
from rag.records import AnswerSentence, Cited, Said
from rag.verify import Checker, Verifier, connects, support

# A sentence, None where it is dropped, and its new citations.
Checked = tuple[AnswerSentence | None, list[Cited]]

_LOG = logging.getLogger(__name__)
# Of ``refuse_below``: the confidence from which on a model's refusal does not count, and below which none is asked.
OVERRULED, ASKED = 1.2, 0.7
_LONGEST = 4_000  # characters of an answer, after which the model is not listened to


@dataclass(slots=True)
class Outcome:
    """What came of asking the model: its sentences, or in ``given_up`` why they are not taken; and the milliseconds that
    verifying took."""

    sentences: list[AnswerSentence] = field(default_factory=list)
    given_up: str = ""
    refused: bool = False
    verifying: float = 0.0

    @property
    def taken(self) -> bool:
        """Whether the model's sentences are the answer."""
        return bool(self.sentences) and not self.given_up

    @property
    def declined(self) -> bool:
        """Whether the model's refusal counts."""
        return self.refused and not self.given_up


@dataclass(slots=True)
class Fluent:
    """One question put to the model. ``judged`` says why what was written is not taken, given the sentences and the
    characters dropped; ``verifying`` runs what verifies a sentence."""

    model: LanguageModel
    checker: Checker
    numbering: Numbering
    verifying: Callable[[Callable[[], Checked]], Checked]
    judged: Callable[[Sequence[AnswerSentence], int], str]
    drop_unsupported: bool = False

    def answer(self, question: str, shown: Numbered, outcome: Outcome) -> Iterator[Cited | Said | None]:
        """The events of the answer, None while the model is waited for; what came of it is in ``outcome``."""
        read = dropped = 0
        verifier = Verifier(shown.sources, self.checker, question)
        try:
            stream = self.model.stream(prompt(question, shown))
            try:
                for draft in drafts(stream):
                    if draft is None:
                        yield None
                        continue
                    read += len(draft.text)
                    if refuses(draft.text) and not outcome.sentences:
                        outcome.refused = True
                        break
                    sentence, events = self.verifying(partial(self._timed, draft, verifier, shown, outcome))
                    if sentence is None:
                        dropped += len(draft.text)
                    else:
                        outcome.sentences.append(sentence)
                        yield from events
                        yield Said(sentence)
                    if read > _LONGEST:
                        break
            finally:
                stream.close()
        except LanguageModelError as error:
            _LOG.warning("%s", error)
            outcome.given_up = error.problem
        if not outcome.given_up and not outcome.refused:
            outcome.given_up = self.judged(outcome.sentences, dropped)

    def _timed(self, draft: Draft, verifier: Verifier, shown: Numbered, outcome: Outcome) -> Checked:
        begun = time.perf_counter()
        try:
            return self._verified(draft, verifier, shown)
        finally:
            outcome.verifying += (time.perf_counter() - begun) * 1000

    def _verified(self, draft: Draft, verifier: Verifier, shown: Numbered) -> Checked:
        """The sentence with what supports it; None where it is dropped."""
        if not draft.cited and connects(draft.text):
            return AnswerSentence(draft.text, (), "supported", draft.kind), []
        verdict = verifier.verdict(draft.text, draft.cited)
        if verdict.support == "unsupported":
            if verdict.stray or self.drop_unsupported:
                return None, []
            return AnswerSentence(draft.text, (), "unsupported", draft.kind), []
        cited, fresh = self.numbering.cite_all(shown.evidence[i] for i in verdict.sources)
        quoted = support(draft.text, cited) == "quoted"
        sentence = AnswerSentence(
            draft.text, tuple(c.n for c in cited), "quoted" if quoted else "supported", draft.kind
        )
        return sentence, list(map(Cited, fresh))
