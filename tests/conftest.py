"""Fixtures that several test files share."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from playwright.sync_api import Browser, Page, sync_playwright
from watched import Pages, watching

from embeddings.encoder import SentenceEncoder
from rag.config import Settings, read_settings
from rag.ingest import ingest

if TYPE_CHECKING:
    from chat_site import Site
    from fakes_ui import FakeChain
    from fastapi.testclient import TestClient

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


# --- The application over the invented knowledge base: imported where it is used, as Gradio takes seconds -----


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> FakeChain:
    """A chain that needs no model."""
    from fakes_ui import fake_chain

    return fake_chain(tmp_path_factory.mktemp("kb"))


@pytest.fixture(scope="module")
def client(chain: FakeChain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The whole application over that chain, without a network."""
    from fakes_ui import MAX_QUESTION
    from fastapi.testclient import TestClient

    from ui.app import create_app

    settings = Settings(kb=tmp_path_factory.mktemp("unused"), max_question=MAX_QUESTION)
    with TestClient(
        create_app(settings, chain),
        base_url="http://127.0.0.1",
        raise_server_exceptions=False,
        client=("127.0.0.1", 1),
    ) as found:
        yield found


@pytest.fixture(scope="module")
def site(chain: FakeChain) -> Iterator[Site]:
    """The whole application over that chain on a port."""
    from chat_site import serving
    from fakes_ui import MAX_QUESTION

    with serving(Settings(kb=chain.store.folder, max_question=MAX_QUESTION), chain) as found:
        yield found


@pytest.fixture(scope="module")
def module_pages(site: Site, browser: Browser) -> Iterator[Pages]:
    from chat_site import ready

    with watching(browser, site.url, ready) as found:
        yield found


@pytest.fixture(scope="module")
def desk(module_pages: Pages) -> Page:
    """A page of the chat that tests share."""
    return module_pages.open(permissions=["clipboard-read", "clipboard-write"])


@pytest.fixture
def pages(module_pages: Pages) -> Iterator[Pages]:
    """Opens pages of the chat; none speaks to another host or complains."""
    yield module_pages
    module_pages.check()


@pytest.fixture
def page(pages: Pages, desk: Page) -> Page:
    """The shared page as if just opened."""
    from chat_site import begin_anew

    return begin_anew(desk)
