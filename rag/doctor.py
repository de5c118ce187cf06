"""Looks at each part of an installation and says what to mend."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from langchain_core.messages import HumanMessage

from rag.check import support_checker
from rag.config import Settings
from rag.errors import YoujuError
from rag.ingest import sentence_encoder
from rag.llm import open_model
from rag.read import NONE, passage_reader
from rag.store import Store
from rag.verify import Source


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one part; ``remedy`` says what to do where it is not in order."""

    part: str
    ok: bool
    detail: str
    remedy: str = ""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def examine(settings: Settings) -> Iterator[Finding]:
    """A finding for each part, in the order in which they build on each other."""
    parts: tuple[tuple[str, Callable[[Settings], str]], ...] = (
        ("嵌入模型 (embedding model)", _encoder),
        ("知识库 (knowledge base)", _knowledge_base),
        ("阅读模型 (reader)", _reader),
        ("语言模型 (language model)", _language_model),
        ("核对模型 (checker)", _checker),
    )
    for name, look in parts:
        try:
            yield Finding(name, True, look(settings))
        except YoujuError as error:
            yield Finding(name, False, error.problem, error.remedy)


def _encoder(settings: Settings) -> str:
    encoder = sentence_encoder(settings)
    encoder.encode_query("预热")
    begun = time.perf_counter()
    encoder.encode_query("一个问题要多久？")
    return f"{encoder.identity}, {encoder.dimension} 维, {(time.perf_counter() - begun) * 1000:.0f} ms"


def _knowledge_base(settings: Settings) -> str:
    with Store.open(settings.kb) as store:
        store.require_documents()
        encoder = sentence_encoder(settings)
        store.require_model(encoder.identity, encoder.dimension)
        return f"{settings.kb}: {store.count('documents')} 份文档, {store.count('articles')} 篇文章"


def _reader(settings: Settings) -> str:
    reader = passage_reader(settings)
    if reader is None:
        return f"不用 ({NONE})"
    begun = time.perf_counter()
    reader.read("试点期多久？", [("", "试点期为三年。", ((0, 7),))])
    return f"{settings.reader}, {(time.perf_counter() - begun) * 1000:.0f} ms"


def _checker(settings: Settings) -> str:
    model = open_model(settings)
    if model is None:
        return "没有语言模型, 用不着 (not needed without a language model)"
    checker = support_checker(settings, model)
    pair = ("试点为期三年。", Source("试点期为三年。", (("试点办法",),)))
    checker.supports([pair])
    begun = time.perf_counter()
    likely = checker.supports([pair])[0]
    return f"{settings.checker}: {likely:.2f}, {(time.perf_counter() - begun) * 1000:.0f} ms"


def _language_model(settings: Settings) -> str:
    model = open_model(settings)
    if model is None:
        return "未设置, 回答为原文摘录 (none: answers are extracts)"
    begun = time.perf_counter()
    first = 0.0
    said = ""
    for piece in model.stream([HumanMessage("只回答一个字：好")]):
        if piece and not first:
            first = time.perf_counter() - begun
        said += piece
        if len(said) > 40:
            break
    where = settings.llm_base_url or "默认地址"
    return f"{settings.llm} @ {where}: 首字 {first:.2f} s, 答完 {time.perf_counter() - begun:.2f} s"
