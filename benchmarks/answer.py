"""How long an answer takes, beside embedding the question once.

    python benchmarks/answer.py CASES.jsonl --kb DIR

Each question is embedded, answered by the rules alone and answered with the reader, one after the other, so that all
three see the same machine. Prints the medians in milliseconds and as multiples of the embedding.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from eval.cases import Library, load_cases
from rag.chain import open_chain
from rag.config import read_settings
from rag.lexicon import natural


def milliseconds(work: Callable[..., object], *arguments: object) -> float:
    begun = time.perf_counter()
    work(*arguments)
    return 1000 * (time.perf_counter() - begun)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("cases", type=Path)
    parser.add_argument("--kb", type=Path)
    options = parser.parse_args()
    chain = open_chain(read_settings(kb=options.kb, reader="bundled"))
    reader, encoder = chain.reader, chain.retriever.encoder
    times: dict[str, list[float]] = {"embedding": [], "rules": [], "reader": []}
    questions = [gold.case.as_question() for gold in load_cases(options.cases, Library.of(chain.store))]
    chain.invoke(questions[0])  # loads what is loaded on first use
    for question in questions:
        text = natural(question["question"])
        times["embedding"].append(milliseconds(encoder.encode_query, text))
        for name, used in (("rules", None), ("reader", reader)):
            chain.reader = used
            times[name].append(milliseconds(chain.invoke, question))
    once = median(times["embedding"])
    for name, values in times.items():
        print(f"{name:10} {median(values):7.1f} ms  {median(values) / once:5.2f} x")


if __name__ == "__main__":
    main()
