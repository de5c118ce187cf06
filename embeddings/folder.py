"""What a sentence-transformers folder says about its model, read without loading it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embeddings.bundled import prepare, read_manifest
from embeddings.errors import ModelError

BUNDLED = "bundled"
SAMPLES, SAMPLE = 256, 4096  # pieces of a weight file that its fingerprint is taken over, and their bytes


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A model on disk. ``pooling`` is None where token vectors are not simply pooled into the text's."""

    path: Path
    name: str
    fingerprint: str
    query_prompt: str
    passage_prompt: str
    pooling: str | None
    config: dict[str, Any]  # of the transformer
    max_tokens: int | None

    @property
    def is_plain_bert(self) -> bool:
        """Whether ``embeddings.bert`` computes it: a common BERT, pooled by mean or first token."""
        return (
            self.pooling in ("mean", "cls")
            and self.config.get("model_type") == "bert"
            and self.config.get("hidden_act") == "gelu"
            and self.config.get("position_embedding_type", "absolute") == "absolute"
            and not self.config.get("is_decoder", False)
            and (self.path / "model.safetensors").is_file()
            and (self.path / "tokenizer.json").is_file()
        )


def find_model(model: str, home: Path) -> ModelFolder:
    """The folder of ``"bundled"`` (made below ``home`` when needed), a folder's path, or a model's name.

    A name is looked up among the models already on this machine; nothing is fetched. Raises ModelError.
    """
    if model == BUNDLED:
        return read_folder(prepare(home))
    path = Path(model).expanduser()
    return read_folder(path if path.is_dir() else _cached(model), name=model.rstrip("/").rsplit("/", 1)[-1])


def read_folder(path: Path, name: str | None = None) -> ModelFolder:
    """Reads the folder's configuration. Raises ModelError when it is no sentence-transformers folder."""
    modules = _read_json(path / "modules.json")
    if not isinstance(modules, list) or not modules:
        raise ModelError(
            f"{path} 不是 sentence-transformers 模型文件夹 (modules.json missing or unreadable)",
            "指向含 modules.json 的文件夹,或把 YOUJU_MODEL 设回 bundled",
        )
    root = path / modules[0].get("path", "")
    config = _read_json(root / "config.json") or {}
    prompts = (_read_json(path / "config_sentence_transformers.json") or {}).get("prompts") or {}
    limits = [
        (_read_json(root / "sentence_bert_config.json") or {}).get("max_seq_length"),
        (_read_json(root / "tokenizer_config.json") or {}).get("model_max_length"),
        config.get("max_position_embeddings"),
    ]
    manifest = read_manifest(path)
    return ModelFolder(
        path=path,
        name=manifest["name"] if manifest else name or path.resolve().name,
        fingerprint=f"{manifest['source_sha256'][:16]}.{manifest['version']}" if manifest else _hash(path),
        query_prompt=prompts.get("query") or "",
        passage_prompt=prompts.get("document") or prompts.get("passage") or "",
        pooling=_pooling(path, modules),
        config=config,
        max_tokens=min((int(limit) for limit in limits if limit), default=None),
    )


def _cached(name: str) -> Path:
    """The folder of a named model in the Hugging Face cache of this machine."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    for full in (name, f"sentence-transformers/{name}"):
        try:
            return Path(snapshot_download(full, local_files_only=True))
        except (LocalEntryNotFoundError, HFValidationError):
            continue
    raise ModelError(
        f"本机没有嵌入模型 {name} (the embedding model is not on this machine; nothing is downloaded)",
        f"在能联网的机器上运行 hf download {name} --local-dir DIR,把 DIR 拷来,并把 YOUJU_MODEL 设为该文件夹;"
        "或用默认的 bundled",
    )


def _pooling(path: Path, modules: list[dict[str, Any]]) -> str | None:
    """The pooling mode of a model made of a transformer, one pooling and at most a normalisation."""
    kinds = [str(module.get("type", "")).rsplit(".", 1)[-1] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        return None
    config = _read_json(path / modules[1].get("path", "") / "config.json") or {}
    modes = config.get("pooling_mode") or [
        key.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token")
        for key, on in config.items()
        if key.startswith("pooling_mode_") and on is True
    ]
    modes = [modes] if isinstance(modes, str) else modes
    return modes[0] if len(modes) == 1 and config.get("include_prompt", True) else None


def _hash(path: Path) -> str:
    """A fingerprint of configuration and weights; large files by samples, for they can be gigabytes."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if file.suffix not in (".json", ".safetensors", ".bin", ".txt", ".model") or not file.is_file():
            continue
        size = file.stat().st_size
        digest.update(f"{file.relative_to(path).as_posix()} {size}\n".encode())
        with file.open("rb") as stream:
            step = max(SAMPLE, size // SAMPLES)
            for offset in range(0, size, step):
                stream.seek(offset)
                digest.update(stream.read(SAMPLE))
    return digest.hexdigest()[:16]


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
