"""A program that ingests files in processes made to be killed: ``ingest_child.py fake|bundled``.

For each line of stdin, knowledge base and file with a tab between, it forks, prints the child's process id,
and, when the child has ended, its status. Forking after the imports makes each run quick; nothing has been
computed yet that a fork would break.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from fakes import FakeEncoder

from rag.config import read_settings
from rag.ingest import ingest
from rag.lexicon import tokens


def main(model: str) -> None:
    tokens("先把词典读好。")
    print("ready", flush=True)
    for line in sys.stdin:
        kb, path = map(Path, line.rstrip("\n").split("\t"))
        child = os.fork()
        if child == 0:
            ingest([path], read_settings(kb=kb), FakeEncoder() if model == "fake" else None)
            os._exit(0)
        print(child, flush=True)
        print(os.waitpid(child, 0)[1], flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
