"""Settings: read once at the edge, then passed as one frozen object.

Precedence: command-line flags > environment ``YOUJU_*`` > ``youju.toml`` in the working folder > defaults.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from platformdirs import user_data_path
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from rag.errors import ConfigError

CONFIG_FILE = "youju.toml"


class Settings(BaseSettings):
    """All settings of one run. Lengths are characters, times seconds."""

    model_config = SettingsConfigDict(env_prefix="YOUJU_", frozen=True, extra="forbid")

    kb: Path = Field(default_factory=lambda: user_data_path("youju") / "kb")
    model: str = "bundled"  # or a sentence-transformers name or folder
    model_home: Path = Field(default_factory=lambda: user_data_path("youju") / "models")
    query_prompt: str | None = None  # None: what the model's own configuration says
    passage_prompt: str | None = None
    reader: str = "bundled"  # or none, or a cross-encoder's name or folder
    threads: int | None = Field(default=None, ge=1)
    batch_size: int = Field(default=32, ge=1)
    llm: str = ""  # provider:model; none: answers are extracts
    llm_base_url: str = ""
    llm_api_key: SecretStr | None = None
    llm_timeout: float = Field(default=30, gt=0)  # of silence
    llm_deadline: float = Field(default=120, gt=0)  # of a whole answer
    llm_retries: int = Field(default=2, ge=0)
    llm_concurrency: int = Field(default=4, ge=1)
    llm_context: int = Field(default=8_192, ge=1_024)  # tokens of prompt and answer
    llm_max_tokens: int = Field(default=1_024, ge=64)
    llm_temperature: float = Field(default=0, ge=0, le=2)
    checker: str = (
        "bundled"  # of what a language model writes; or lexical, llm, a cross-encoder, a file of weights
    )
    unsupported: Literal["mark", "drop"] = "mark"  # what becomes of a sentence without support
    refuse_below: float = Field(default=0.5, ge=0, le=1)
    doubt_below: float = Field(
        default=0.85, ge=0, le=1
    )  # answered with a word of doubt, unless refuse_below is 0
    max_question: int = Field(default=2_000, ge=1)
    rate: str = Field(  # questions of one key, or of one address that is not this machine
        default="60/minute", pattern=r"^[1-9]\d{0,8}/(second|minute|hour|day)$"
    )
    max_answers: int = Field(default=64, ge=1)  # made or waited for at once
    allow_upload: bool = False  # the page may add, re-read and remove documents
    max_upload: int = Field(default=50_000_000, ge=1)  # bytes of a file
    host: str = "127.0.0.1"
    port: int = Field(default=7860, ge=0, le=65535)
    workers: int = Field(default=1, ge=1)  # processes that serve
    stop_timeout: float = Field(default=30, ge=0)  # for running answers, when the server is told to stop
    write_timeout: float = Field(default=30, gt=0)  # until a reader who takes nothing is cut off
    log_format: Literal["text", "json"] = "text"
    log_questions: bool = False  # questions in the log; answers never are
    mcp: bool = False  # tools for assistants at /mcp

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, Path(CONFIG_FILE))


def read_settings(**flags: Any) -> Settings:
    """Settings with the given command-line flags on top; a flag of ``None`` was not given.

    Raises ConfigError that names the setting at fault.
    """
    try:
        return Settings(**{k: v for k, v in flags.items() if v is not None})
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{CONFIG_FILE} 不是有效的 TOML (not valid TOML): {error}", f"改正 {CONFIG_FILE} (mend the file)"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "?"
        raise ConfigError(
            f"设置 {name} 不可用 (setting cannot be used): {first['msg']}",
            f"改正参数 --{name.replace('_', '-')}、环境变量 YOUJU_{name.upper()} 或 {CONFIG_FILE}",
        ) from None
