"""What each part contributes: cases answered with one part at a time removed.

    python benchmarks/ablations.py FILE.jsonl --kb DIR [--only NAME ...]

Prints a table of the key figures with everything, and the differences without each part.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from eval.cases import Library, load_cases
from eval.run import evaluate
from rag import extract
from rag.chain import Chain, open_chain
from rag.config import read_settings
from rag.retrieve import RANKINGS

SHOWN = (
    "recall@1000", "recall@2000", "kp@400", "cite_f1", "cite_char_f1", "cite_article",
    "refusal", "false_refusal", "false_premise_flagged",
)  # fmt: skip

Without = Callable[[Chain], Any]  # a context in which the chain lacks a part


@contextmanager
def _ranking(chain: Chain, name: str) -> Iterator[None]:
    chain.retriever.rankings = tuple(r for r in RANKINGS["hybrid"] if r != name)
    try:
        yield
    finally:
        chain.retriever.rankings = ()


def _whole(evidence: extract.Evidence, *rest: Any) -> extract.Evidence:
    return evidence


PARTS: dict[str, Without] = {
    "the reader": lambda chain: patch.object(chain, "reader", None),
    "dense vectors": lambda chain: _ranking(chain, "dense"),
    "sentence vectors": lambda chain: _ranking(chain, "sentence"),
    "words": lambda chain: _ranking(chain, "words"),
    "words with headings": lambda chain: _ranking(chain, "path"),
    "what backs an article": lambda chain: patch("rag.retrieve.BACKING", 0.0),
    "mistyped words": lambda chain: patch("rag.retrieve.corrections", lambda unknown, homophones: {}),
    "what is quoted first": lambda chain: patch.object(
        chain, "_reordered", lambda retrieval, parts: retrieval
    ),
    "the word of doubt": lambda chain: patch("rag.chain.DOUBT", ""),
    "cutting to clauses": lambda chain: patch("rag.extract.tightened", _whole),
    "lists by section": lambda chain: patch("rag.extract.listed", lambda *arguments: []),
    "lists inline": lambda chain: patch("rag.extract._names_as_many", lambda text, intent: 0.0),
    "comparison by pairs": lambda chain: patch("rag.extract._compare", _first),
    "further sentences": lambda chain: patch("rag.extract.MOST", 1),
}


def _first(query: Any, ranked: Any, source: Any) -> list[extract.Part]:
    return [extract.Part(extract.shown(ranked[0], source), (ranked[0],))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--kb", type=Path)
    parser.add_argument("--only", nargs="*", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    chain = open_chain(read_settings(kb=options.kb))
    library = Library.of(chain.store)
    gold = load_cases(options.cases, library)

    def figures() -> dict[str, float]:
        metrics = evaluate(chain, gold, library, {})["metrics"]
        return {name: metrics[name]["mean"] for name in SHOWN if name in metrics}

    everything = figures()
    print("| without | " + " | ".join(everything) + " |")
    print("| --- |" + " --- |" * len(everything))
    print("| (nothing) | " + " | ".join(f"{v:.3f}" for v in everything.values()) + " |", flush=True)
    for name in options.only:
        with PARTS[name](chain):
            found = figures()
        print(
            f"| {name} | " + " | ".join(f"{found[k] - v:+.3f}" for k, v in everything.items()) + " |",
            flush=True,
        )


if __name__ == "__main__":
    main()
