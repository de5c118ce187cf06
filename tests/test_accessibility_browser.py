"""Accessibility of the chat in Chromium: axe-core in every state, and a walk by keyboard alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

import pytest
from axe_playwright_python.sync_playwright import Axe
from chat_site import Site, ready, serving
from fakes_ui import BROKEN, DOUBTFUL, MAX_QUESTION, FakeChain
from playwright.sync_api import Browser, Locator, Page, expect
from watched import watching

from rag.config import Settings
from rag.records import Event, Question, Said

pytestmark = pytest.mark.browser

QUESTION = "青禾县到2027年建成多少个数字乡村示范村？"
LISTING = "村级网格员、田间课堂、返乡青年"  # answered by three items
QUOTE = "到2027年，全县行政村5G覆盖率达到98%，建成数字乡村示范村36个。"
DARK = "document.body.classList.toggle('dark', {})"
MOVES = 40  # presses of Tab within which everything must be reached


@pytest.fixture(scope="module")
def site(chain: FakeChain) -> Iterator[Site]:
    """A running server that lets documents be added."""
    settings = Settings(kb=chain.store.folder, max_question=MAX_QUESTION, allow_upload=True)
    with serving(settings, chain) as found:
        yield found


@pytest.fixture
def open_page(site: Site, browser: Browser) -> Iterator[Callable[..., Page]]:
    """Opens the chat, and afterwards asserts that it spoke to its own host only."""
    with watching(browser, site.url, ready) as pages:
        yield pages.open
        pages.forgive("Failed to load resource")  # some tests break the server


@pytest.fixture
def examine() -> Iterator[Callable[[Page, str], None]]:
    """Lets axe examine a state, light and dark; afterwards asserts that nothing serious was found in any."""
    found: dict[str, list[str]] = {}

    def examined(page: Page, state: str) -> None:
        found[state] = violations(page)
        page.evaluate(DARK.format("true"))
        found[f"{state}, dark"] = violations(page, "color-contrast", "link-in-text-block")
        page.evaluate(DARK.format("false"))

    yield examined
    assert {state: problems for state, problems in found.items() if problems} == {}


def violations(page: Page, *rules: str) -> list[str]:
    """What axe finds serious or critical: each rule with the places where it is broken."""
    options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
    return [
        f"{broken['id']}: {[node['target'] for node in broken['nodes']]}"
        for broken in Axe().run(page, options=options).response["violations"]
        if broken["impact"] in ("serious", "critical")
    ]


def ask(page: Page, question: str) -> Locator:
    """Asks by keyboard; gives the exchange."""
    before = page.locator(".exchange").count()
    page.locator("#question textarea").fill(question)
    page.keyboard.press("Enter")
    exchange = page.locator(".exchange").nth(before)
    expect(exchange).to_be_visible()
    return exchange


@contextmanager
def held(chain: FakeChain, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Holds answers back after their first sentence."""
    go = threading.Event()
    whole = chain.stream

    def stream(question: Question) -> Iterator[Event]:
        for event in whole(question):
            yield event
            assert not isinstance(event, Said) or go.wait(120)

    patch.setattr(chain, "stream", stream)
    yield
    go.set()


def tab_to(page: Page, place: Locator, back: bool = False) -> None:
    """Presses Tab until the place has the focus."""
    for _ in range(MOVES):
        page.keyboard.press("Shift+Tab" if back else "Tab")
        if place.evaluate("place => place === document.activeElement"):
            return
    raise AssertionError(f"{place} is not reached in {MOVES} presses of Tab")


def test_axe_finds_nothing_serious_in_answers(
    site: Site,
    open_page: Callable[..., Page],
    examine: Callable[[Page, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = open_page()
    examine(page, "first page")
    with monkeypatch.context() as patch, held(site.chain, patch):
        exchange = ask(page, QUESTION)
        expect(exchange.locator(".answering .sentence")).to_be_visible()
        examine(page, "answering")
    expect(exchange.locator(".answer.answered")).to_be_visible()
    expect(page.locator(".next .example").first).to_be_visible()
    examine(page, "answered")
    expect(ask(page, f"数字乡村示范村？{DOUBTFUL}").locator(".unsupported")).to_be_visible()
    examine(page, "unsupported")
    expect(ask(page, "火星移民").locator(".answer.refused .nearby a").first).to_be_visible()
    examine(page, "refused")
    expect(ask(page, BROKEN).locator(".failure")).to_be_visible()
    examine(page, "failure")


def test_axe_finds_nothing_serious_in_sources_tree_and_menus(
    open_page: Callable[..., Page], examine: Callable[[Page, str], None]
) -> None:
    page = open_page()
    exchange = ask(page, LISTING)
    exchange.locator(".cite").first.click()
    expect(page.locator("mark.evidence").first).to_be_visible()
    page.locator(".cite").nth(1).hover()
    expect(page.locator(".cite-preview")).to_be_visible()
    examine(page, "source with preview")
    page.locator(".source .outline summary").click()
    examine(page, "outline of the source")
    page.locator("#close-source").click()
    page.locator("#find").fill("队伍")
    expect(page.locator(".tree mark.hit")).to_have_text("队伍")
    page.locator(".tree .section .tick").last.check()
    expect(page.locator("#scope .chip")).to_have_count(1)
    examine(page, "tree searched, a section ticked")
    exchange.locator(".edit").click()
    examine(page, "editing")
    page.keyboard.press("Escape")
    exchange.locator(".share").click()
    examine(page, "export menu")
    page.keyboard.press("Escape")
    exchange.locator("[data-verdict=wrong]").click()
    expect(exchange.locator(".remark input")).to_be_visible()
    examine(page, "feedback")
    page.locator("#library summary").first.click()
    expect(page.locator("#library .held li")).to_have_count(1)
    examine(page, "library")


def test_axe_finds_nothing_serious_on_a_phone(
    open_page: Callable[..., Page], examine: Callable[[Page, str], None]
) -> None:
    page = open_page(width=390, height=844)
    page.locator("#show-documents").click()
    expect(page.locator("#find")).to_be_visible()
    examine(page, "drawer")
    page.keyboard.press("Escape")
    ask(page, QUESTION).locator(".cite").click()
    expect(page.locator("mark.evidence")).to_have_text(QUOTE)
    expect(page.locator(".source .path")).to_have_text("一、总体目标")
    expect(page.locator("#source-panel .steps .back")).to_be_in_viewport()
    examine(page, "source on a phone")


def test_keyboard_alone_leads_from_question_to_source_to_export(
    open_page: Callable[..., Page], tmp_path: Path
) -> None:
    page = open_page()
    expect(page.locator("#question textarea")).to_be_focused()
    page.keyboard.type(QUESTION)
    page.keyboard.press("Enter")
    expect(page.locator(".answer.answered")).to_be_visible()
    cite = page.locator(".cite")
    tab_to(page, cite, back=True)
    expect(page.locator(".cite-preview .quote")).to_have_text(QUOTE)
    page.keyboard.press("Enter")
    expect(page.locator("mark.evidence")).to_have_text(QUOTE)
    assert page.evaluate("document.querySelector('#source-panel').contains(document.activeElement)")
    tab_to(page, page.locator("#source-panel .back"), back=True)
    page.keyboard.press("Enter")
    expect(cite).to_be_focused()
    tab_to(page, page.locator(".exchange .share"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Word")).to_be_focused()
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename.endswith(".docx")
    download.value.save_as(tmp_path / "answer.docx")
    with ZipFile(tmp_path / "answer.docx") as word:
        assert QUOTE in word.read("word/footnotes.xml").decode("utf-8")


def test_keyboard_alone_reads_and_ticks_a_section_of_the_tree(open_page: Callable[..., Page]) -> None:
    page = open_page()
    tab_to(page, page.locator("#find"), back=True)
    page.keyboard.type("队伍")
    expect(page.locator(".tree mark.hit")).to_have_text("队伍")
    page.keyboard.press("ArrowDown")
    section = page.locator(".tree .section .open", has_text="建强服务队伍")
    for _ in range(MOVES):
        if section.evaluate("place => place === document.activeElement"):
            break
        page.keyboard.press("ArrowDown")
    expect(section).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator(".source .path")).to_contain_text("建强服务队伍")
    page.keyboard.press("Escape")
    expect(section).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    expect(page.locator("#scope .chip")).to_contain_text("建强服务队伍")
    tab_to(page, page.locator("#question textarea"))
    page.keyboard.type(LISTING)
    page.keyboard.press("Enter")
    expect(page.locator(".question .within")).to_contain_text("建强服务队伍")
    expect(page.locator(".answer.answered")).to_contain_text("办好田间课堂")


def test_an_open_library_leaves_the_tree_its_room(open_page: Callable[..., Page]) -> None:
    page = open_page(width=1280, height=700)
    page.locator("#library summary").first.click()
    expect(page.locator("#library .drop")).to_be_visible()
    tree, library = (page.locator(part).bounding_box() for part in ("#tree .content", "#library"))
    assert tree and library
    assert tree["height"] >= 150
    assert tree["y"] + tree["height"] <= library["y"] + 1
