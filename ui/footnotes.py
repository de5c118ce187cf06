"""Footnotes for python-docx, which has none: their part, their styles and Word's settings for them.

Office Open XML (ECMA-376-1), section 17.11. python-docx writes line breaks and tabs within a run as the
elements that Word has for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from docx.document import Document
from docx.opc.constants import CONTENT_TYPE, RELATIONSHIP_TYPE
from docx.opc.packuri import PackURI
from docx.opc.part import XmlPart
from docx.oxml import OxmlElement, parse_xml
from docx.oxml.ns import nsdecls, qn
from docx.oxml.text.run import CT_R
from docx.oxml.xmlchemy import BaseOxmlElement
from docx.text.paragraph import Paragraph

TEXT, REFERENCE = "FootnoteText", "FootnoteReference"  # ids of styles

_W = nsdecls("w")
_STYLES = (
    f"""
    <w:style {_W} w:type="paragraph" w:styleId="{TEXT}"><w:name w:val="footnote text"/>
      <w:basedOn w:val="Normal"/><w:uiPriority w:val="99"/><w:unhideWhenUsed/>
      <w:pPr><w:snapToGrid w:val="0"/><w:spacing w:after="40" w:line="240" w:lineRule="auto"/></w:pPr>
      <w:rPr><w:sz w:val="18"/><w:szCs w:val="18"/></w:rPr></w:style>""",
    f"""
    <w:style {_W} w:type="character" w:styleId="{REFERENCE}"><w:name w:val="footnote reference"/>
      <w:uiPriority w:val="99"/><w:unhideWhenUsed/>
      <w:rPr><w:vertAlign w:val="superscript"/></w:rPr></w:style>""",
)
# The lines above the notes of a page, and above notes that go on from the page before.
_PART = f"""
<w:footnotes {_W}>
  <w:footnote w:type="separator" w:id="-1"><w:p><w:r><w:separator/></w:r></w:p></w:footnote>
  <w:footnote w:type="continuationSeparator" w:id="0">
    <w:p><w:r><w:continuationSeparator/></w:r></w:p></w:footnote>
</w:footnotes>"""
_SETTINGS = f"""
<w:footnotePr {_W}><w:footnote w:id="-1"/><w:footnote w:id="0"/></w:footnotePr>"""


class Footnotes:
    """The footnotes of a document that has none yet."""

    def __init__(self, document: Document) -> None:
        package = document.part.package
        name = PackURI("/word/footnotes.xml")
        self._notes = parse_xml(_PART)
        part = XmlPart(name, CONTENT_TYPE.WML_FOOTNOTES, self._notes, package)
        document.part.relate_to(part, RELATIONSHIP_TYPE.FOOTNOTES)
        for style in _STYLES:
            document.styles.element.append(parse_xml(style))
        settings = document.settings.element
        settings.find(qn("w:compat")).addprevious(parse_xml(_SETTINGS))  # the schema has an order
        self._count = 0

    def add(self, paragraph: Paragraph, texts: Sequence[str]) -> None:
        """Append to ``paragraph`` a footnote for each text; marks side by side are parted by commas."""
        for place, text in enumerate(texts):
            self._count += 1
            if place:
                paragraph._p.append(_run(REFERENCE, ","))
            mark = _run(REFERENCE)
            mark.append(OxmlElement("w:footnoteReference", attrs={qn("w:id"): str(self._count)}))
            paragraph._p.append(mark)
            self._notes.append(_note(self._count, text))


def _note(number: int, text: str) -> BaseOxmlElement:
    note = parse_xml(
        f'<w:footnote {_W} w:id="{number}"><w:p><w:pPr><w:pStyle w:val="{TEXT}"/></w:pPr></w:p></w:footnote>'
    )
    mark = _run(REFERENCE)
    mark.append(OxmlElement("w:footnoteRef"))
    note[0].extend((mark, _run(None, f" {text}")))
    return note


def _run(style: str | None, text: str = "") -> CT_R:
    run = cast(CT_R, OxmlElement("w:r"))
    if style:
        run.style = style
    if text:
        run.text = text
    return run
