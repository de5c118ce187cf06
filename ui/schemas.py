"""What the API answers, described for programs: the models of its OpenAPI description.

Answers are written from the records themselves (``as_json``); tests hold them to these models.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rag.records import Level, Support

SENTENCE = "到2027年，建成数字乡村示范村36个。"
_SHA256 = "5f0c7d1f8b6e4a39c2d5e8f1a4b7c0d3e6f9a2b5c8d1e4f7a0b3c6d9e2f5a8b1"
_PLACE = {"document": "青禾县材料.txt", "start": 60, "end": 80}
_ARTICLE = {"number": 1, "title": "关于加快青禾县数字乡村建设的实施意见", "category": "意见决定"}
_CITATION = {
    "n": 1,
    **_PLACE,
    "sha256": _SHA256,
    "article": _ARTICLE,
    "section": ["一、总体目标"],
    "quote": SENTENCE,
    "page": None,
}
_SENTENCE = {"text": SENTENCE, "citations": [1], "support": "quoted", "kind": "text"}
_PASSAGE = {
    **_PLACE,
    "article": 1,
    "title": _ARTICLE["title"],
    "section": ["一、总体目标"],
    "score": 0.91,
    "text": SENTENCE,
}
ANSWER = {
    "answer": f"{SENTENCE}[1]",
    "refused": False,
    "engine": "extractive",
    "confidence": 0.97,
    "sentences": [_SENTENCE],
    "citations": [_CITATION],
    "retrieved": [_PASSAGE],
    "timings_ms": {"retrieve": 12.1, "answer": 3.0, "verify": 1.2},
}
_SECTION = {"level": 1, "marker": "一、", "heading": "总体目标", "start": 52, "end": 80, "sections": []}
_LISTED = {
    "id": 1,
    "document": "青禾县材料.txt",
    "sha256": _SHA256,
    **_ARTICLE,
    "start": 12,
    "end": 460,
    "sections": [_SECTION],
}

Offset = Annotated[int, Field(ge=0)]  # Unicode code points into the document's text
Number = Annotated[int, Field(ge=1)]


def shown(example: Any) -> ConfigDict:
    """A model that has exactly its fields, with an example."""
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [example]})


class ArticleRef(BaseModel):
    """一条引用所在的文章 The article of a citation."""

    model_config = shown(_ARTICLE)
    number: int
    title: str
    category: str | None


class Citation(BaseModel):
    """出处：`document` 的第 `[start, end)` 个字符，恰是 `quote` The exact characters of a document."""

    model_config = shown(_CITATION)
    n: Number
    document: str
    sha256: str
    article: ArticleRef
    section: list[str]
    start: Offset
    end: Offset
    quote: str
    page: int | None


class Sentence(BaseModel):
    """回答的一句，和它的引用编号 A sentence and the numbers of its citations."""

    model_config = shown(_SENTENCE)
    text: str
    citations: list[Number]
    support: Support
    kind: Literal["text", "lead", "item"]


class Passage(BaseModel):
    """检索到的一段 A passage that was retrieved."""

    model_config = shown(_PASSAGE)
    document: str
    article: int
    title: str
    section: list[str]
    start: Offset
    end: Offset
    score: float
    text: str


class Answer(BaseModel):
    """回答 An answer."""

    model_config = shown(ANSWER)
    answer: str
    refused: bool
    engine: str
    confidence: float | None
    sentences: list[Sentence]
    citations: list[Citation]
    retrieved: list[Passage]
    timings_ms: dict[str, float]
    asked: str | None = Field(
        None, description="依上文补全的问题，与所问不同时才有 The question as understood"
    )
    fallback: str | None = Field(
        None, description="语言模型的回答未被采用的原因 Why a model's answer was not taken"
    )


class Section(BaseModel):
    """文章的一节 A section of an article."""

    model_config = shown(_SECTION)
    level: Level
    marker: str
    heading: str
    start: Offset
    end: Offset
    sections: list[Section]


class Article(BaseModel):
    """文章和它的各节 An article and its sections."""

    model_config = shown(_LISTED)
    id: int
    document: str
    sha256: str
    number: int
    category: str | None
    title: str
    start: Offset
    end: Offset
    sections: list[Section]


class ArticleText(Article):
    """文章、各节和全文 An article with its text."""

    model_config = shown({**_LISTED, "text": "关于加快青禾县数字乡村建设的实施意见 为加快补齐……"})
    text: str


class StoredRef(ArticleRef):
    """一处原文所在的文章 The article of a place."""

    model_config = shown({"id": 1, **_ARTICLE})
    id: int


class Place(BaseModel):
    """原文的一处，和它前后的文字 A place in a document, and what stands around it."""

    model_config = shown(
        {
            **_PLACE,
            "sha256": _SHA256,
            "article": {"id": 1, **_ARTICLE},
            "section": ["一、总体目标"],
            "before": "一、总体目标。 ",
            "text": SENTENCE,
            "after": " 二、重点任务。",
        }
    )
    document: str
    sha256: str
    article: StoredRef | None
    section: list[str]
    start: Offset
    end: Offset
    before: str
    text: str
    after: str


class Found(BaseModel):
    """检索到的各段，最近的在前 Passages, best first."""

    model_config = shown({"passages": [_PASSAGE]})
    passages: list[Passage]


class Alive(BaseModel):
    """进程在运行 The process answers."""

    model_config = shown({"status": "ok"})
    status: Literal["ok"]


class Ready(BaseModel):
    """知识库可用 The knowledge base can be read."""

    model_config = shown({"status": "ready", "documents": 2, "articles": 31})
    status: Literal["ready"]
    documents: int
    articles: int


class Unavailable(BaseModel):
    """知识库不可用，或服务正在停止 The knowledge base cannot be read, or the server is stopping."""

    model_config = shown({"status": "unavailable", "reason": "知识库读不出来 (damaged)"})
    status: Literal["unavailable", "stopping"]
    reason: str


class ErrorBody(BaseModel):
    """程序看 `code`，人看 `message` What went wrong, for programs and for readers."""

    model_config = ConfigDict(extra="forbid")
    code: str
    message: str


class Error(BaseModel):
    """出错 An error."""

    model_config = ConfigDict(extra="forbid")
    error: ErrorBody


# --- As OpenAI has them ------------------------------------------------------------------------------

_MODEL = {"id": "youju", "object": "model", "created": 1_790_000_000, "owned_by": "youju"}
_USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
_ANNOTATION = {
    "type": "url_citation",
    "url_citation": {
        "start_index": len(SENTENCE),
        "end_index": len(SENTENCE) + 3,
        "title": f"《{_ARTICLE['title']}》 › 一、总体目标",
        "url": "/#document=%E9%9D%92%E7%A6%BE%E5%8E%BF%E6%9D%90%E6%96%99.txt&start=60&end=80",
    },
}
_MESSAGE = {
    "role": "assistant",
    "content": f"{SENTENCE}[1]\n\n引用 Citations\n- [1] 《{_ARTICLE['title']}》 › 一、总体目标：“{SENTENCE}”",
    "refusal": None,
    "annotations": [_ANNOTATION],
}
_COMPLETION = {
    "id": "chatcmpl-5d2f",
    "object": "chat.completion",
    "created": 1_790_000_000,
    "model": "youju",
    "choices": [{"index": 0, "message": _MESSAGE, "logprobs": None, "finish_reason": "stop"}],
    "usage": _USAGE,
    "youju": ANSWER,
}


class Model(BaseModel):
    """模型 A model."""

    model_config = shown(_MODEL)
    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class Models(BaseModel):
    """全部模型 All models."""

    model_config = shown({"object": "list", "data": [_MODEL]})
    object: Literal["list"]
    data: list[Model]


class UrlCitation(BaseModel):
    """`content[start_index:end_index]` 的编号，和它的出处 A mark in the content, and where it leads."""

    model_config = ConfigDict(extra="forbid")
    start_index: Offset
    end_index: Offset
    title: str
    url: str


class Annotation(BaseModel):
    """回答里的一个编号 A mark in the content."""

    model_config = ConfigDict(extra="forbid")
    type: Literal["url_citation"]
    url_citation: UrlCitation


class ChatMessage(BaseModel):
    """回答 The answer."""

    model_config = ConfigDict(extra="forbid")
    role: Literal["assistant"]
    content: str
    refusal: None
    annotations: list[Annotation]


class Choice(BaseModel):
    """唯一的一个回答 The only one."""

    model_config = ConfigDict(extra="forbid")
    index: Literal[0]
    message: ChatMessage
    logprobs: None
    finish_reason: Literal["stop"]


class Usage(BaseModel):
    """不数 token No tokens are counted."""

    model_config = ConfigDict(extra="forbid")
    prompt_tokens: Literal[0]
    completion_tokens: Literal[0]
    total_tokens: Literal[0]


class ChatCompletion(BaseModel):
    """一次对话回答 A chat completion; `youju` is the whole answer as `/api/ask` gives it."""

    model_config = shown(_COMPLETION)
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    youju: Answer


class OpenAIErrorBody(BaseModel):
    """出错的原因，和有问题的参数 What went wrong, and the parameter at fault."""

    model_config = ConfigDict(extra="forbid")
    code: str
    message: str
    type: Literal["invalid_request_error", "server_error"]
    param: str | None


class OpenAIError(BaseModel):
    """OpenAI 形状的错误 An error as OpenAI has them."""

    model_config = ConfigDict(extra="forbid")
    error: OpenAIErrorBody
