"""The page's panels on a small page of their own: their markup and modules, and an answer written by hand."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import urlencode

from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles
from playwright.sync_api import Page
from running import running

from rag.store import Store
from ui.chat import STATIC
from ui.errors import answer_errors
from ui.panels import panels
from ui.service import Service

_PAGE = """<!doctype html>
<html lang="zh-CN"><head><meta charset="utf-8"><title>试 Panels</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">{styles}
<script type="module" src="panels.js"></script></head>
<body class="{theme}" style="color: var(--ink); background: var(--paper)">
<div id="desk" style="height: 100vh">
<nav id="documents"><div id="tree"></div></nav>
<main id="talk"><h1>对话</h1>{answers}<p><textarea id="box" aria-label="问题"></textarea></p></main>
<div id="source"><aside id="source-panel" aria-label="原文 Source"></aside></div>
</div></body></html>"""

# What the pages' own module does: mount the panels, look citations up, note what they tell the page.
_SCRIPT = """
import * as preview from "./static/preview.js";
import { mountSource } from "./static/source.js";
import * as tree from "./static/tree.js";

window.tree = tree;
window.told = [];
document.addEventListener("youju:ask-about", (event) => window.told.push(event.detail));
window.scopes = 0;
document.addEventListener("youju:scope", () => (window.scopes += 1));
preview.install((mark) =>
  mark.dataset.quote
    ? { title: mark.dataset.title, section: ["二、重点任务", "(一)夯实网络底座"], quote: mark.dataset.quote }
    : null,
);
mountSource(document.querySelector("#source-panel"));
const begun = performance.now();
window.mounted = tree.mountTree(document.querySelector("#tree")).then(() => performance.now() - begun);
"""


class OnlyStore:
    """What the panels need of a chain."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def examples(self, n: int) -> list[str]:
        return []


def cite(document: str, start: int, end: int, n: int, title: str = "", quote: str = "") -> str:
    """A citation mark as an answer has it."""
    href = "#" + urlencode({"document": document, "start": start, "end": end})
    about = f' data-title="{html.escape(title)}" data-quote="{html.escape(quote)}"' if quote else ""
    return f'<a class="cite" href="{html.escape(href)}"{about}>{n}</a>'


def answer(*marks: str) -> str:
    """An answer with a sentence for each mark."""
    return f'<div class="answer">{"".join(f"<p>一句话。{mark}</p>" for mark in marks)}</div>'


@contextmanager
def serving(store: Store, answers: Sequence[str] = ()) -> Iterator[str]:
    """The address of a server with the page, ``?dark`` for the dark one, over a knowledge base."""
    app = FastAPI()
    answer_errors(app)
    app.include_router(panels(Service(OnlyStore(store))))  # type: ignore[arg-type]
    app.mount("/static", StaticFiles(directory=STATIC))

    @app.get("/", response_class=HTMLResponse)
    def page(dark: str | None = None) -> str:
        styles = "".join(
            f'<link rel="stylesheet" href="static/{name}">' for name in ("base.css", "tree.css", "source.css")
        )
        return _PAGE.format(styles=styles, theme="dark" if dark is not None else "", answers="".join(answers))

    @app.get("/panels.js")
    def script() -> HTMLResponse:
        return HTMLResponse(_SCRIPT, media_type="text/javascript")

    with running(app) as url:
        yield url


def tree_ready(page: Page) -> None:
    """Waits until the tree is there."""
    page.wait_for_selector("#tree .tick", state="attached")


def unnamed(page: Page) -> list[str]:
    """Controls in sight that assistive technology would find without a name."""
    found: list[str] = page.evaluate(
        """() => [...document.querySelectorAll("button, a[href], input, textarea, summary")]
          .filter((e) => e.checkVisibility())
          .filter((e) => !(e.getAttribute("aria-label") || e.textContent.trim() || e.labels?.length))
          .map((e) => e.outerHTML)"""
    )
    return found


# The contrast of an element's text with the nearest background behind it, as WCAG 2.2 defines it.
CONTRAST = """element => {
  const parts = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => {
    const [r, g, b] = parts(color).map((v) => v / 255)
      .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let behind = element;
  while (behind && parts(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
  const [a, b] = [getComputedStyle(element).color, getComputedStyle(behind).backgroundColor].map(light);
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}"""
