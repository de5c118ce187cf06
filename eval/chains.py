"""What is evaluated, behind one interface: the project's own chain, or any LangChain chain or retriever.

A chain is asked by ``invoke({"question", "history"?, "articles"?})`` and gives an ``Answer``, or a mapping in the
shape of ``youju ask --json``. A LangChain retriever is put behind the same interface by ``RetrieverChain``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from eval.cases import GoldArticle, Library
from eval.metrics import Place
from rag.errors import ConfigError, FormatError
from rag.records import Answer

if TYPE_CHECKING:
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever

    from embeddings.encoder import SentenceEncoder
    from rag.config import Settings
    from rag.store import Store

Json = dict[str, Any]

OWN = "youju"  # the name of the project's own chain
LENGTH = 400  # characters of the answer that stands for a retriever's
RETRIEVED = 100  # passages shown of what a retriever brings
_ANSWER_KEYS = ("answer", "refused", "citations", "retrieved")
_PLACE_KEYS = ("document", "start", "end")


class Answers(Protocol):
    """What is evaluated: a question, with the earlier turns, to an answer."""

    def invoke(self, question: Any, /) -> Answer | Mapping[str, Any]: ...


# A function that makes what is evaluated from an open knowledge base: a chain, or a LangChain retriever.
Make = Callable[["Store", "SentenceEncoder", "Settings"], "Answers | BaseRetriever"]


def named(name: str) -> Make:
    """The function ``module:function`` of the user's own code, looked for from the working folder too.

    Raises ConfigError where there is none.
    """
    module, _, function = name.partition(":")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found = getattr(import_module(module), function) if module and function else None
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"找不到 (cannot be found): {name} ({error})", _REMEDY) from None
    if not callable(found):
        raise ConfigError(f"不是 模块:函数 (no module:function): {name}", _REMEDY)
    return found


_REMEDY = "写成 (write) --chain benchmarks.stock:stock"


def as_chain(made: Answers | BaseRetriever, library: Library) -> Answers:
    """The chain itself, or a LangChain retriever as a chain."""
    from langchain_core.retrievers import BaseRetriever

    return RetrieverChain(made, library) if isinstance(made, BaseRetriever) else made


def ask(chain: Answers, question: Mapping[str, Any], key: str) -> Json:
    """The chain's answer in the shape of ``Answer.as_json``.

    Raises FormatError, which names the question by its ``key``, where a chain gives something else.
    """
    answer = chain.invoke(dict(question))
    found = answer.as_json() if isinstance(answer, Answer) else dict(answer)
    missing = [name for name in _ANSWER_KEYS if name not in found]
    for kind, keys in (("citations", (*_PLACE_KEYS, "n", "quote", "article")), ("retrieved", _PLACE_KEYS)):
        missing += [f"{kind}.{name}" for row in found.get(kind, ()) for name in keys if name not in row]
    if missing:
        raise FormatError(
            f"{key} 的答案缺少 {missing[0]} (the chain's answer to it lacks this)",
            "返回 Answer 或同 youju ask --json 的形式 (return an Answer, or the shape of youju ask --json)",
        )
    return found


class RetrieverChain:
    """A retriever as a chain without a language model: it answers with the first passages, up to ``LENGTH``
    characters, each quoted as its own citation. It never refuses and does not look at the earlier turns.

    A retrieved document must be a verbatim piece of a document of the knowledge base. Its metadata name that as
    ``document`` or ``source`` and may give its first character as ``start`` or ``start_index``. Where a question is
    restricted to articles, what the retriever brings from others is dropped.
    """

    def __init__(self, retriever: BaseRetriever, library: Library) -> None:
        self._retriever = retriever
        self._texts = library.texts
        self._articles: dict[str, list[GoldArticle]] = {}
        for article in library.articles:
            self._articles.setdefault(article.place.document, []).append(article)

    def invoke(self, question: Mapping[str, Any], /) -> Json:
        """The answer; raises FormatError for a retrieved document that is not verbatim."""
        wanted = {key if isinstance(key, int) else tuple(key) for key in question.get("articles") or ()}
        found = map(self._passage, self._retriever.invoke(question["question"]))
        inside = (p for p in found if not wanted or wanted & {p["article"], (p["document"], p["article"])})
        passages = list(islice(inside, RETRIEVED))
        citations = list(self._cited(passages))
        return {
            "answer": "".join(f"{c['quote']}[{c['n']}]" for c in citations),
            "refused": not citations,
            "engine": "retriever",
            "sentences": [
                {"text": c["quote"], "citations": [c["n"]], "support": "quoted"} for c in citations
            ],
            "citations": citations,
            "retrieved": passages,
        }

    def _passage(self, found: Document) -> Json:
        place = self._place(found)
        article = self._article(place)
        return {"article": article.number, "section": [], "text": found.page_content, **place._asdict()}

    def _place(self, found: Document) -> Place:
        metadata, text = found.metadata, found.page_content
        name = str(metadata.get("document", metadata.get("source")))
        source = self._texts.get(name, "")
        given = metadata.get("start", metadata.get("start_index"))
        start = source.find(text) if given is None else int(given)
        if not text or start < 0 or source[start : start + len(text)] != text:
            raise FormatError(
                f"检索到的不是知识库文档 {name} 的原文 (a retrieved document is not verbatim in it): {text[:40]}",
                "在 metadata 里写 document 和 start (give both in its metadata)",
            )
        return Place(name, start, start + len(text))

    def _article(self, place: Place) -> GoldArticle:
        """The article that a place begins in; one before the first article counts to that."""
        inside = self._articles[place.document]
        return max((a for a in inside if a.place.start <= place.start), key=_start, default=inside[0])

    def _cited(self, passages: Sequence[Json]) -> Iterator[Json]:
        """The passages as citations, the last one cut at ``LENGTH`` characters in all."""
        left = LENGTH
        for n, passage in enumerate(passages, 1):
            quote = passage["text"][:left]
            if not quote:
                break
            left -= len(quote)
            place = Place(passage["document"], passage["start"], passage["start"] + len(quote))
            article = self._article(place)
            yield {
                "n": n,
                "article": {"number": article.number, "title": article.title},
                "section": [],
                "quote": quote,
                **place._asdict(),
            }


def _start(article: GoldArticle) -> int:
    return article.place.start
