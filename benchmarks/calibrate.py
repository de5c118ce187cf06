"""Fits the weights of ``rag.confidence``, on questions that no evaluation uses.

    python benchmarks/calibrate.py samples/training/*.md                        # the rules alone
    python benchmarks/calibrate.py --reader samples/training/culture.md         # with the reader

Beside each document FILE.md stand its cases, FILE.jsonl. With the reader only documents may be given that it was not
trained on: of its own training questions it is too sure. The intercept is moved so that at confidence 0.5 a share
``--false-refusals`` of the answerable questions is refused. Prints the weights, and how well they tell the questions
apart, with the leave-one-document-out figure where there are several.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from eval.cases import Library, load_cases
from rag.chain import RETRIEVED, open_chain
from rag.condense import condense
from rag.confidence import Signals, signals
from rag.config import read_settings
from rag.ingest import ingest
from rag.intent import understand
from rag.question import as_question
from rag.read import read
from rag.records import Question

RULES = ("chunk", "form", "coverage", "unknown", "unquoted", "miscounted")
READER = (*RULES, "answers", "read_coverage", "read_fits")

Table = NDArray[np.float64]


def table(document: Path, with_reader: bool) -> tuple[Table, Table]:
    """The signals of each case of a document (n, features), and whether it has an answer (n,)."""
    rows, answerable = [], []
    with tempfile.TemporaryDirectory() as folder:
        settings = read_settings(kb=Path(folder), reader="bundled" if with_reader else "none")
        ingest([document], settings)
        chain = open_chain(settings)
        for gold in load_cases(document.with_suffix(".jsonl"), Library.of(chain.store)):
            asked = condense(as_question(gold.case.as_question()))
            retrieval = chain.retriever.retrieve(Question(asked), RETRIEVED)
            if chain.reader:
                retrieval = read(retrieval, chain.reader)
            intent = understand(asked)
            found = signals(retrieval, intent)
            if with_reader and found.answers is None:
                continue
            rows.append(found)
            answerable.append(float(gold.case.answerable))
        chain.store.close()
    names = READER if with_reader else RULES
    return np.array([[float(getattr(r, n)) for n in names] for r in rows]), np.array(answerable)


def fitted(x: Table, y: Table) -> tuple[Table, float]:
    """Weights and intercept for signals as they are. Fitted on scaled ones, so that all are shrunk alike."""
    scaler = StandardScaler().fit(x)
    model = LogisticRegression(C=0.5, class_weight="balanced", max_iter=1000).fit(scaler.transform(x), y)
    weights = model.coef_[0] / scaler.scale_
    return weights, float(model.intercept_[0] - (weights * scaler.mean_).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("documents", nargs="+", type=Path)
    parser.add_argument("--reader", action="store_true")
    parser.add_argument("--false-refusals", type=float, default=0.03)
    options = parser.parse_args()
    names = READER if options.reader else RULES
    assert set(names) <= {f.name for f in fields(Signals)}
    tables = [table(document, options.reader) for document in options.documents]
    x, y = np.concatenate([t[0] for t in tables]), np.concatenate([t[1] for t in tables])
    for i, name in enumerate(names):
        print(f"{name:14} AUC alone {roc_auc_score(y, x[:, i]):.3f}")
    weights, intercept = fitted(x, y)
    scores = x @ weights + intercept
    print(f"all together   AUC {roc_auc_score(y, scores):.3f}, {len(y)} questions, {int(y.sum())} answerable")
    if len(tables) > 1:
        left_out = []
        for i, (own, _) in enumerate(tables):
            others = [t for j, t in enumerate(tables) if j != i]
            w, b = fitted(np.concatenate([t[0] for t in others]), np.concatenate([t[1] for t in others]))
            left_out.append(own @ w + b)
        scores = np.concatenate(left_out)
        print(f"left out       AUC {roc_auc_score(y, scores):.3f}")
    for share in (0.02, 0.03, 0.04, 0.05, 0.1):
        threshold = np.quantile(scores[y == 1], share)
        print(f"false refusals {share:.2f}: refuses {np.mean(scores[y == 0] < threshold):.3f}")
    moved = intercept - float(np.quantile(x[y == 1] @ weights + intercept, options.false_refusals))
    print(
        {"intercept": round(moved, 3), **{n: round(float(w), 3) for n, w in zip(names, weights, strict=True)}}
    )


if __name__ == "__main__":
    main()
