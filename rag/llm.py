"""The language model that the settings name, through LangChain's ``init_chat_model``.

Any OpenAI-compatible endpoint comes with the installation (``openai:<model>`` with a base address); other providers are
packages of their own. The key is a secret of the settings: it is handed to the client and nowhere else.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage

from rag.config import Settings
from rag.errors import ConfigError, LanguageModelError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

POLL = 0.05  # seconds


class LanguageModel:
    """A chat model with a limit on its concurrent answers and on the time that one may take."""

    def __init__(self, chat: BaseChatModel, settings: Settings) -> None:
        self.name = settings.llm
        self._chat = chat
        self._deadline = settings.llm_deadline
        self._idle = settings.llm_timeout
        self._places = threading.BoundedSemaphore(settings.llm_concurrency)

    def stream(self, messages: Sequence[BaseMessage]) -> Generator[str]:
        """The pieces of an answer as they come; "" every ``POLL`` seconds while there is none, so that the caller may
        let others have their turn or give up.

        Raises LanguageModelError where the model fails, is silent for ``llm_timeout`` or takes more than
        ``llm_deadline`` seconds. Closing the iterator ends the request with the next piece.
        """
        begun = last = time.monotonic()
        with self._place():
            pieces: queue.Queue[str | Exception | None] = queue.Queue()
            ended = threading.Event()
            threading.Thread(
                target=self._read, args=(list(messages), pieces, ended), name="youju-llm", daemon=True
            ).start()
            try:
                while True:
                    try:
                        piece = pieces.get(timeout=POLL)
                    except queue.Empty:
                        piece = ""
                    now = time.monotonic()
                    if piece is None:
                        return
                    if isinstance(piece, Exception):
                        raise _explained(piece, self.name)
                    if piece:
                        last = now
                    if now - begun > self._deadline:
                        raise _slow(self.name, self._deadline, "llm_deadline")
                    if now - last > self._idle:
                        raise _slow(self.name, self._idle, "llm_timeout")
                    yield piece
            finally:
                ended.set()

    def complete(self, messages: Sequence[BaseMessage]) -> str:
        """The whole answer. Raises as ``stream``."""
        return "".join(self.stream(messages))

    def _read(
        self, messages: list[BaseMessage], pieces: queue.Queue[str | Exception | None], ended: threading.Event
    ) -> None:
        """Runs in a thread of its own, as the clients wait without end of their own accord."""
        try:
            for chunk in self._chat.stream(messages):
                if ended.is_set():
                    return
                text = chunk.text
                if text:
                    pieces.put(text)
            pieces.put(None)
        except Exception as error:  # whatever the provider's client raises is told to the caller
            pieces.put(error)

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(timeout=self._idle):
            raise LanguageModelError(
                "语言模型正忙 (too many answers at once)",
                "稍后再问, 或调高 llm_concurrency (ask again later)",
            )
        try:
            yield
        finally:
            self._places.release()


def open_model(settings: Settings) -> LanguageModel | None:
    """The language model that the settings name; None where they name none. Nothing is contacted yet.

    Raises ConfigError for a provider that is unknown or not installed, naming the command that installs it.
    """
    if not settings.llm:
        return None
    from langchain.chat_models import init_chat_model

    provider, _, model = settings.llm.partition(":")
    if not model:
        raise ConfigError(
            f"llm 应写成 provider:model, 不是 (should be provider:model): {settings.llm}",
            "例如 (for example) YOUJU_LLM=openai:deepseek-chat",
        )
    try:
        chat = init_chat_model(model, model_provider=provider, **_options(settings, provider))
    except ImportError as error:
        package = f"langchain-{provider.replace('_', '-')}"
        raise ConfigError(
            f"没有安装 {provider} 的接口 (the package for {provider} is not installed): {_first_line(error)}",
            f".venv/bin/pip install {package}",
        ) from None
    except Exception as error:
        raise ConfigError(
            f"语言模型 {settings.llm} 不可用 (cannot be used): {_first_line(error)}",
            "改正 YOUJU_LLM、YOUJU_LLM_BASE_URL、YOUJU_LLM_API_KEY (mend these settings)",
        ) from None
    return LanguageModel(chat, settings)


def _options(settings: Settings, provider: str) -> dict[str, Any]:
    """What the provider's client is made with."""
    options: dict[str, Any] = {"temperature": settings.llm_temperature}
    if settings.llm_base_url:
        options["base_url"] = settings.llm_base_url
    if provider == "ollama":  # its client has other names for these, and no key
        return options | {
            "num_predict": settings.llm_max_tokens,
            "num_ctx": settings.llm_context,
            "client_kwargs": {"timeout": settings.llm_timeout},
        }
    if settings.llm_api_key:
        options["api_key"] = settings.llm_api_key.get_secret_value()
    elif provider == "openai" and settings.llm_base_url:
        options["api_key"] = "none"  # servers on the intranet ask for none, the client does
    return options | {
        "timeout": settings.llm_timeout,
        "max_retries": settings.llm_retries,
        "max_tokens": settings.llm_max_tokens,
    }


def _explained(error: Exception, name: str) -> LanguageModelError:
    """What the client raised, as a user can act on it; never with the key."""
    status = getattr(error, "status_code", None)
    known = {
        401: ("密钥不对 (the key is refused)", "改正 YOUJU_LLM_API_KEY (mend the key)"),
        403: ("密钥没有权限 (the key may not use it)", "改正 YOUJU_LLM_API_KEY (mend the key)"),
        404: ("没有这个模型或地址 (no such model or address)", "改正 YOUJU_LLM 或 YOUJU_LLM_BASE_URL"),
        429: ("请求太多 (too many requests)", "稍后再试, 或换一个额度更高的密钥 (try later)"),
    }
    if status in known:
        problem, remedy = known[status]
    elif "Timeout" in type(error).__name__:
        problem, remedy = "超时 (timed out)", "检查服务, 或调高 llm_timeout (check the service)"
    elif "Connection" in type(error).__name__ or isinstance(error, OSError):
        problem, remedy = "连接不上或连接中断 (the connection failed)", "检查 YOUJU_LLM_BASE_URL 和网络"
    elif status:
        problem, remedy = f"服务出错 {status} (the service failed)", "稍后再试, 或查看服务的日志 (try later)"
    else:
        problem, remedy = f"回应不能用 ({type(error).__name__})", "查看服务的日志 (see the service's log)"
    return LanguageModelError(f"语言模型 {name}: {problem}", remedy)


def _slow(name: str, seconds: float, setting: str) -> LanguageModelError:
    return LanguageModelError(
        f"语言模型 {name}: {seconds:g} 秒内没有答完 (took more than {seconds:g} s)",
        f"检查服务, 或调高 {setting} (check the service, or allow more)",
    )


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
