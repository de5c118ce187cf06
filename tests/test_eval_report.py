"""The report of an evaluation, as text and in Chromium. All texts are invented."""

from __future__ import annotations

import builtins
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from eval.report import EXPECTED, failed, report, write_report
from eval.score import METRICS
from rag.errors import ConfigError, PathError

#        0123456789
TEXT = "青禾塔高三十二米，共七层。"
EVIL = "<script>document.title='evil'</script><img src=x onerror=\"document.title='evil'\">"


def estimate(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": max(0.0, mean - 0.1), "high": min(1.0, mean + 0.1), "n": 3}


def piece(start: int, end: int, **more: Any) -> dict[str, Any]:
    return {"document": "塔.txt", "start": start, "end": end, **more}


def case(
    key: str, kind: str, question: str, cited: tuple[int, int] | None, **values: float
) -> dict[str, Any]:
    """A case whose gold evidence is 高三十二米 (3–8), answered by a citation or refused."""
    article = {"number": 1, "title": "青禾塔", "category": None}
    citations = (
        [piece(*cited, n=1, article=article, section=["一、概况"], quote=TEXT[slice(*cited)])]
        if cited
        else []
    )
    sentence = {
        "text": "塔高三十二米。" if cited else "没有。",
        "citations": [1] if cited else [],
        "support": "quoted",
    }
    return {
        "id": key,
        "type": kind,
        "question": question,
        "history": [{"role": "user", "content": "青禾塔在哪里？"}] if key == "c2" else [],
        "gold": [piece(3, 8, article=1, text=TEXT[3:8])] if kind == "fact" else [],
        "answer": {
            "answer": sentence["text"],
            "refused": not cited,
            "sentences": [sentence],
            "citations": citations,
            "confidence": 0.8 if cited else 0.2,
        },
        "retrieved": [piece(0, len(TEXT), article=1, section=[], score=0.9, text=TEXT)],
        "metrics": {"milliseconds": 12.5, **values},
    }


RESULT: dict[str, Any] = {
    "metrics": {
        "recall@1000": estimate(0.9),
        "kp": estimate(0.5),
        "chars": {**estimate(1.0), "mean": 80, "high": 95},
    },
    "by_type": {
        "fact": {"recall@1000": estimate(0.9), "cite_f1": estimate(0.6)},
        "unanswerable": {"refusal": estimate(1)},
    },
    "recall_curve": [{"budget": 100, "recall": 0.5}, {"budget": 1000, "recall": 0.9}],
    "refusal_curve": [
        {"threshold": 0.0, "recall": 0.0, "precision": None, "false_refusals": 0.0},
        {"threshold": 0.5, "recall": 1.0, "precision": 1.0, "false_refusals": 0.0},
    ],
    "cases": [
        case("c1", "fact", "青禾塔高多少？", (0, 6), kp=1, cite_recall=1.0, false_refusal=0),
        case("c2", "fact", f"塔有几层？{EVIL}", None, kp=0, cite_recall=0.0, false_refusal=1),
        case("c3", "unanswerable", "塔的造价是多少？", None, refusal=1),
    ],
    "settings": {"refuse_below": 0.5, "versions": {"youju": "0.1.0"}, "note": "<b>粗</b>"},
}


# -- as text ------------------------------------------------------------------------------------------------


def test_a_case_fails_by_what_is_expected_of_each_measure() -> None:
    assert failed({"kp": 0.49, "cite_recall": 0.5, "mrr@10": 0.0}) == ["kp"]
    assert failed({"exact": 0.99, "false_refusal": 1.0}) == ["exact", "false_refusal"]
    assert failed({"false_refusal": 0.0, "refusal": 1.0, "chars": 900}) == []
    assert set(EXPECTED) <= set(METRICS)


def test_everything_is_escaped_and_nothing_points_outside() -> None:
    page = report(RESULT)
    assert EVIL not in page and "&lt;script&gt;document.title" in page
    assert "<b>粗</b>" not in page
    addresses = set(re.findall(r"https?://[^\s\"'<>]+", page))
    assert addresses == {"http://www.w3.org/1999/xlink"}  # the name of a namespace
    assert not re.search(r"<(?:link|img|iframe)\b|@import|url\((?!#)", page.replace("url(&quot;", ""))


def test_the_plots_are_in_the_pages_colours() -> None:
    page = report(RESULT)
    assert page.count("<figure") == 4  # recall, refusal, by type, time; one article alone makes no plot
    assert "var(--first)" in page and "#0102" not in page


def test_a_result_without_cases_is_a_report(tmp_path: Path) -> None:
    write_report({"metrics": {}, "cases": [], "settings": {}}, tmp_path / "r.html")
    assert "0 题" in (tmp_path / "r.html").read_text("utf-8")


def test_without_matplotlib_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[eval\]'"):
        report(RESULT)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(PathError, match="写不出"):
        write_report(RESULT, tmp_path / "nowhere" / "r.html")


# -- in Chromium --------------------------------------------------------------------------------------------


@pytest.fixture
def page(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """The report, opened from disk; it fails if the page asks for anything but itself or complains."""
    file = tmp_path / "report.html"
    write_report(RESULT, file)
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    opened = context.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(file.as_uri())
    yield opened
    context.close()
    assert asked == [file.as_uri()]
    assert complaints == []


def shown(page: Page) -> list[str]:
    return page.locator(".case:visible .id").all_text_contents()


@pytest.mark.browser
def test_filters_by_type_failure_and_text(page: Page) -> None:
    assert shown(page) == ["c1", "c2", "c3"]
    page.select_option("#failed", "*")
    assert shown(page) == ["c2"]
    expect(page.locator("#shown")).to_have_text("1 / 3")
    page.select_option("#failed", "cite_recall")
    assert shown(page) == ["c2"]
    page.select_option("#type", "unanswerable")
    assert shown(page) == []
    page.select_option("#failed", "")
    assert shown(page) == ["c3"]
    page.select_option("#type", "")
    page.fill("#text", "青禾塔高 概况")
    assert shown(page) == ["c1"]


@pytest.mark.browser
def test_marks_what_citation_and_evidence_share(page: Page) -> None:
    first = page.locator(".case").first
    first.locator("summary").first.click()
    expect(first.locator(".cited q")).to_have_text("青禾塔高三十")
    expect(first.locator(".cited mark")).to_have_text("高三十")
    expect(first.locator(".gold q")).to_have_text("高三十二米")
    expect(first.locator(".gold mark")).to_have_text("高三十")
    first.locator(".retrieved summary").click()
    expect(first.locator(".retrieved mark")).to_have_text("高三十二米")


@pytest.mark.browser
def test_what_is_in_a_case_is_text_only(page: Page) -> None:
    expect(page.locator(".case").nth(1).locator(".asked")).to_have_text(f"塔有几层？{EVIL}")
    expect(page).to_have_title("有据 · 评测报告")


@pytest.mark.browser
def test_opens_the_shown_cases_for_printing(page: Page) -> None:
    page.select_option("#failed", "*")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".case[open] .id").all_text_contents() == ["c2"]
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator(".case[open]").count() == 0


@pytest.mark.browser
@pytest.mark.parametrize("width", [1440, 390])
def test_nothing_runs_over_the_side(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.click("#open")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
