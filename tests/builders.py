"""Small documents and knowledge bases to test with. All places and figures are invented."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fakes import FakeEncoder

from rag.chunk import chunks
from rag.lexicon import tokens
from rag.outline import outline
from rag.records import Document, Outline
from rag.store import IndexedChunk, Store

TOPICS = ("网格管理", "养老服务", "垃圾分类", "社区矫正", "河道巡查", "就业培训", "消防演练", "信访接待")


def compilation(version: int = 1, articles: int = 4, changed: int | None = None) -> str:
    """A compilation with a table of contents; another version rewords all articles, or only ``changed``."""
    titles = [f"关于{TOPICS[i % len(TOPICS)]}工作的实施意见之{i + 1}" for i in range(articles)]
    parts = ["青禾市治理经验汇编", "目录", *titles]
    for i, title in enumerate(titles):
        edition = version if changed is None or changed == i + 1 else 1
        topic = TOPICS[i % len(TOPICS)]
        parts += [
            title,
            f"一、总体要求\n{topic}第{edition}版提出，到{2024 + edition}年建成{100 * edition + i}个示范点。",
            f"各镇要把{topic}纳入年度考核，每月通报一次进展情况。",
            f"二、重点任务\n(一)健全机制\n建立由{edition + 2}个部门组成的{topic}联席会议，每季度开一次。",
            f"(二)压实责任\n{topic}责任落实到{edition * 7 + i}名专职人员，并向社会公布联系电话。",
        ]
    return "\n".join(parts) + "\n"


def document(text: str, name: str = "汇编.txt") -> Document:
    return Document(name, hashlib.sha256(text.encode()).hexdigest(), text, "utf-8", f"/docs/{name}")


def prepared(source: Document, encoder: FakeEncoder) -> tuple[Document, Outline, list[IndexedChunk]]:
    """What ``Store.put`` takes."""
    split = outline(source)
    found: list[IndexedChunk] = []
    for article in split.articles:
        for chunk in chunks(source, article):
            text = source.text[chunk.start : chunk.end]
            spans = [(s.start - chunk.start, s.end - chunk.start) for s in chunk.sentences]
            vectors, (sentence_vectors,) = encoder.encode_with_spans([text], [spans])
            path = " ".join(tokens(" ".join((article.title, *chunk.section))))
            found.append(IndexedChunk(chunk, vectors[0], sentence_vectors, " ".join(tokens(text)), path))
    return source, split, found


def fill(folder: Path, *documents: Document, encoder: FakeEncoder | None = None) -> None:
    """Put documents into the knowledge base in ``folder``."""
    encoder = encoder or FakeEncoder()
    with Store.open(folder, writable=True, create=True) as store, store.transaction():
        store.set_model(encoder.identity, encoder.dimension)
        for source in documents:
            store.put(*prepared(source, encoder))
