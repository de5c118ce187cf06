"""How often the check of a sentence against its source is right, for each kind of change.

    python benchmarks/support.py samples/compilation.clean.txt samples/support.jsonl [--checker checker.safetensors]

A line of the pairs is ``{"evidence": a piece of the document, "true": [sentences that it supports], "false": [{"kind",
"text"}]}``. Every sentence is checked against its evidence below that evidence's headings, as an answer's are, and timed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from rag.check import support_checker
from rag.config import read_settings
from rag.extract import readable
from rag.fold import squeeze
from rag.load import read_document
from rag.outline import outline
from rag.records import Document
from rag.verify import Checker, Source, Verifier


def read_pairs(document: Document, file: Path) -> Iterator[tuple[str, str, str, int]]:
    """Of each pair its kind (``true`` for those that hold), sentence, evidence, and where that stands in the document."""
    folded, places = squeeze(document.text)
    for line in filter(None, file.read_text("utf-8").splitlines()):
        row = json.loads(line)
        place = places[folded.index(squeeze(row["evidence"])[0])]
        yield from (("true", sentence, row["evidence"], place) for sentence in row["true"])
        yield from ((false["kind"], false["text"], row["evidence"], place) for false in row["false"])


def pairs(path: Path, file: Path) -> Iterator[tuple[str, str, Source]]:
    """Kind, sentence and source of each pair."""
    document = read_document(path)
    articles = outline(document).articles
    for kind, sentence, text, place in read_pairs(document, file):
        article = next(a for a in articles if a.start <= place < a.end)
        above = (readable(article.title), *(readable(s.label) for s in article.path_at(place)))
        yield kind, sentence, Source(readable(text), (above,))


def measured(checker: Checker, found: list[tuple[str, str, Source]]) -> tuple[dict[str, float], float, float]:
    """The share judged rightly of each kind, the balanced accuracy, and the median milliseconds of a sentence."""
    right: dict[str, list[bool]] = defaultdict(list)
    times = []
    for kind, sentence, cited in found:
        begun = time.perf_counter()
        verdict = Verifier([cited], checker).verdict(sentence, [0])
        times.append((time.perf_counter() - begun) * 1000)
        right[kind].append((verdict.support == "supported") == (kind == "true"))
    false = [one for kind, all_ in right.items() if kind != "true" for one in all_]
    balanced = (sum(right["true"]) / len(right["true"]) + sum(false) / len(false)) / 2
    return {kind: sum(all_) / len(all_) for kind, all_ in sorted(right.items())}, balanced, median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("document", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--checker", default="lexical", help="or a file of trained weights")
    options = parser.parse_args()
    checker = support_checker(read_settings(checker=options.checker))
    found = list(pairs(options.document, options.pairs))
    measured(checker, found[:5])  # loads what is loaded on first use
    shares, balanced, milliseconds = measured(checker, found)
    for kind, share in shares.items():
        print(f"{kind:10} {sum(k == kind for k, *_ in found):5} {share:.3f}")
    print(f"balanced accuracy {balanced:.3f} on {len(found)} pairs, median {milliseconds:.1f} ms")


if __name__ == "__main__":
    main()
