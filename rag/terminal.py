"""What the command line shows: answers, passages, trees and progress, for people."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text
from rich.tree import Tree

from rag.ingest import IngestReport, Step
from rag.records import Answer, AnswerSentence, Citation, Cited, Done, Event, Passage, Said, Section
from rag.store import StoredArticle, StoredDocument

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
                console.print(_gap(before, sentence) + _sentence(sentence), end="")
                before = sentence
            case Done(answer):
                console.print()
                _print_sources(console, answer)
            case Cited():
                pass  # shown with its sentence by number, and in full at the end


def _gap(before: AnswerSentence | None, sentence: AnswerSentence) -> Text:
    """What goes between two sentences, as in ``Answer.text``."""
    if sentence.kind == "item":
        return Text("\n- " if before else "- ")
    return Text("\n" if before and before.kind == "item" else "")


def _sentence(sentence: AnswerSentence) -> Text:
    text = plain(sentence.text)
    if sentence.support == "unsupported":
        text.append(" (无依据 unsupported)", style="red")
    text.append("".join(f"[{n}]" for n in sentence.citations), style="cyan")
    return text


def _print_sources(console: Console, answer: Answer) -> None:
    if answer.citations:
        console.print("\n[bold]出处 Sources[/bold]")
    for citation in answer.citations:
        console.print(Text(f"[{citation.n}] ", style="cyan") + _place(citation))
        quote = citation.quote if len(citation.quote) <= _SHOWN_QUOTE else citation.quote[:_SHOWN_QUOTE] + "…"
        console.print(Text("    ") + plain(quote))


def print_passages(passages: Sequence[Passage]) -> None:
    """Passages in rank order, each with its score, place and text."""
    console = stdout()
    for rank, passage in enumerate(passages, 1):
        score = Text(f"  {passage.score:.3f}", style="dim")
        console.print(Text(f"{rank}. ", style="bold") + _place(passage) + score)
        console.print(Text("   ") + plain(passage.text))


def _place(where: Citation | Passage) -> Text:
    """Title, section path, document and characters of a place."""
    parts = (f"第{where.article.number}篇 {where.article.title}", *where.section)
    shown = plain(" › ".join(parts), style="bold")
    return shown + plain(f"  {where.document} {where.start}–{where.end}", style="dim")


def print_articles(articles: Sequence[StoredArticle]) -> None:
    """A tree for each document: category, article, sections. Items in running text are left out."""
    console = stdout()
    trees: dict[str, Tree] = {}
    categories: dict[tuple[str, str], Tree] = {}
    for stored in articles:
        tree = trees.setdefault(stored.document, Tree(plain(stored.document, style="bold")))
        category = stored.article.category
        if category:
            key = stored.document, category
            if key not in categories:
                categories[key] = tree.add(plain(category, style="cyan"))
            tree = categories[key]
        branch = tree.add(plain(f"{stored.article.number} {stored.article.title}"))
        _add_sections(branch, stored.article.sections)
    for tree in trees.values():
        console.print(tree)


def _add_sections(tree: Tree, sections: Sequence[Section]) -> None:
    for section in sections:
        if section.level != "item":
            _add_sections(tree.add(plain(section.label, style="dim")), section.sections)


def print_documents(documents: Sequence[StoredDocument]) -> None:
    """A line for each document."""
    console = stdout()
    for document in documents:
        counts = f"{document.articles} 篇 articles, {document.characters} 字 characters"
        console.print(plain(document.name, style="bold") + Text(f"  {counts}, {document.encoding}"))


def print_report(report: IngestReport) -> None:
    """A line for each file, its warnings below it."""
    console = stdout()
    for document in report.documents:
        line = Text(f"{_STATUS[document.status]}  ") + plain(document.name, style="bold")
        if document.status != "skipped":
            line.append(
                f"  {document.articles} 篇 articles, {document.sections} 节 sections,"
                f" {document.chunks} 段 chunks, {document.encoding}"
            )
        console.print(line)
        for warning in document.warnings:
            console.print(Text("  ! ", style="yellow") + plain(warning))
    console.print(f"{escape(str(report.kb))}  {report.seconds:.1f} s")


def plain(text: str, style: str = "") -> Text:
    """Text from a document, without control characters that would steer the terminal."""
    return Text("".join(c if c.isprintable() or c in "\n\u3000" else " " for c in text), style=style)
