"""A report as a Word document with footnotes."""

from __future__ import annotations

from datetime import UTC
from io import BytesIO
from typing import Any, cast

import docx
from docx.document import Document
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.oxml.text.paragraph import CT_P
from docx.shared import Cm, Pt, RGBColor
from docx.text.paragraph import Paragraph
from docx.text.run import Run

from ui.footnotes import Footnotes
from ui.report import GONE, REFUSED, SOURCES, UNSUPPORTED, Entry, Report, Source, Statement

# Latin and Chinese typefaces that come with Office; other programs replace them by their kin.
_BODY = ("Times New Roman", "SimSun")
_HEAD = ("Arial", "SimHei")
_INK, _DIM, _DOUBT = RGBColor(0x1A, 0x1A, 0x1A), RGBColor(0x59, 0x59, 0x59), RGBColor(0xA1, 0x26, 0x0D)
_MARGIN = Cm(2.5)


def word(report: Report) -> bytes:
    """The report as a .docx file. A line break of a quotation is a line break in its footnote."""
    document = docx.Document()
    _describe(document, report)
    _lay_out(document)
    notes = Footnotes(document)
    body = _Body(document)
    body.add(report.title, "Title")
    _dim(body.add().add_run(report.made))
    for number, entry in enumerate(report.entries, 1):
        body.add(f"{number}. {entry.question}", "Heading1")
        _write_entry(body, entry, notes)
    if report.sources:
        body.add(SOURCES, "Heading1")
        for source in report.sources:
            _write_source(body, source)
    file = BytesIO()
    document.save(file)
    return file.getvalue()


# --- Content -----------------------------------------------------------------------------------------


class _Body:
    """The end of a document. python-docx would search all paragraphs and styles for each new paragraph."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._end = document.element.body.sectPr

    def add(self, text: str = "", style: str | None = None) -> Paragraph:
        """Append a paragraph in the style of that id."""
        element = cast(CT_P, OxmlElement("w:p"))
        self._end.addprevious(element)
        element.style = style
        paragraph = Paragraph(element, self._document._body)
        if text:
            paragraph.add_run(text)
        return paragraph

    def add_opening(self) -> Paragraph:
        """Append a paragraph that stays on the page of the next one."""
        paragraph = self.add()
        paragraph.paragraph_format.keep_with_next = True
        return paragraph


def _write_entry(body: _Body, entry: Entry, notes: Footnotes) -> None:
    for remark in entry.remarks():
        _dim(body.add_opening().add_run(remark))
    if entry.refused:
        body.add_opening().add_run(REFUSED).bold = True
    for paragraph in entry.paragraphs:
        written = body.add(style="ListBullet" if paragraph.item else None)
        for statement in paragraph.statements:
            _write_statement(written, statement, notes)


def _write_statement(paragraph: Paragraph, statement: Statement, notes: Footnotes) -> None:
    paragraph.add_run(_lines(statement.text))
    if not statement.supported:
        doubt = paragraph.add_run(UNSUPPORTED)
        doubt.bold, doubt.font.color.rgb = True, _DOUBT
    notes.add(paragraph, [_lines(note.text) for note in statement.notes])


def _write_source(body: _Body, source: Source) -> None:
    paragraph = body.add(source.document, "ListBullet")
    _dim(paragraph.add_run(f"\nSHA-256 {source.sha256}"))
    if not source.held:
        paragraph.add_run(f"\n{GONE}")


def _dim(run: Run) -> None:
    run.font.size, run.font.color.rgb = Pt(9), _DIM


def _lines(text: str) -> str:
    """A line break is one line break, however the source writes it."""
    return text.replace("\r\n", "\n")


# --- Form --------------------------------------------------------------------------------------------


def _describe(document: Document, report: Report) -> None:
    properties = document.core_properties
    properties.title = report.title[:255]  # the longest that the format allows
    properties.author, properties.comments, properties.language = "有据 Youju", "", "zh-CN"
    properties.created = properties.modified = report.at.astimezone(UTC)


def _lay_out(document: Document) -> None:
    """A4 with even margins; Chinese typefaces and language; headings in ink."""
    page = document.sections[0]
    page.page_width, page.page_height = Cm(21), Cm(29.7)
    page.left_margin = page.right_margin = page.top_margin = page.bottom_margin = _MARGIN
    document.settings.element.find(qn("w:themeFontLang")).set(qn("w:eastAsia"), "zh-CN")
    defaults = document.styles.element.find(f"{qn('w:docDefaults')}/{qn('w:rPrDefault')}/{qn('w:rPr')}")
    defaults.find(qn("w:lang")).set(qn("w:eastAsia"), "zh-CN")
    _set_fonts(defaults, *_BODY)
    for name, size in (("Title", 20), ("Heading 1", 14)):
        style = document.styles[name]
        style.font.size, style.font.color.rgb = Pt(size), _INK
        _set_fonts(style.element.rPr, *_HEAD)
    border = document.styles["Title"].element.pPr.find(qn("w:pBdr"))
    border.getparent().remove(border)
    for name, before, after in (("Heading 1", 18, 6), ("Normal", 0, 6), ("List Bullet", 0, 4)):
        spacing = document.styles[name].paragraph_format
        spacing.space_before, spacing.space_after = Pt(before), Pt(after)


def _set_fonts(properties: Any, latin: str, chinese: str) -> None:
    """Names typefaces in run properties in place of the theme's; Chinese quotation marks are Chinese."""
    fonts = properties.find(qn("w:rFonts"))
    fonts.attrib.clear()
    for script, name in (("ascii", latin), ("hAnsi", latin), ("cs", latin), ("eastAsia", chinese)):
        fonts.set(qn(f"w:{script}"), name)
    fonts.set(qn("w:hint"), "eastAsia")
