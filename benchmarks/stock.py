"""LangChain's stock pipeline, to be measured beside the project's own by the same commands:

    youju eval cases FILE.jsonl --chain benchmarks.stock:stock
    youju eval retrieval --paragraphs P.jsonl --questions Q.jsonl --chain benchmarks.stock:stock
    youju eval openqa --paragraphs P.jsonl --questions Q.jsonl --chain benchmarks.stock:stock
    youju eval rgb FILE.jsonl --chain benchmarks.stock:stock

What most tutorials build: RecursiveCharacterTextSplitter(500, 50) and exact dense search, on the same embedding
model. It has no language model here either, so the harness takes the first 400 retrieved characters for its answer.
It never refuses: the stock pipeline leaves that to the language model's prompt. Needs the extra ``bench``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_text_splitters import RecursiveCharacterTextSplitter

from embeddings.encoder import SentenceEncoder
from rag.config import Settings
from rag.store import Store

SIZE, OVERLAP = 500, 50


class Nearest(BaseRetriever):
    """All pieces, nearest first: what FAISS's flat index and LangChain's InMemoryVectorStore find, in less time."""

    pieces: list[Document]
    vectors: Any  # (n, d), unit vectors
    encoder: Any

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        similarities = self.vectors @ np.asarray(self.encoder.embed_query(query), np.float32)
        return [self.pieces[i] for i in np.argsort(-similarities, kind="stable").tolist()]


def stock(store: Store, encoder: SentenceEncoder, settings: Settings) -> BaseRetriever:
    """The documents of a knowledge base, split and embedded anew."""
    splitter = RecursiveCharacterTextSplitter(
        chunk_size=SIZE, chunk_overlap=OVERLAP, add_start_index=True, strip_whitespace=False
    )
    texts = [(listed.name, store.document(listed.name)) for listed in store.documents()]
    whole = [Document(found.text, metadata={"document": name}) for name, found in texts if found]
    pieces = splitter.split_documents(whole)
    vectors = np.asarray(encoder.embed_documents([p.page_content for p in pieces]), np.float32)
    return Nearest(pieces=pieces, vectors=vectors, encoder=encoder)
