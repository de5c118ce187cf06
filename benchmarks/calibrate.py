"""Weighs what the reader says against the rules' signals, and shows where a threshold of refusal may lie.

    python benchmarks/calibrate.py samples/training/culture.md samples/compilation.messy.txt

Beside each document FILE stand its cases, FILE.jsonl (of the sample: questions.jsonl). Only documents may be given that
the reader was not trained on: of its own training questions it is too sure. Prints, for each weight of the reader's
word in ``rag.confidence``, how well the score tells questions with and without an answer apart, and for each share of
false refusals the threshold and what it refuses.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from eval.cases import Library, load_cases
from rag.chain import RETRIEVED, open_chain
from rag.condense import beside_earlier
from rag.confidence import READER, RULES, Signals, signals
from rag.config import read_settings
from rag.ingest import ingest
from rag.intent import understand
from rag.question import as_question
from rag.read import read
from rag.records import Question

WEIGHTS = (0.0, 0.3, 0.5, 0.7, 1.0, 2.0)
SHARES = (0.02, 0.03, 0.04, 0.05)


def signals_of(document: Path) -> list[tuple[Signals, str]]:
    """The signals of each case of a document, and the case's type."""
    cases = document.with_suffix(".jsonl")
    with tempfile.TemporaryDirectory() as folder:
        settings = read_settings(kb=Path(folder), reader="bundled")
        ingest([document], settings)
        chain = open_chain(settings)
        assert chain.reader is not None
        found = []
        file = cases if cases.is_file() else document.with_name("questions.jsonl")
        for gold in load_cases(file, Library.of(chain.store)):
            question = as_question(gold.case.as_question())
            asked = beside_earlier(question) or question.text
            retrieval = chain.retriever.retrieve(Question(asked), RETRIEVED)
            found.append((signals(read(retrieval, chain.reader), understand(asked)), gold.case.type))
        chain.store.close()
    return found


def score(one: Signals, weight: float) -> float:
    """The logit with this weight for the reader's word and the rules' intercept."""
    rest = replace(one, answers=None)
    return rest.logit + weight * (one.answers or 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("documents", nargs="+", type=Path)
    options = parser.parse_args()
    found = [row for document in options.documents for row in signals_of(document)]
    kinds = np.array([kind for _, kind in found])
    answerable = ~np.isin(kinds, ("unanswerable", "false_premise"))
    print(
        f"{len(found)} questions, {answerable.sum()} answerable; now {READER['answers']}, {READER['intercept']}"
    )
    for weight in WEIGHTS:
        scores = np.array([score(one, weight) for one, _ in found])
        print(f"weight {weight}: AUC {roc_auc_score(answerable, scores):.3f}")
        for share in SHARES:
            threshold = float(np.quantile(scores[answerable], share))
            refused = {k: np.mean(scores[kinds == k] < threshold) for k in ("unanswerable", "false_premise")}
            print(
                f"  false refusals {share}: intercept {RULES['intercept'] - threshold:.2f}, refused "
                + ", ".join(f"{k} {v:.2f}" for k, v in refused.items())
            )


if __name__ == "__main__":
    main()
