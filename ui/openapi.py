"""The API described: one OpenAPI document for programs, and pages that show it without any other host."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel

from ui import schemas
from ui.schemas import Answer, Citation, Error, OpenAIError, Passage, Sentence

VERSION = "1"
DESCRIPTION = """\
向文件提问，每一句都带出处。用法与例子见 docs/api.md。
*Ask the documents; every sentence comes with its sources. Usage and examples: docs/api.md.*

- 出错时是 `{"error": {"code", "message"}}`，`/v1` 是 OpenAI 的形状。没有的地址是 404，方法不对是 405，都是 JSON。
  *Errors, also 404 for an unknown path and 405 for another method.*
- 每个响应都有 `X-Request-Id`，日志里也记着它；请求带来的会沿用（至多 64 个字母、数字、`.`、`_`、`-`）。
  *Every response carries it, and so does the log; a request's own is kept.*
- 知识库有密钥时，要 `Authorization: Bearer yj_…`。*Where the knowledge base has keys, one is needed.*
- 位置按 Unicode 字符数，从 0 起，不含末位。*Places count code points from 0, the end excluded.*
"""
TAGS = [
    {"name": "api", "description": "提问与阅读 Asking and reading"},
    {"name": "openai", "description": "与 OpenAI 兼容 OpenAI-compatible"},
    {"name": "operation", "description": "运维 Operation"},
]

_FAILURES = {
    400: ("请求体不是 JSON The body is no JSON", "bad_json", "请求不合要求 (invalid request)"),
    401: ("需要密钥 A key is needed", "unauthorized", "需要密钥 (a key is needed)"),
    403: ("密钥没有这个权限 The key has no such scope", "forbidden", "密钥没有这个权限 (not allowed)"),
    404: ("没有 There is none", "unknown_article", "没有这篇文章 (no such article)"),
    409: ("编号属于另一个问题 Another question's id", "other_stream", "属于另一个问题 (another question's)"),
    410: ("流已不在了 The stream is gone", "stream_gone", "这个流已不在了 (no such stream any more)"),
    413: ("问题或请求太长 Too long", "question_too_long", "问题太长，请缩短 (the question is too long)"),
    422: ("请求不合要求 Invalid request", "invalid_request", "请求不合要求 (invalid request): body.question"),
    429: (
        "太频繁，`Retry-After` 秒后再试 Too many requests",
        "too_many_requests",
        "提问太频繁 (too many requests)",
    ),
    503: ("太忙或暂不可用，`Retry-After` 秒后再试 Busy or unavailable", "busy", "正在回答的问题太多 (busy)"),
}
_KEY = {"key": {"type": "http", "scheme": "bearer", "description": "youju keys add"}}
_RETRY = {
    "Retry-After": {"description": "秒 Seconds", "schema": {"type": "string", "pattern": "^[0-9]+$"}},
}


def _event(name: str, data: dict[str, Any]) -> dict[str, Any]:
    """The schema of a server-sent event; ``data`` is that of the JSON in it."""
    return {
        "type": "object",
        "required": ["id", "event", "data"],
        "properties": {
            "id": {"type": "string"},
            "event": {"type": "string", "const": name},
            "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": data},
        },
    }


def _fields(**types: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": types, "required": list(types)}


def _ref(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


# Before OpenAPI 3.2, the schema of a stream is that of each event in it.
STREAM = {
    "text/event-stream": {
        "schema": {
            "description": "`id` 是“流.序号”；最后是 `done` 或 `error`；`discarded`：之前的句子作废 "
            "*`id` is the stream, a dot and a number; `done` or `error` is the last; `discarded`: what was said is void*",
            "oneOf": [
                _event("retrieved", _fields(retrieved={"type": "array", "items": _ref(Passage)})),
                _event("citation", _ref(Citation)),
                _event("sentence", _ref(Sentence)),
                _event("discarded", _fields(reason={"type": "string"})),
                _event("done", _ref(Answer)),
                _event("error", _ref(Error)),
            ],
        }
    }
}
CHUNKS = {
    "text/event-stream": {
        "schema": {
            "description": "`data` 是 `chat.completion.chunk`，一句一个，最后一个带 `annotations` 和 `youju`，再是 `[DONE]` "
            "*a `chat.completion.chunk` for each sentence, the last with both; then `[DONE]`*",
            **_fields(data={"type": "string"}),
        }
    }
}


def failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The descriptions of responses with these statuses, each with an example."""
    return {status: _failure(status, Error, {}) for status in statuses}


def openai_failures(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The same in OpenAI's shape."""
    return {
        status: _failure(
            status,
            OpenAIError,
            {"type": "invalid_request_error" if status < 500 else "server_error", "param": "messages"},
        )
        for status in statuses
    }


def _failure(status: int, model: type[Error | OpenAIError], more: dict[str, Any]) -> dict[str, Any]:
    description, code, message = _FAILURES[status]
    example = {"error": {"code": code, "message": message, **more}}
    return {
        "model": model,
        "description": description,
        "content": {"application/json": {"example": example}},
        **({"headers": _RETRY} if status == 429 else {}),
    }


def describe(app: FastAPI) -> None:
    """Let ``app.openapi()`` be the description of its routes."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title, version=VERSION, description=DESCRIPTION, tags=TAGS, routes=app.routes
            )
            made["components"]["securitySchemes"] = _KEY
            made["security"] = [{}, {"key": []}]  # a server without keys asks for none
            app.openapi_schema = _with_nulls(_without_unsent(made))
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _without_unsent(described: dict[str, Any]) -> dict[str, Any]:
    """FastAPI's own error of invalid requests is never sent."""
    for name in ("HTTPValidationError", "ValidationError"):
        described["components"]["schemas"].pop(name, None)
    for path in described["paths"].values():
        for operation in path.values():
            responses = operation["responses"]
            if "HTTPValidationError" in json.dumps(responses.get("422", {})):
                del responses["422"]
    return described


def _with_nulls(described: dict[str, Any]) -> dict[str, Any]:
    """The models' own examples: FastAPI leaves out what is null in them."""
    for name, schema in described["components"]["schemas"].items():
        model = getattr(schemas, name, None)
        if model is not None and "examples" in schema:
            schema.update(model.model_config["json_schema_extra"])
    return described


def description(app: FastAPI) -> APIRouter:
    """``/openapi.json``, and ``/docs`` which shows it."""
    router = APIRouter(include_in_schema=False)

    @router.get("/openapi.json")
    @router.get("/api/openapi.json")
    def openapi(request: Request) -> Response:
        root = request.scope.get("root_path", "").rstrip("/")
        servers = {"servers": [{"url": root}]} if root else {}
        return JSONResponse({**app.openapi(), **servers})

    @router.get("/docs", response_class=HTMLResponse)
    def docs() -> str:
        return _PAGE

    @router.get("/docs/page.js")
    def script() -> Response:
        return Response(_SCRIPT, media_type="text/javascript")

    return router


def swagger_ui() -> StaticFiles:
    """Swagger UI's own files."""
    return StaticFiles(directory=Path(str(resources.files("fastapi_swagger") / "resources")))


_PAGE = """\
<!DOCTYPE html>
<html lang="zh-CN">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>有据 Youju：接口 API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger/swagger-ui.css">
</head>
<body>
<main id="description"></main>
<script src="docs/swagger/swagger-ui-bundle.js"></script>
<script src="docs/page.js"></script>
</body>
</html>
"""
_SCRIPT = """\
SwaggerUIBundle({ url: "openapi.json", dom_id: "#description", validatorUrl: null, tryItOutEnabled: true });
"""
