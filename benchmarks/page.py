"""How long a reader waits for the page, beside embedding a question once.

    youju serve --kb DIR
    python benchmarks/page.py http://127.0.0.1:7860 [--questions CASES.jsonl] [--times 20]

In Chromium, against a server that is warm: from opening the page to its first screen, from Enter to the first words of
an answer, from the click on a citation to its source. Each is measured in turn with one embedding in this process, so
that all see the same machine. Prints medians in milliseconds and as multiples of the embedding. Without
``--questions``, those of the first screen are asked.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import median

from playwright.sync_api import Browser, Page, sync_playwright

from embeddings.encoder import SentenceEncoder
from rag.config import read_settings

TARGETS = {"first content": 1_500, "first words": 300, "source": 200}  # milliseconds
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE = 120_000  # milliseconds

# Milliseconds from an action to the frame after its outcome is there, which may be immediately.
TIMED = """async ([act, outcome]) => {
  const begun = performance.now();
  const there = () => document.querySelector(outcome);
  const seen = new Promise((resolve) => {
    const watching = new MutationObserver(() => there() && (watching.disconnect(), resolve()));
    watching.observe(document, { childList: true, subtree: true, attributes: true });
  });
  ({
    ask: () => document.querySelector("#question textarea")
      .dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true })),
    follow: () => document.querySelector(".answer .cite").click(),
  })[act]();
  await seen;
  await new Promise((resolve) => requestAnimationFrame(resolve));
  return performance.now() - begun;
}"""

# Notes when the first screen is there: runs before the page's own scripts.
FIRST = """new MutationObserver(() => {
  if (!window.firstContent && document.querySelector(".welcome")) window.firstContent = performance.now();
}).observe(document, { childList: true, subtree: true });"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--questions", type=Path)
    parser.add_argument("--times", type=int, default=20)
    options = parser.parse_args()
    settings = read_settings()
    encoder = SentenceEncoder(settings.model, home=settings.model_home)
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    load = os.getloadavg()[0]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        times = measure(browser, options.url, options.questions, options.times, encoder)
        browser.close()
    print(f"load average {load:.1f} before, {os.getloadavg()[0]:.1f} after; {os.cpu_count()} cores")
    once = median(times["embedding"])
    for name, values in times.items():
        target = f"  (target {TARGETS[name]} ms)" if name in TARGETS else ""
        print(f"{name:14} {median(values):7.1f} ms  {median(values) / once:6.2f} x{target}")


def measure(
    browser: Browser, url: str, questions: Path | None, times: int, encoder: SentenceEncoder
) -> dict[str, list[float]]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(PATIENCE)
    context.add_init_script(FIRST)
    page = context.new_page()
    opened(page, url)  # fills the browser's cache
    asked = read_questions(questions) if questions else page.locator(".example").all_text_contents()
    found: dict[str, list[float]] = {"embedding": [], **{name: [] for name in TARGETS}}
    warm(page, encoder, asked[0])
    for question in islice(cycle(asked), times):
        found["embedding"].append(embedding(encoder, question))
        found["first content"].append(opened(page, url))
        words, source = answered(page, question)
        found["first words"].append(words)
        found["source"].extend(source)
    return found


def read_questions(cases: Path) -> list[str]:
    rows = map(json.loads, cases.read_text("utf-8").splitlines())
    return [row["question"] for row in rows if not row.get("history")]


def warm(page: Page, encoder: SentenceEncoder, question: str) -> None:
    encoder.encode_query(question)
    answered(page, question)


def embedding(encoder: SentenceEncoder, question: str) -> float:
    begun = time.perf_counter()
    encoder.encode_query(question)
    return 1000 * (time.perf_counter() - begun)


def opened(page: Page, url: str) -> float:
    """From the beginning of a navigation to the first screen."""
    page.goto("about:blank")
    page.goto(url)
    page.wait_for_function("window.firstContent")
    page.wait_for_selector("#documents .tick")
    return float(page.evaluate("window.firstContent"))


def answered(page: Page, question: str) -> tuple[float, Sequence[float]]:
    """From Enter to the first words, and from the click on the first citation, if there is one, to its source."""
    page.locator("#again").click()
    page.locator("#question textarea").fill(question)
    words = page.evaluate(TIMED, ["ask", ".answering .sentence, .answer .sentence"])
    page.wait_for_selector(".answer")
    sources: Iterable[float] = ()
    if page.locator(".answer .cite").count():
        sources = [page.evaluate(TIMED, ["follow", "#source mark.evidence"])]
    return float(words), list(sources)


if __name__ == "__main__":
    main()
