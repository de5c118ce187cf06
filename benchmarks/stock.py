"""LangChain's stock pipeline as a chain that ``eval`` can measure, to be put beside the project's own.

    python benchmarks/stock.py cases FILE.jsonl [--kb DIR] [--json OUT]
    python benchmarks/stock.py openqa --paragraphs P.jsonl --questions Q.jsonl [--limit N] [--json OUT]
    python benchmarks/stock.py rgb FILE.jsonl [--limit N] [--json OUT]

What most tutorials build: RecursiveCharacterTextSplitter(500, 50), dense search by FAISS on the same embedding
model. It has no language model here either, so its answer is the text of the first passages, up to 400
characters, each quoted as its own citation. It never refuses: the stock pipeline has no means to, and leaves
that to the language model's prompt. It searches with the question as it is asked, without earlier turns.
Needs the extra ``bench``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from embeddings.encoder import SentenceEncoder
from rag.config import Settings, read_settings
from rag.question import as_question
from rag.records import Answer, AnswerSentence, ArticleRef, Citation, Passage, Question
from rag.store import Store, StoredArticle

SIZE, OVERLAP = 500, 50
LENGTH = 400  # characters of an answer
RETRIEVED = 40
ENGINE = "stock"


@dataclass(frozen=True)
class StockChain:
    """Questions to answers; ``passages[i]`` has the vector ``i`` of the index."""

    passages: Sequence[Passage]
    index: Any  # faiss.IndexFlatIP
    encoder: SentenceEncoder

    def invoke(self, question: Question | Mapping[str, Any], config: Any = None, **kwargs: Any) -> Answer:
        """The first passages as the answer."""
        asked = as_question(question)
        began = time.perf_counter()
        found = self.retrieve(asked)
        searched = time.perf_counter()
        citations = _cited(found)
        sentences = [AnswerSentence(c.quote, (c.n,), "quoted") for c in citations]
        timings = {
            "retrieve": 1000 * (searched - began),
            "answer": 1000 * (time.perf_counter() - searched),
        }
        return Answer(tuple(sentences), citations, tuple(found), not sentences, ENGINE, timings)

    def retrieve(self, question: Question) -> list[Passage]:
        """The nearest passages, within the question's articles where it names any."""
        inside = [i for i, passage in enumerate(self.passages) if _inside(passage, question.articles)]
        if not inside:
            return []
        chosen = faiss.SearchParameters(sel=faiss.IDSelectorBatch(np.asarray(inside, np.int64)))  # type: ignore[call-arg]
        vector = self.encoder.encode_query(question.text).reshape(1, -1)
        scores, keys = self.index.search(vector, min(RETRIEVED, len(inside)), params=chosen)
        return [
            replace(self.passages[key], score=float(score))
            for key, score in zip(keys[0].tolist(), scores[0].tolist(), strict=True)
            if key >= 0
        ]


def stock(store: Store, encoder: SentenceEncoder, settings: Settings) -> StockChain:
    """The stock pipeline over the documents of a knowledge base, split and embedded anew."""
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    splitter = RecursiveCharacterTextSplitter(
        chunk_size=SIZE, chunk_overlap=OVERLAP, add_start_index=True, strip_whitespace=False
    )
    articles: dict[str, list[StoredArticle]] = {}
    for article in store.articles():
        articles.setdefault(article.document, []).append(article)
    passages: list[Passage] = []
    for listed in store.documents():
        document = store.document(listed.name)
        assert document is not None
        for piece in splitter.create_documents([document.text]):
            start = piece.metadata["start_index"]
            end = start + len(piece.page_content)
            ref = _article_at(articles[document.name], start)
            passages.append(
                Passage(start, end, document.name, document.sha256, ref, (), piece.page_content, 0.0)
            )
    index = faiss.IndexFlatIP(encoder.dimension)
    index.add(np.ascontiguousarray(encoder.encode_passages([p.text for p in passages]), np.float32))
    return StockChain(passages, index, encoder)


def _article_at(articles: Sequence[StoredArticle], start: int) -> ArticleRef:
    """The article that a passage begins in; one that begins before the first article counts to that."""
    before = [article for article in articles if article.article.start <= start]
    return (before[-1] if before else articles[0]).ref


def _inside(passage: Passage, wanted: Iterable[int | tuple[str, int]]) -> bool:
    keys = tuple(wanted)
    return not keys or passage.article.number in keys or (passage.document, passage.article.number) in keys


def _cited(passages: Sequence[Passage]) -> tuple[Citation, ...]:
    """The passages as citations, the last one cut at ``LENGTH`` characters in all."""
    found: list[Citation] = []
    left = LENGTH
    for passage in passages:
        quote = passage.text[:left]
        if not quote:
            break
        left -= len(quote)
        found.append(
            Citation(
                start=passage.start,
                end=passage.start + len(quote),
                n=len(found) + 1,
                document=passage.document,
                sha256=passage.sha256,
                article=passage.article,
                section=(),
                quote=quote,
            )
        )
    return tuple(found)


def _cases(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    from eval.cases import Library, load_cases
    from eval.run import evaluate
    from rag.ingest import sentence_encoder

    with Store.open(settings.kb) as store:
        store.require_documents()
        library = Library.of(store)
        gold = load_cases(options.file, library)
        chain = stock(store, sentence_encoder(settings), settings)
        made = {"engine": ENGINE, "split": [SIZE, OVERLAP], "model": chain.encoder.identity}
        return evaluate(chain, gold, library, {**made, "file": options.file.name})


def _openqa(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    from eval.openqa import run

    return run(options.paragraphs, options.questions, settings, limit=options.limit, make_chain=stock)


def _rgb(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    from eval.rgb import run

    return run(options.file, settings, limit=options.limit, make_chain=stock)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parts = parser.add_subparsers(required=True)
    cases = parts.add_parser("cases")
    cases.set_defaults(run=_cases)
    cases.add_argument("file", type=Path)
    cases.add_argument("--kb", type=Path)
    openqa = parts.add_parser("openqa")
    openqa.set_defaults(run=_openqa, kb=None)
    openqa.add_argument("--paragraphs", type=Path, required=True)
    openqa.add_argument("--questions", type=Path, required=True)
    openqa.add_argument("--limit", type=int)
    rgb = parts.add_parser("rgb")
    rgb.set_defaults(run=_rgb, kb=None)
    rgb.add_argument("file", type=Path)
    rgb.add_argument("--limit", type=int)
    for part in (cases, openqa, rgb):
        part.add_argument("--json", type=Path)
    options = parser.parse_args()
    result = options.run(options, read_settings(kb=options.kb))
    shown = result.get("metrics") or result["noise"]
    print(json.dumps(shown, ensure_ascii=False, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, ensure_ascii=False, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
