"""The page at scale: the quotes of 100 answers, kept conversations reopened, and a knowledge base of 2,000 articles."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from fakes import FakeEncoder
from fakes_ui import FakeChain
from playwright.sync_api import Browser, BrowserContext, Page, expect
from running import running
from test_tree_browser import LARGE_ARTICLES, large

from rag.chain import Chain
from rag.config import Settings
from rag.examples import examples
from rag.ingest import ingest
from rag.records import Passage
from rag.retrieve import HybridRetriever
from rag.store import Store
from ui.app import create_app

pytestmark = pytest.mark.browser

ANSWERS, TALK = 100, 10  # answers in all, and in one conversation
REOPENED = 3  # conversations

# Asks as a reader does, by the form and Enter, and waits for the finished answer. Gives the number of its marks.
ASK = """async (text) => {
  const box = document.querySelector("#question textarea");
  const before = document.querySelectorAll(".answer").length;
  box.value = text;
  box.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
  const answers = () => document.querySelectorAll(".answer");
  while (answers().length === before || document.querySelector("[data-running]")) {
    if (document.querySelector("#conversation .failure")) throw new Error(`no answer to ${text}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return [...answers()].at(-1).querySelectorAll(".cite").length;
}"""

# Clicks each citation mark of the answers from number `first` on; what then stands in the source.
FOLLOW = """async (first) => {
  const answer = (at) => document.querySelectorAll(".answer")[at];
  const marks = (at) => answer(at).querySelectorAll(".cite");
  const opened = [];
  for (let at = first; at < document.querySelectorAll(".answer").length; at += 1) {
    for (let n = 0; n < marks(at).length; n += 1) {
      const before = document.querySelector("#source article");
      const mark = marks(at)[n];
      mark.click();
      while (document.querySelector("#source article") === before) {
        if (document.querySelector("#source .failure")) throw new Error(mark.hash);
        await new Promise((resolve) => setTimeout(resolve));
      }
      const text = (selector) => [...document.querySelectorAll(`#source ${selector}`)].map((e) => e.textContent);
      opened.push({
        answer: at,
        n: Number(mark.textContent),
        hash: mark.hash,
        quote: text("mark.evidence").join(""),
        title: text("header h2").join(""),
        path: text(".path li"),
      });
    }
  }
  return opened;
}"""

# The answers of the conversation that is open, as the browser keeps it.
KEPT = """() => JSON.parse(localStorage.getItem(`youju-conversation-${sessionStorage.getItem("youju-current")}`))
  .exchanges.map((exchange) => exchange.answer)"""


@contextmanager
def serving(kb: Path, chain: Any) -> Iterator[str]:
    """The address of a server over a chain."""
    with running(create_app(Settings(kb=kb), chain)) as url:
        yield url


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    found = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    yield found
    found.close()


def open_page(context: BrowserContext, url: str) -> Page:
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("#documents .tick", state="attached")
    return page


def headings(store: Store) -> list[str]:
    """A question for each of the documents' headings, those that the page would offer first."""
    articles = [stored.article for stored in store.articles()]
    below = [path[-1].heading for article in articles for path in article.walk() if path[-1].level != "item"]
    return [*examples(articles, len(articles)), *(f"“{h}”说的是什么？" for h in below if 6 <= len(h) <= 24)]


def follow(page: Page, store: Store, first: int = 0) -> int:
    """Follows every mark from an answer on, and compares what opens with the citation and with the document."""
    kept = page.evaluate(KEPT)
    opened = page.evaluate(FOLLOW, first)
    for source in opened:
        (citation,) = (c for c in kept[source["answer"]]["citations"] if c["n"] == source["n"])
        place = parse_qs(source["hash"].removeprefix("#"))
        document = store.document(place["document"][0])
        assert document
        text = document.text[int(place["start"][0]) : int(place["end"][0])]
        assert source["quote"] == citation["quote"] == text
        assert (source["title"], source["path"]) == (citation["article"]["title"], citation["section"])
    return len(opened)


def check_quotes(context: BrowserContext, files: list[Path], kb: Path, asked: list[str]) -> None:
    """Follows the citations of 100 answers, and after a reload again those of conversations that are reopened."""
    settings = Settings(kb=kb, refuse_below=0)
    ingest(files, settings, FakeEncoder())
    retriever = HybridRetriever(store=Store.open(kb), encoder=FakeEncoder())
    store = retriever.store
    questions = list(dict.fromkeys([*asked, *headings(store)]))[:ANSWERS]
    assert len(questions) == ANSWERS
    with serving(kb, Chain(retriever, settings)) as url:
        page = open_page(context, url)
        followed = 0
        for begin in range(0, ANSWERS, TALK):
            page.locator("#again").click()
            for question in questions[begin : begin + TALK]:
                assert page.evaluate(ASK, question) >= 1, question
            followed += follow(page, store)
        assert followed >= ANSWERS
        page.close()
        page = open_page(context, url)
        rows = page.locator("#conversations .open")
        expect(rows).to_have_count(ANSWERS // TALK)
        for row in rows.all()[:: ANSWERS // TALK // REOPENED][:REOPENED]:
            row.click()
            expect(page.locator(".answer")).to_have_count(TALK)
            assert follow(page, store) >= TALK


def test_the_highlighted_text_is_the_quote_in_100_answers_over_the_sample(
    context: BrowserContext, samples: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in (samples / "questions.jsonl").read_text("utf-8").splitlines()]
    asked = [row["question"] for row in rows if not row["history"]]
    check_quotes(context, [samples / "compilation.messy.txt"], tmp_path / "kb", asked)


def test_the_highlighted_text_is_the_quote_in_100_answers_over_the_compilation(
    context: BrowserContext, shared: Path, tmp_path: Path
) -> None:
    check_quotes(context, [shared / "corpus" / "governance31.txt"], tmp_path / "kb", [])


# --- 2,000 articles ----------------------------------------------------------------------------------


class Refusing(FakeChain):
    """Takes the question down and finds nothing."""

    def search(self, *_: Any, **__: Any) -> list[Passage]:
        return []


@pytest.fixture(scope="module")
def large_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, FakeChain]]:
    kb = tmp_path_factory.mktemp("large")
    with Store.open(kb, writable=True, create=True) as writing, writing.transaction():
        writing.set_model("none", 1)
        writing.put(*large(), ())
    chain = Refusing(Store.open(kb))
    with serving(kb, chain) as url:
        yield url, chain


def test_the_page_opens_with_2000_articles_and_asks_within_all_of_them(
    context: BrowserContext, large_site: tuple[str, FakeChain]
) -> None:
    url, chain = large_site
    page = open_page(context, url)  # the server and the browser's cache are warm from here on
    taken = []
    for _ in range(3):
        page.reload()
        page.wait_for_selector("#documents .tick", state="attached")
        from_ours = """() => {
          const begun = performance.getEntriesByType("resource").find((r) => r.name.endsWith("/chat/tree"));
          return performance.now() - begun.startTime;
        }"""
        taken.append(page.evaluate(from_ours))
    assert min(taken) < 1_000, taken  # from the mounted page to the tree's rows
    page.locator("#find").fill("大.txt")
    page.locator("#documents li.document > .row .tick").check()
    assert page.evaluate(ASK, "第7项工作") == 0
    (place,) = chain.asked[-1].within
    document = chain.store.document("大.txt")
    assert document
    assert (place[0], place[1].start, place[1].end) == ("大.txt", 0, len(document.text))
    assert chain.asked[-1].articles == ()
    expect(page.locator(".question .within li")).to_have_text([f"大.txt（{LARGE_ARTICLES} 篇）"])
