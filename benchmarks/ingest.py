"""Time from a file to a searchable index: Youju beside LangChain's stock pipeline, same model, same run.

    python benchmarks/ingest.py [FILE] [--runs 3] [--json OUT]

The stock pipeline is RecursiveCharacterTextSplitter(500, 50), HuggingFaceEmbeddings on the same model
folder, and a FAISS index. Runs alternate, so that other work on the machine falls on both. Models are
loaded before the clock starts. Needs the extra ``bench`` and, as its pins exclude huggingface-hub 2,
``pip install --no-deps langchain-huggingface==1.2.3``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SAMPLE = Path(__file__).resolve().parent.parent / "samples" / "compilation.messy.txt"
Run = Callable[[Path], int]  # ingests a file; the number of passages it made


def youju() -> Run:
    """All of ``youju ingest``: outline, chunks, sentence vectors, search tokens, SQLite and FAISS."""
    from rag.config import read_settings
    from rag.ingest import ingest, sentence_encoder

    encoder = sentence_encoder(read_settings())
    encoder.encode_with_spans(["热身。"], [[(0, 3)]])

    def run(file: Path) -> int:
        with tempfile.TemporaryDirectory() as folder:
            report = ingest([file], read_settings(kb=Path(folder) / "kb"), encoder)
        return sum(document.chunks for document in report.documents)

    return run


def langchain() -> Run:
    """The stock pipeline. Its prompt is the passage prompt, as the model asks for."""
    import faiss
    import numpy as np
    from langchain_huggingface import HuggingFaceEmbeddings
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    from embeddings.encoder import SentenceEncoder
    from rag.config import read_settings

    settings = read_settings()
    ours = SentenceEncoder(settings.model, settings.model_home)
    embeddings = HuggingFaceEmbeddings(
        model_name=str(ours.folder.path),
        model_kwargs={"device": "cpu", "local_files_only": True},
        encode_kwargs={"prompt": ours.passage_prompt, "normalize_embeddings": True},
    )
    splitter = RecursiveCharacterTextSplitter(chunk_size=500, chunk_overlap=50)
    embeddings.embed_documents(["热身。"])

    def run(file: Path) -> int:
        chunks = splitter.split_text(file.read_text("utf-8"))
        index = faiss.IndexFlatIP(ours.dimension)
        index.add(np.asarray(embeddings.embed_documents(chunks), np.float32))
        return int(index.ntotal)

    return run


def measure(file: Path, runs: int) -> dict[str, dict[str, Any]]:
    """Seconds of each run and passages made, by pipeline."""
    pipelines = {"youju": youju(), "langchain": langchain()}
    found: dict[str, dict[str, Any]] = {name: {"seconds": [], "passages": 0} for name in pipelines}
    for _ in range(runs):
        for name, run in pipelines.items():
            began = time.perf_counter()
            found[name]["passages"] = run(file)
            found[name]["seconds"].append(round(time.perf_counter() - began, 2))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", default=SAMPLE)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = measure(options.file, options.runs)
    medians = {name: statistics.median(of["seconds"]) for name, of in found.items()}
    print(f"{'':12}{'median s':>10}{'passages':>10}  runs")
    for name, of in found.items():
        print(f"{name:12}{medians[name]:>10.2f}{of['passages']:>10}  {of['seconds']}")
    ratio = medians["youju"] / medians["langchain"]
    print(f"youju / langchain: {ratio:.2f}")
    if options.json:
        machine = {
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
        }
        settings = {"file": options.file.name, "characters": len(options.file.read_text("utf-8")), **machine}
        result = {"ratio": round(ratio, 3), "pipelines": found, "settings": settings}
        options.json.write_text(json.dumps(result, ensure_ascii=False, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
