"""Payloads in every place of the chat and of the widget: shown as they are written, and nothing else comes of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from chat_site import ask, ready
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from markdown_it import MarkdownIt
from markup import Page as Markup
from payload_site import GROUPS, REFUSED, SECTIONS, TEXTS, hostile_chain, hostile_document
from payloads import EVIL
from playwright.sync_api import Browser, Page, expect
from running import free_port, running
from watched import Pages, watching

from rag.config import Settings
from ui.access import AccessStore
from ui.app import create_app
from ui.report import one_line
from ui.sites import Sites

pytestmark = pytest.mark.browser

SIDE_BY_SIDE = 100  # widgets in a page
MANY = "100000/minute"
LINES = [one_line(text) for text in TEXTS]

# In every frame, before its own scripts: a payload that runs is complained of in the console.
TRAP = """
Object.defineProperty(window, "__hit", { set: (number) => console.error(`payload ${number} ran`) });
for (const name of ["alert", "confirm", "prompt", "open"])
  window[name] = (...said) => console.error(`payload ${said.join()} ran: ${name}`);
"""

# What the walks through the pages need: `strange` are the elements that none of our modules makes.
PROBE = """
window.probe = {
  async until(found) {
    const end = Date.now() + 15000;
    for (let what = found(); ; what = found()) {
      if (what) return what;
      if (Date.now() > end) throw new Error(`it did not come: ${found}`);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  },
  texts: (root, selector) => [...root.querySelectorAll(selector)].map((element) => element.textContent),
  enter(box, text) {
    box.value = text;
    box.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
  },
  strange(root) {
    const own = `a article aside b button details div form h1 h2 h3 h4 header input label li main mark nav ol p q section
      small span strong summary textarea ul wbr`.split(/\\s+/);
    const loads = ["src", "srcset", "srcdoc", "action", "formaction", "background", "ping", "data", "poster", "xlink:href"];
    const bad = ({ name, value }) =>
      name.startsWith("on") || loads.includes(name) || (name === "style" && /url|set\\(|expression/.test(value)) ||
      (name === "href" && !value.startsWith("#document="));
    return [...root.querySelectorAll("*")]
      .filter((element) => !own.includes(element.localName) || [...element.attributes].some(bad))
      .map((element) => element.outerHTML.slice(0, 300));
  },
};
"""


def trapped(page: Page) -> None:
    page.add_init_script(TRAP + PROBE)
    page.route(re.compile(rf"^\w+://{re.escape(EVIL)}\b"), lambda route: route.abort())


@dataclass(frozen=True)
class Hostile:
    """A running server whose documents are payloads, and pages that embed its widget."""

    url: str
    embedding: str
    sites: list[str]  # an id for each title


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    kb, port = tmp_path_factory.mktemp("kb"), free_port()
    chain = hostile_chain(kb)
    settings = Settings(
        kb=kb,
        allow_upload=True,
        widget_per_session=MANY,
        widget_per_address=MANY,
        widget_sessions=MANY,
    )
    embedding = f"http://127.0.0.1:{port}"
    sites = Sites(AccessStore(kb))
    titled = [sites.put(f"站点{n}", [embedding], title=title).id for n, title in enumerate(titles())]
    with running(create_app(settings, chain)) as url, running(embedder(url, titled), port):
        yield Hostile(url, embedding, titled)


def titles() -> list[str]:
    """The payloads that can be a site's title: one short line."""
    return [text for text in TEXTS if len(text) <= 100 and re.fullmatch(r"[^\x00-\x1f\x7f-\x9f]*", text)]


def embedder(youju: str, sites: list[str]) -> FastAPI:
    """Pages of another origin with a widget for each of some sites, and no policy that would hold a payload back."""
    app = FastAPI()

    @app.get("/{first}/{after}")
    def page(first: int, after: int) -> HTMLResponse:
        scripts = "".join(
            f'<script src="{youju}/widget.js" data-site="{site}" data-mode="inline"></script>'
            for site in sites[first:after]
        )
        head = '<!doctype html><html lang="zh"><title>门户</title><link rel="icon" href="data:,">'
        return HTMLResponse(f"{head}<body>{scripts}</body></html>")

    return app


@pytest.fixture(scope="module")
def watched_pages(hostile: Hostile, browser: Browser) -> Iterator[Pages]:
    with watching(browser, hostile.url, ready, trapped) as found:
        yield found


@pytest.fixture
def pages(watched_pages: Pages) -> Iterator[Pages]:
    """Opens pages; no payload ran, no other host was asked, nothing was complained of."""
    yield watched_pages
    watched_pages.check()


@pytest.fixture
def widgets(hostile: Hostile, browser: Browser) -> Iterator[Pages]:
    """Opens pages that embed the widget, under the same watch."""
    with watching(browser, hostile.embedding, lambda page: None, trapped) as found:
        yield found


def strange(page: Page, *selectors: str) -> list[str]:
    """What stands in these parts of the page that is not made by the page's own modules."""
    found: list[str] = page.evaluate(
        "selectors => selectors.flatMap((s) => [...document.querySelectorAll(s)].flatMap(probe.strange))",
        selectors,
    )
    return found


# --- The watch itself --------------------------------------------------------------------------------


def test_payloads_taken_for_markup_are_noticed(browser: Browser) -> None:
    page = browser.new_page()
    noticed: set[str] = set()
    page.on("console", lambda m: noticed.update(re.findall(r"payload (\d+) ran", m.text)))
    page.on("request", lambda r: noticed.update(re.findall(rf"^https://{EVIL}/(\d+)", r.url)))
    trapped(page)
    page.goto("about:blank")
    changed = 0
    for at in range(0, len(TEXTS), 40):  # a frame for each: some of them are processes
        changed += page.evaluate(
            """async (texts) => {
              const frames = texts.map((text) => {
                const frame = document.createElement("iframe");
                frame.srcdoc = `<!doctype html><body>${text}`;
                return frame;
              });
              document.body.replaceChildren(...frames);
              await new Promise((resolve) => setTimeout(resolve, 250));
              const intact = (frame, at) =>
                frame.contentDocument?.body?.textContent === texts[at] && !probe.strange(frame.contentDocument.body).length;
              return frames.filter((frame, at) => !intact(frame, at)).length;
            }""",
            TEXTS[at : at + 40],
        )
    page.close()
    assert len(TEXTS) >= 200
    assert changed >= 200  # become something else than their text
    assert len(noticed) >= 80  # run or ask by themselves


# --- The chat ----------------------------------------------------------------------------------------

# Asks each text in a conversation of its own, looks at all that comes of it, and opens what it cites.
ASK_EACH = """async (texts) => {
  const { until, texts: read, enter, strange } = probe;
  const $ = (selector) => document.querySelector(selector);
  const seen = [];
  for (const text of texts) {
    $("#again").click();
    enter($("#question textarea"), text);
    const exchange = await until(() => $(".exchange:has(.answer)"));
    const mark = $(".answer a.cite");
    mark.focus();
    const preview = await until(() => $("#cite-preview"));
    const odd = [...strange(exchange), ...strange(preview)];
    const previewed = [".title", ".path", ".quote"].flatMap((part) => read(preview, part));
    mark.click();
    const article = await until(() => [...document.querySelectorAll("article.source")].find((a) => a.dataset.document === text));
    odd.push(...strange($("#source-panel")));
    const source = [".document", ".category", "h2", ".path li"].flatMap((part) => read(article, part));
    source.push(read(article, "mark.evidence").join(""));
    seen.push({
      question: read(exchange, ".question h2"),
      sentences: [...exchange.querySelectorAll(".sentence")].map((s) => s.firstChild.data),
      understood: read(exchange, ".understood"),
      footing: read(exchange, ".footing"),
      printed: read(exchange, ".sources q"),
      previewed, source, body: article.querySelector(".body").textContent, odd,
    });
    $("#close-source").click();
  }
  return seen;
}"""


def test_chat_question_answer_preview_and_source(pages: Pages) -> None:
    page = pages.open()
    page.add_style_tag(
        content="#tree, #welcome, #conversations { display: none }"
    )  # long, and laid out each time
    page.keyboard.press("Tab")  # so that what gets the focus shows it
    for text, seen in zip(TEXTS, page.evaluate(ASK_EACH, TEXTS), strict=True):
        assert seen["odd"] == [], text
        assert seen["question"] == [text]
        assert seen["sentences"] == [text] * 3
        assert seen["understood"] == [f"按此理解 read as：{text}"]
        assert seen["footing"][0].startswith(
            f"由 {text} 撰写，逐句核对 checked sentence by sentence · {text} · "
        )
        assert seen["printed"] == [text]
        assert seen["previewed"] == [text, f"一、{text}", text]
        assert seen["source"] == [text, text, text, f"一、{text}", text]
        assert seen["body"] == hostile_document(text)[0].text
    listed = page.locator("#conversations .open")
    shown = [text.encode("utf-16-le")[:80].decode("utf-16-le", "replace") for text in reversed(TEXTS)]
    assert listed.all_text_contents() == shown
    page.reload()
    ready(page)
    assert listed.all_text_contents() == shown
    assert strange(page, "#desk") == []


# Opens every row of the tree, those behind its buttons too.
OPEN_ALL = """() => {
  const rows = () => document.querySelectorAll("#tree .more button, #tree .twist[aria-expanded=false]");
  for (let closed = rows(); closed.length; closed = rows()) for (const button of closed) button.click();
}"""
LABELS = "rows => rows.map((row) => [...row.childNodes].slice(row.querySelector('.n') ? 2 : 0).map((n) => n.textContent).join(''))"


def test_chat_tree_search_and_scope(pages: Pages) -> None:
    page = pages.open()
    page.evaluate(OPEN_ALL)
    assert sorted(labels(page, "article")) == sorted(labels(page, "category")) == sorted(TEXTS)
    assert sorted(labels(page, "section")) == sorted(m + text for text in TEXTS for m in SECTIONS)
    names = page.locator("#tree .document > .row > .open")
    assert sorted(names.evaluate_all("all => all.map((name) => name.title)")) == sorted(TEXTS)
    assert strange(page, "#tree") == []
    for wanted in ("img", "javascript", "evil"):
        page.locator("#find").fill(wanted)
        page.evaluate(OPEN_ALL)
        assert {text for text in TEXTS if wanted in text} <= set(labels(page, "article"))
        assert strange(page, "#tree") == []
    page.locator("#find").fill("")
    page.evaluate(OPEN_ALL)
    page.evaluate(
        "() => document.querySelectorAll('#tree .article > .row > .tick').forEach((tick) => tick.click())"
    )
    scope = [f"《{text}》" for text in TEXTS]
    assert sorted(page.locator("#scope .chip").all_text_contents()) == sorted(scope)
    ask(page, GROUPS[0])
    assert sorted(page.locator(".question .within li").all_text_contents()) == sorted(scope)
    assert strange(page, "#desk") == []
    page.close()


def labels(page: Page, kind: str) -> list[str]:
    """The words of the tree's rows of a kind, without their numbers."""
    found: list[str] = page.locator(f"#tree .{kind} > .row > .open").evaluate_all(LABELS)
    return found


def test_chat_first_screen_follow_ups_and_refusal(pages: Pages) -> None:
    page = pages.open()
    assert page.locator(".welcome .example").all_text_contents() == TEXTS
    assert all(f"{text}（1）" in (page.locator(".welcome .topics").text_content() or "") for text in TEXTS)
    answer = ask(page, TEXTS[0])
    page.route("**/chat/follow-ups", lambda route: route.fulfill(json={"questions": TEXTS}))
    ask(page, TEXTS[1])
    expect(page.locator(".next .example")).to_have_count(len(TEXTS))
    assert page.locator(".next .example").all_text_contents() == TEXTS
    refused = ask(page, REFUSED)
    assert refused.locator(".nearby span").all_text_contents() == TEXTS[:3]
    assert refused.locator(".nearby a").all_text_contents() == [f"《{t}》 › 一、{t}" for t in TEXTS[:3]]
    assert answer.count() == 1
    assert strange(page, "#desk") == []
    page.close()


def test_chat_conversation_reopened_printed_and_exported(pages: Pages) -> None:
    page = pages.open(height=1000)
    for question in GROUPS:
        ask(page, question)
    page.reload()
    ready(page)
    sentences = page.locator(".answer .sentence").evaluate_all("all => all.map((s) => s.firstChild.data)")
    assert sentences == [text for text in TEXTS for _ in range(3)]
    page.emulate_media(media="print")
    assert page.locator(".sources q").all_text_contents() == TEXTS
    page.emulate_media(media="screen")
    assert strange(page, "#desk") == []
    page.locator(".answer .cite").first.click()
    expect(page.locator("mark.evidence")).to_have_text(TEXTS[0])
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    expect(page.locator("#print-sheet h2")).to_have_text(TEXTS[0])
    assert strange(page, "#print-sheet") == []
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.locator("#export").click()
    with page.expect_download() as download:
        page.locator(".menu [data-format=md]").click()
    check_markdown(Path(download.value.path()).read_text("utf-8"))
    page.close()


def check_markdown(text: str) -> None:
    """Rendered by a reader that lets HTML through, a report is headings, lists and words; the payloads are words."""
    rendered = Markup(
        MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)
    )
    assert {tag for tag, _ in rendered.tags} == {"h1", "h2", "p", "ul", "li", "code"}
    assert not any(attributes for _, attributes in rendered.tags)
    words = " ".join("".join(data for _, data in rendered.texts).split())
    assert [line for line in LINES if words.count(line) < 4] == []  # said thrice and quoted


def test_markdown_of_payloads_as_questions_titles_and_restrictions(pages: Pages, hostile: Hostile) -> None:
    page = pages.open()
    exchanges = []
    for at in range(0, len(TEXTS), 100):
        answer = {"refused": False, "engine": TEXTS[at], "sentences": [], "citations": []}
        exchanges = [
            {"question": text, "within": [text], "answer": {**answer, "asked": text}}
            for text in TEXTS[at : at + 100]
        ]
        body = {"format": "md", "title": TEXTS[at], "exchanges": exchanges}
        told = page.request.post(f"{hostile.url}/chat/export", data=body)
        assert told.ok, told.text()
        rendered = Markup(
            MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(told.text())
        )
        assert {tag for tag, _ in rendered.tags} == {"h1", "h2", "p"}
        headings = [data for path, data in rendered.texts if path[-1:] == ("h2",)]
        assert [h.partition(". ")[2] for h in headings] == LINES[at : at + 100]
    page.close()


def test_library_file_names(pages: Pages) -> None:
    page = pages.open(width=1400)
    page.locator("#library summary").click()
    held = page.locator("#library .held strong")
    expect(held).to_have_count(len(TEXTS))
    assert sorted(held.all_text_contents()) == sorted(TEXTS)
    page.locator("#library .held button").last.click()
    expect(page.locator("#library .confirm span")).to_contain_text(held.last.text_content() or "")
    names = [text for text in TEXTS if "/" not in text and "\n" not in text][:200]
    page.locator("#library input[type=file]").evaluate(
        """(input, names) => {
          const chosen = new DataTransfer();
          for (const name of names) chosen.items.add(new File([`一、${name}`], name));
          input.files = chosen.files;
          input.dispatchEvent(new Event("change", { bubbles: true }));
        }""",
        names,
    )
    expect(page.locator("#library .files > li > .actions")).to_have_count(len(names))
    assert page.locator("#library .files > li > strong").all_text_contents() == names
    assert strange(page, "#desk") == []
    page.close()
    pages.forgive("Failed to load resource")  # names that no file may have, and more files than may wait


# --- The widget --------------------------------------------------------------------------------------

ASK_EACH_WIDGET = """async (texts) => {
  const { until, texts: read, enter, strange } = probe;
  const root = document.querySelector("youju-chat").shadowRoot;
  const seen = [];
  for (const text of texts) {
    enter(root.querySelector("textarea"), text);
    const answer = await until(() => root.querySelector(".answer"));
    const sentences = [...answer.querySelectorAll(".sentence")].map((s) => read(s, ".said").join(""));
    const question = read(root, ".question");
    const understood = read(answer, ".understood");
    answer.querySelector(".cite").click();
    await until(() => root.querySelector("mark.evidence"));
    const place = root.querySelector(".source");
    const source = [".category", ".title", ".path li", "mark.evidence"].flatMap((part) => read(place, part));
    seen.push({ question, sentences, understood, source, around: read(place, ".text"), odd: strange(root) });
    root.querySelector(".back").click();
    root.querySelector(".clear").click();
  }
  return seen;
}"""
WIDGET_ODD = (
    "() => [...document.querySelectorAll('youju-chat')].flatMap((chat) => probe.strange(chat.shadowRoot))"
)


def test_widget_question_answer_and_source(widgets: Pages) -> None:
    page = widgets.open("/0/1")
    expect(page.locator(".example")).to_have_count(len(TEXTS))
    assert page.locator(".example").all_text_contents() == TEXTS
    for text, seen in zip(TEXTS, page.evaluate(ASK_EACH_WIDGET, TEXTS), strict=True):
        assert seen["odd"] == [], text
        assert seen["question"] == [text]
        assert seen["sentences"] == [text] * 3
        assert seen["understood"] == [f"按此理解：{text}"]
        assert seen["source"] == [f"{text} · {text}", text, f"一、{text}", text]
        assert seen["around"] == [hostile_document(text)[0].text]


def test_widget_conversation_reopened(widgets: Pages) -> None:
    page = widgets.open("/0/1")
    for n, question in enumerate(GROUPS, 1):
        page.locator("textarea").fill(question)
        page.locator("textarea").press("Enter")
        expect(page.locator(".answer")).to_have_count(n)
    page.reload()
    expect(page.locator(".cite")).to_have_count(2 * len(TEXTS))
    said = page.locator(".sentence").evaluate_all("all => all.map((s) => probe.texts(s, '.said').join(''))")
    assert said == [text for text in TEXTS for _ in range(3)]
    assert page.evaluate(WIDGET_ODD) == []


def test_widget_titles(widgets: Pages, hostile: Hostile) -> None:
    assert len(hostile.sites) >= 200
    for at in range(0, len(hostile.sites), SIDE_BY_SIDE):
        page = widgets.open(f"/{at}/{at + SIDE_BY_SIDE}")
        wanted = titles()[at : at + SIDE_BY_SIDE]
        expect(page.locator("h2")).to_have_text(wanted)
        assert page.locator("h2").all_text_contents() == wanted
        assert page.evaluate(WIDGET_ODD) == []
        page.close()


def test_widget_frame_titles(hostile: Hostile) -> None:
    with httpx.Client(base_url=hostile.url) as client:
        for site, title in zip(hostile.sites, titles(), strict=True):
            frame = Markup(client.get("/widget/frame", params={"site": site}).text)
            assert frame.text("title") == title
            assert [tag for tag, _ in frame.tags] == [
                *("html", "head", "meta", "meta", "title", "link", "link", "body", "script")
            ]
