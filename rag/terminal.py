"""What the command line shows: answers, passages, trees and progress, for people."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text
from rich.tree import Tree

from rag.records import Answer, AnswerSentence, Citation, Discarded, Done, Event, Passage, Said, Section

if TYPE_CHECKING:
    from rag.doctor import Finding
    from rag.ingest import IngestReport, Step
    from rag.store import StoredArticle, StoredDocument

Styled = str | tuple[str, str]

_STEPS: dict[str, str] = {
    "read": "读取 read",
    "split": "切分 split",
    "embed": "向量化 embed",
    "store": "保存 store",
    "answer": "回答 answer",
}
_STATUS = {
    "added": "新增 added",
    "updated": "更新 updated",
    "unchanged": "未变 unchanged",
    "skipped": "跳过 skipped",
}
_SHOWN_QUOTE = 160  # characters; the rest is one click or --json away


def stdout() -> Console:
    return Console(highlight=False, soft_wrap=True)


@contextmanager
def progress_bars() -> Iterator[Callable[[Step, int, int], None]]:
    """A callback ``(step, done, total)`` that draws a bar for each step, where stderr is a terminal."""
    if not sys.stderr.isatty():
        yield lambda step, done, total: None
        return
    with _bars() as bars:
        tasks: dict[str, TaskID] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = bars.add_task(_STEPS[step], total=total)
            bars.update(tasks[step], completed=done, total=total)

        yield show


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int], None]]:
    """A callback ``(done, total)`` that draws one bar, where stderr is a terminal."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    with _bars() as bars:
        task = bars.add_task(_STEPS[label], total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def _bars() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    return Progress(*columns, console=Console(stderr=True))


def print_events(events: Iterable[Event]) -> None:
    """An answer as it comes, sentence by sentence, then its numbered sources."""
    console = stdout()
    before: AnswerSentence | None = None
    for event in events:
        match event:
            case Said(sentence):
                console.print(Text.assemble(sentence.gap(before), *_sentence(sentence)), end="")
                before = sentence
            case Discarded(reason):
                console.print(Text(f"\n以上作废 (discarded): {safe(reason)}", "red"))
                before = None
            case Done(answer):
                console.print()
                _print_sources(console, answer)


def _sentence(sentence: AnswerSentence) -> Iterator[Styled]:
    yield safe(sentence.text)
    if sentence.support == "unsupported":
        yield " (无依据 unsupported)", "red"
    yield "".join(f"[{n}]" for n in sentence.citations), "cyan"


def _print_sources(console: Console, answer: Answer) -> None:
    if answer.citations:
        console.print("\n出处 Sources", style="bold")
    for citation in answer.citations:
        console.print(Text.assemble((f"[{citation.n}] ", "cyan"), *_place(citation)))
        quote = citation.quote if len(citation.quote) <= _SHOWN_QUOTE else citation.quote[:_SHOWN_QUOTE] + "…"
        console.print(Text("    " + safe(quote)))


def print_passages(passages: Sequence[Passage]) -> None:
    """Passages in rank order, each with its place, score and text."""
    console = stdout()
    for rank, passage in enumerate(passages, 1):
        score = f"  {passage.score:.3f}", "dim"
        console.print(Text.assemble((f"{rank}. ", "bold"), *_place(passage), score))
        console.print(Text("   " + safe(passage.text).replace("\n", "\n   ")))


def _place(where: Citation | Passage) -> Iterator[Styled]:
    """Title, section path, document and characters of a place."""
    parts = (f"第{where.article.number}篇 {where.article.title}", *where.section)
    yield safe(" › ".join(parts)), "bold"
    yield safe(f"  {where.document} {where.start}–{where.end}"), "dim"


def print_articles(articles: Sequence[StoredArticle]) -> None:
    """A tree for each document: category, article, sections. Items in running text are left out."""
    console = stdout()
    trees: dict[str, Tree] = {}
    categories: dict[tuple[str, str], Tree] = {}
    for stored in articles:
        tree = trees.setdefault(stored.document, Tree(Text(safe(stored.document), style="bold")))
        category = stored.article.category
        if category:
            key = stored.document, category
            if key not in categories:
                categories[key] = tree.add(Text(safe(category), style="cyan"))
            tree = categories[key]
        branch = tree.add(Text(safe(f"{stored.article.number} {stored.article.title}")))
        _add_sections(branch, stored.article.sections)
    for tree in trees.values():
        console.print(tree)


def _add_sections(tree: Tree, sections: Sequence[Section]) -> None:
    for section in sections:
        if section.level != "item":
            _add_sections(tree.add(Text(safe(section.label), style="dim")), section.sections)


def print_documents(documents: Sequence[StoredDocument]) -> None:
    """A line for each document."""
    console = stdout()
    for document in documents:
        counts = f"  {document.articles} 篇 articles, {document.characters} 字 characters, "
        console.print(Text.assemble((safe(document.name), "bold"), counts, document.encoding))


def print_finding(finding: Finding) -> None:
    """A line for a part that is in order, and what to do where it is not."""
    console = stdout()
    mark = ("好 ok  ", "green") if finding.ok else ("坏 bad ", "bold red")
    console.print(Text.assemble(mark, (safe(finding.part), "bold"), "  ", safe(finding.detail)))
    if finding.remedy:
        console.print(Text(f"       → {safe(finding.remedy)}"))


def print_report(report: IngestReport) -> None:
    """A line for each file, its warnings below it."""
    console = stdout()
    for document in report.documents:
        counts = (
            f"  {document.articles} 篇 articles, {document.sections} 节 sections,"
            f" {document.chunks} 段 chunks, {document.encoding}"
        )
        name = safe(document.name), "bold"
        shown = "" if document.status == "skipped" else counts
        console.print(Text.assemble(_STATUS[document.status], "  ", name, shown))
        for warning in document.warnings:
            console.print(Text.assemble(("  ! ", "yellow"), safe(warning)))
    console.print(Text(f"{safe(str(report.kb))}  {report.seconds:.1f} s"))


def safe(text: str) -> str:
    """Text from a document, without control characters that would steer the terminal."""
    return "".join(c if c.isprintable() or c in "\n\u3000" else " " for c in text)
