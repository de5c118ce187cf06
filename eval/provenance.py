"""What produced a result: versions, settings, model, data and code, so that it can be produced again."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rag.config import Settings
from rag.errors import PathError
from rag.store import Store

PACKAGES = (
    "youju",
    "faiss-cpu",
    "jieba",
    "langchain-core",
    "numpy",
    "opencc",
    "sentence-transformers",
    "tokenizers",
    "torch",
    "transformers",
)
_SECRET = ("key", "secret", "token", "password")
_ROOT = Path(__file__).resolve().parent.parent
_CODE = ("rag", "embeddings", "eval")


def provenance(settings: Settings, files: Sequence[Path]) -> dict[str, Any]:
    """What decides a run's figures besides the documents. Settings that hold secrets are left out.

    Raises PathError for a file that cannot be read.
    """
    return {
        "versions": {"python": platform.python_version(), **versions(PACKAGES)},
        "settings": {
            name: value
            for name, value in settings.model_dump(mode="json").items()
            if not any(word in name for word in _SECRET)
        },
        "refuse_below": settings.refuse_below,
        "files": [{"name": file.name, "sha256": _sha256(file)} for file in files],
        "code_sha256": code_sha256(),
        "commit": commit(),
    }


def documents(store: Store) -> dict[str, Any]:
    """The documents of a knowledge base and the model that embedded them."""
    model = store.model
    return {
        "model": {"identity": model[0], "dimension": model[1]} if model else None,
        "documents": [
            {"name": d.name, "sha256": d.sha256, "pipeline": d.pipeline} for d in store.documents()
        ],
    }


def _sha256(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise PathError(
            f"文件读不到 (cannot read): {file} ({error.strerror})", "检查路径 (check the path)"
        ) from None


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The installed version of each package; those not installed are left out."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def code_sha256() -> str:
    """One hash of the project's own modules: what is committed does not say what is run."""
    digest = hashlib.sha256()
    for path in sorted(path for package in _CODE for path in (_ROOT / package).glob("*.py")):
        digest.update(path.relative_to(_ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def commit() -> str | None:
    """The commit that the project's code is checked out at, with ``+`` where it was changed since.

    ``None`` where it is installed outside a repository, or there is no git.
    """
    if _git("ls-files", "--error-unmatch", "rag/chain.py") is None:
        return None
    head = _git("rev-parse", "HEAD")
    return head and head + ("+" if _git("status", "--porcelain", "--", *_CODE) else "")


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(_ROOT), *arguments], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
