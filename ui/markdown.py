"""A report as Markdown (CommonMark with footnotes)."""

from __future__ import annotations

import re

from ui.report import GONE, REFUSED, SOURCES, UNSUPPORTED, Entry, Note, Paragraph, Report, Source, Statement

# What Markdown or one of its usual extensions (tables, strike-through, footnotes, bare addresses, mathematics,
# highlights, attributes, emoji) gives a meaning: wherever it stands, in a host's name, at the beginning of a
# text (which may follow a footnote's mark), in the number of a list.
_MEANING = re.compile(r"[\\`*_{}\[\]<>#|~&$^@=]|(?<!\d):|:(?!\d)|\.(?=[A-Za-z])|^[-+(]|(?<=\d)[.)](?=\s|$)")
_BREAKS = str.maketrans({char: f"&#{ord(char)};" for char in "\t\n\r"})


def markdown(report: Report) -> str:
    """The report's text; a quotation's characters are exactly those of the source once it is rendered."""
    parts = [f"# {escape(report.title)}", escape(report.made)]
    for number, entry in enumerate(report.entries, 1):
        parts += [f"## {number}. {escape(entry.question)}", *_entry(entry)]
    if report.sources:
        parts += [f"## {SOURCES}", "\n".join(_source(source) for source in report.sources)]
    notes = {note.number: note for note in report.notes()}
    parts += [_definition(note) for note in notes.values()]
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """``text`` as one line that renders as exactly these characters and nothing else."""
    return _MEANING.sub(r"\\\g<0>", text).translate(_BREAKS)


def _entry(entry: Entry) -> list[str]:
    parts = [escape(remark) for remark in entry.remarks()]
    parts += [f"**{REFUSED}**"] if entry.refused else []
    return parts + _paragraphs(entry.paragraphs)


def _paragraphs(paragraphs: tuple[Paragraph, ...]) -> list[str]:
    """Items that follow each other make one tight list."""
    parts: list[str] = []
    listing = False
    for paragraph in paragraphs:
        text = "".join(_statement(statement) for statement in paragraph.statements)
        if paragraph.item and listing:
            parts[-1] += f"\n- {text}"
        else:
            parts.append(f"- {text}" if paragraph.item else text)
        listing = paragraph.item
    return parts


def _statement(statement: Statement) -> str:
    marks = "".join(f"[^{note.number}]" for note in statement.notes)
    return escape(statement.text) + ("" if statement.supported else UNSUPPORTED) + marks


def _definition(note: Note) -> str:
    return f"[^{note.number}]: {escape(note.text)}"


def _source(source: Source) -> str:
    state = "" if source.held else f"；{GONE}"
    return f"- {escape(source.document)}，SHA-256 `{source.sha256}`{state}"
