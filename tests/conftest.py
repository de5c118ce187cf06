"""Fixtures that several test files share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from playwright.sync_api import Browser, sync_playwright

from embeddings.encoder import SentenceEncoder
from rag.config import Settings, read_settings
from rag.ingest import ingest

settings.register_profile("youju", deadline=None)  # times depend on what else the machine does
settings.load_profile("youju")

BROWSER_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def model_home() -> Path:
    """Where the bundled model lives: the user's own place, so that it is made once."""
    return Settings().model_home


@pytest.fixture(scope="session")
def encoder(model_home: Path) -> SentenceEncoder:
    """The bundled model."""
    return SentenceEncoder(home=model_home)


@pytest.fixture(scope="session")
def samples() -> Path:
    return ROOT / "samples"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real compilation, where it stands beside the repository."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder} with the real compilation")
    return folder


@pytest.fixture(scope="session")
def sample_kb(encoder: SentenceEncoder, samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A knowledge base that holds the messy sample, made with the bundled model. Not to be written to."""
    kb = tmp_path_factory.mktemp("sample") / "kb"
    ingest([samples / "compilation.messy.txt"], read_settings(kb=kb), encoder)
    return kb


@pytest.fixture(scope="session")
def compilation_kb(encoder: SentenceEncoder, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A knowledge base that holds the real compilation, made with the bundled model. Not to be written to."""
    kb = tmp_path_factory.mktemp("compilation") / "kb"
    ingest([shared / "corpus" / "governance31.txt"], read_settings(kb=kb), encoder)
    return kb


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium. A module at a time: while it is open, no asynchronous test can run."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        if os.environ.get("YOUJU_REQUIRE_BROWSER") == "1":
            pytest.fail("no Chromium found, and YOUJU_REQUIRE_BROWSER=1 asks for one")
        pytest.skip("no Chromium found (set YOUJU_REQUIRE_BROWSER=1 to make this a failure)")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=BROWSER_FLAGS)
        yield found
        found.close()
