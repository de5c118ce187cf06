"""Conversations as files: exact quotations in real footnotes, and nothing that a text could start."""

from __future__ import annotations

import copy
import hashlib
import io
import re
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from fakes_ui import DOUBTFUL, MAX_QUESTION, NAME, FakeChain, fake_chain, written
from fastapi.testclient import TestClient
from lxml import etree
from markdown_it import MarkdownIt

from rag.config import Settings
from ui.app import create_app
from ui.export import FILE_NAME, MAX_EXPORT, MAX_NOTES, attachment

VILLAGES = "青禾县到2027年建成多少个数字乡村示范村？"
TASKS = "选好村级网格员、办好田间课堂、用好返乡青年"
MARS = "火星移民"
TEXT, SHA256 = written()[0].text, written()[0].sha256
VILLAGES_QUOTE = "到2027年，全县行政村5G覆盖率达到98%，建成数字乡村示范村36个。"
HOSTILE = (
    "# a\n\n* b\n1. c\n> d\n[e](http://evil.example) ![f](g) <script>h</script> `i` &amp; **j** ~~k~~\n"
    "| l | m |\n|---|---|\n[^1]: n\n---\nhttps://evil.example www.evil.example o@evil.example $p$ :q: \\\n    r"
)
W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> FakeChain:
    return fake_chain(tmp_path_factory.mktemp("kb"))


@pytest.fixture(scope="module")
def client(chain: FakeChain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = Settings(kb=tmp_path_factory.mktemp("unused"), max_question=MAX_QUESTION)
    with TestClient(
        create_app(settings, chain), base_url="http://127.0.0.1", raise_server_exceptions=False
    ) as found:
        yield found


def asked(client: TestClient, question: str) -> dict[str, Any]:
    """An exchange as the page keeps it."""
    return {"question": question, "answer": client.post("/api/ask", json={"question": question}).json()}


def exported(client: TestClient, form: str, *exchanges: dict[str, Any], title: str = "数字乡村") -> bytes:
    body = {"format": form, "title": title, "exchanges": exchanges}
    response = client.post("/chat/export", json=body)
    assert response.status_code == 200, response.text
    return response.content


def refusal(client: TestClient, **body: Any) -> tuple[int, str, str]:
    """Status, code and message of an export that is refused."""
    response = client.post("/chat/export", json=body)
    error = response.json()["error"]
    return response.status_code, error["code"], error["message"]


def cited(text: str, document: str = "别的.txt", **changes: Any) -> dict[str, Any]:
    """An exchange whose answer is one sentence that quotes a document which is not in the knowledge base."""
    citation = {
        "n": 1,
        "document": document,
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "article": {"number": 2, "title": "某文", "category": None},
        "section": ["一、某节"],
        "start": 7,
        "end": 7 + len(text),
        "quote": text,
        "page": None,
    }
    sentence = {"text": "某句。", "citations": [1], "support": "quoted"}
    answer = {"refused": False, "engine": "extractive", "sentences": [sentence], "citations": [citation]}
    return {"question": "某问", "answer": {**answer, **changes}}


# --- Word, read back ---------------------------------------------------------------------------------


def part(file: bytes, name: str) -> etree._Element:
    return etree.fromstring(zipfile.ZipFile(io.BytesIO(file)).read(name))


def text_of(element: etree._Element) -> str:
    """The characters that Word shows for an element's runs."""
    shown = {f"{W}t": lambda e: e.text or "", f"{W}br": lambda e: "\n", f"{W}tab": lambda e: "\t"}
    return "".join(shown[e.tag](e) for e in element.iter() if e.tag in shown)


def footnotes(file: bytes) -> dict[int, str]:
    """Texts of the footnotes by id, without Word's separators."""
    notes = part(file, "word/footnotes.xml")
    ids = [int(note.get(f"{W}id")) for note in notes]
    assert len(ids) == len(set(ids))
    return {
        number: text_of(note).removeprefix(" ")
        for number, note in zip(ids, notes, strict=True)
        if note.get(f"{W}type") is None
    }


def references(file: bytes) -> list[int]:
    return [int(e.get(f"{W}id")) for e in part(file, "word/document.xml").iter(f"{W}footnoteReference")]


def paragraphs(file: bytes) -> list[tuple[str | None, str]]:
    """Style and text of the document's paragraphs."""
    found = []
    for paragraph in part(file, "word/document.xml").iter(f"{W}p"):
        style = paragraph.find(f"{W}pPr/{W}pStyle")
        found.append((None if style is None else style.get(f"{W}val"), text_of(paragraph)))
    return found


def quoted(note: str) -> str:
    match = re.search(r"「(.*)」\[", note, re.DOTALL)
    assert match, note
    return match[1]


# --- Markdown, read back -----------------------------------------------------------------------------


def definitions(text: str) -> dict[int, str]:
    """The footnotes' texts as a reader of Markdown shows them, by number."""
    found = re.findall(r"^\[\^(\d+)\]: (.*)$", text, re.MULTILINE)
    assert len(dict(found)) == len(found)
    return {int(number): shown(source) for number, source in found}


def shown(line: str) -> str:
    """The characters of a paragraph, which is nothing but text."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(line)
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"], line
    children = tokens[1].children or []
    assert {token.type for token in children} <= {"text"}, children
    return "".join(token.content for token in children)


# --- Both formats ------------------------------------------------------------------------------------


def test_markdown_says_all_of_it(client: TestClient) -> None:
    text = exported(client, "md", asked(client, VILLAGES), asked(client, MARS)).decode()
    start = TEXT.index(VILLAGES_QUOTE)
    lines = text.split("\n\n")
    assert lines[0] == "# 数字乡村"
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d 由有据 \(Youju\) 导出。原文摘录，逐句有出处 \(quoted from the documents\)。",
        lines[1],
    )
    assert lines[2:] == [
        f"## 1. {VILLAGES}",
        f"{VILLAGES_QUOTE}[^1]",
        f"## 2. {MARS}",
        "**不作回答 (not in the documents)**",
        "这些文件没有提到这个问题。",
        "## 引用的文件 Sources",
        f"- 青禾县 材料\\.txt，SHA-256 `{SHA256}`",
        f"[^1]: 青禾县 材料\\.txt 第 1 篇《关于加快青禾县数字乡村建设的实施意见》 › 一、总体目标："
        f"「{VILLAGES_QUOTE}」\\[{start}, {start + len(VILLAGES_QUOTE)})，SHA-256 {SHA256[:12]}…\n",
    ]


def test_word_says_the_same(client: TestClient) -> None:
    exchanges = asked(client, VILLAGES), asked(client, MARS)
    file = exported(client, "docx", *exchanges)
    found = paragraphs(file)
    assert found[0] == ("Title", "数字乡村")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d 由有据 \(Youju\) 导出。原文摘录，.*", found[1][1])
    assert found[2:] == [
        ("Heading1", f"1. {VILLAGES}"),
        (None, VILLAGES_QUOTE),
        ("Heading1", f"2. {MARS}"),
        (None, "不作回答 (not in the documents)"),
        (None, "这些文件没有提到这个问题。"),
        ("Heading1", "引用的文件 Sources"),
        ("ListBullet", f"{NAME}\nSHA-256 {SHA256}"),
    ]
    assert footnotes(file) == definitions(exported(client, "md", *exchanges).decode())


def test_every_reference_has_its_footnote_with_the_exact_quote(client: TestClient) -> None:
    exchanges = [asked(client, question) for question in (VILLAGES, TASKS, VILLAGES)]
    quotes = [c["quote"] for exchange in exchanges for c in exchange["answer"]["citations"]]
    assert len(quotes) > 3
    file = exported(client, "docx", *exchanges)
    notes = footnotes(file)
    assert references(file) == list(notes) == list(range(1, len(quotes) + 1))
    assert [quoted(note) for note in notes.values()] == quotes
    for note in notes.values():
        start, end = map(int, re.search(r"」\[(\d+), (\d+)\)", note).groups())  # type: ignore[union-attr]
        assert TEXT[start:end] == quoted(note)


def test_in_markdown_one_place_has_one_footnote(client: TestClient) -> None:
    exchanges = [asked(client, question) for question in (VILLAGES, TASKS, VILLAGES)]
    text = exported(client, "md", *exchanges).decode()
    notes = definitions(text)
    marks = [int(n) for n in re.findall(r"\[\^(\d+)\](?!:)", text)]
    assert list(notes) == list(dict.fromkeys(marks)) == list(range(1, len(notes) + 1))
    assert marks[-1] == 1
    for exchange in exchanges:
        for citation in exchange["answer"]["citations"]:
            assert citation["quote"] in [quoted(note) for note in notes.values()]


def test_items_are_a_list_where_the_answer_says_so(client: TestClient) -> None:
    exchange = cited("引文")
    exchange["answer"]["sentences"] = [
        {"text": text, "citations": [], "support": "supported", "kind": kind}
        for text, kind in (("三件事：", "lead"), ("一是甲；", "item"), ("二是乙。", "item"), ("完。", "text"))
    ]
    assert "三件事：\n\n- 一是甲；\n- 二是乙。\n\n完。\n" in exported(client, "md", exchange).decode()
    found = paragraphs(exported(client, "docx", exchange))
    assert [row for row in found if row[0] == "ListBullet"] == [
        ("ListBullet", "一是甲；"),
        ("ListBullet", "二是乙。"),
    ]


@pytest.mark.parametrize("form", ["md", "docx"])
def test_a_sentence_without_support_is_marked(client: TestClient, form: str) -> None:
    file = exported(client, form, asked(client, VILLAGES + DOUBTFUL))
    text = file.decode() if form == "md" else "\n".join(line for _, line in paragraphs(file))
    assert "这句话没有出处。【未找到依据】" in text
    assert f"{VILLAGES_QUOTE}【" not in text


@pytest.mark.parametrize("form", ["md", "docx"])
def test_how_it_was_understood_and_written_is_said(client: TestClient, form: str) -> None:
    exchange = cited("引文", engine="openai:m", asked="完整的问题")
    file = exported(client, form, exchange, cited("引文"))
    text = file.decode().replace("\\", "") if form == "md" else "\n".join(t for _, t in paragraphs(file))
    assert "按此理解 (read as)：完整的问题" in text
    assert (
        "由 openai:m 撰写，逐句核对 (checked sentence by sentence)。原文摘录，逐句有出处 (quoted from" in text
    )


# --- Checks against the knowledge base ---------------------------------------------------------------


def test_a_quotation_that_the_document_does_not_hold_is_refused(client: TestClient) -> None:
    exchange = asked(client, VILLAGES)
    forged = copy.deepcopy(exchange)
    forged["answer"]["citations"][0]["quote"] = VILLAGES_QUOTE.replace("36", "63")
    status, code, message = refusal(client, format="md", title="题", exchanges=[exchange, forged])
    assert (status, code) == (422, "bad_citation")
    assert message.startswith(f"第 2 个问题的引文 [1] 与“{NAME}” [")


@pytest.mark.parametrize("change", [{"start": 0}, {"end": 10**9}, {"end": 0}])
def test_a_place_that_the_quotation_does_not_fill_is_refused(
    client: TestClient, change: dict[str, int]
) -> None:
    for exchange in (asked(client, VILLAGES), cited("引文")):
        exchange["answer"]["citations"][0] |= change
        answer = refusal(client, format="docx", title="题", exchanges=[exchange])
        assert answer[:2] == (422, "bad_citation")


@pytest.mark.parametrize("document", ["别的.txt", NAME], ids=["removed", "changed"])
def test_a_quotation_whose_document_is_gone_is_kept_and_says_so(client: TestClient, document: str) -> None:
    exchange = cited("早先的原文", document)
    digest = hashlib.sha256("早先的原文".encode()).hexdigest()
    text = exported(client, "md", exchange).decode()
    note = (
        f"{document} 第 2 篇《某文》 › 一、某节：「早先的原文」[7, 12)，SHA-256 {digest[:12]}…；"
        "原文件已更改或移除 (the document has changed or was removed)"
    )
    assert definitions(text) == {1: note}
    assert f"，SHA-256 `{digest}`；原文件已更改或移除" in text
    file = exported(client, "docx", exchange)
    assert footnotes(file) == {1: note}
    assert paragraphs(file)[-1][1].endswith("原文件已更改或移除 (the document has changed or was removed)")


# --- Hostile text ------------------------------------------------------------------------------------


def test_hostile_text_is_only_text_in_markdown(client: TestClient) -> None:
    exchange = cited(HOSTILE, HOSTILE, asked=HOSTILE)
    exchange["question"] = HOSTILE
    exchange["answer"]["citations"][0] |= {
        "article": {"number": 1, "title": HOSTILE},
        "section": [HOSTILE],
    }
    sentences = exchange["answer"]["sentences"]
    sentences.append({"text": f"(/x) {HOSTILE}", "citations": [1], "support": "unsupported"})
    sentences.extend({"text": HOSTILE, "citations": [], "support": "quoted", "kind": "item"} for _ in "ab")
    text = exported(client, "md", exchange, title=HOSTILE[:500]).decode()
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    held = {token.type.removesuffix("_open") for token in tokens if not token.type.endswith("_close")}
    assert held == {"heading", "paragraph", "inline", "bullet_list", "list_item"}
    within = {child.type for token in tokens for child in token.children or []}
    assert within <= {"text", "code_inline", "softbreak"}
    assert [t.tag for t in tokens if t.type == "heading_open"] == ["h1", "h2", "h2"]
    assert not re.search(
        r"(?<!\\)://|(?<![\\\d]):|www\.|(?<!\\)@", re.sub(r"^\[\^1\]:", "", text, flags=re.M)
    )
    (note,) = definitions(text).values()
    assert quoted(note) == HOSTILE


def test_hostile_text_is_only_text_in_word(client: TestClient) -> None:
    exchange = cited(HOSTILE, "<w:p/>&amp;")
    exchange["question"] = "]]><w:br/>"
    file = exported(client, "docx", exchange, title="</w:t>")
    assert quoted(footnotes(file)[1]) == HOSTILE
    assert paragraphs(file)[0] == ("Title", "</w:t>")
    assert ("Heading1", "1. ]]><w:br/>") in paragraphs(file)
    package = zipfile.ZipFile(io.BytesIO(file))
    links = [name for name in package.namelist() if b'TargetMode="External"' in package.read(name)]
    assert links == []


@pytest.mark.parametrize("form", ["md", "docx"])
def test_characters_that_no_file_may_hold_are_replaced_one_for_one(client: TestClient, form: str) -> None:
    quote = "甲\x00乙\x0b丙\x1f丁\ufffe戊  \u3000己\t庚\n辛𠮷 "
    file = exported(client, form, cited(quote), cited("无控制字符"))
    notes = footnotes(file) if form == "docx" else definitions(file.decode())
    assert quoted(notes[1]) == "甲\ufffd乙\ufffd丙\ufffd丁\ufffd戊  \u3000己\t庚\n辛𠮷 "
    assert notes[1].partition("；")[2].startswith("\ufffd 为不可显示的字符 (a control character)")
    assert "不可显示" not in notes[2]


def test_a_line_break_is_one_line_break_in_word_and_exact_in_markdown(client: TestClient) -> None:
    exchange = cited("上\r\n下")
    assert quoted(footnotes(exported(client, "docx", exchange))[1]) == "上\n下"
    assert quoted(definitions(exported(client, "md", exchange).decode())[1]) == "上\r\n下"


# --- What Word expects -------------------------------------------------------------------------------


def test_the_package_is_one_that_word_takes(client: TestClient) -> None:
    file = exported(client, "docx", asked(client, TASKS))
    notes = part(file, "word/footnotes.xml")
    assert [(n.get(f"{W}id"), n.get(f"{W}type")) for n in notes][:2] == [
        ("-1", "separator"),
        ("0", "continuationSeparator"),
    ]
    assert all(len(list(n.iter(f"{W}footnoteRef"))) == 1 for n in notes[2:])
    settings = [etree.QName(e).localname for e in part(file, "word/settings.xml")]
    assert settings.index("footnotePr") + 1 == settings.index("compat")
    styles = {s.get(f"{W}styleId"): s for s in part(file, "word/styles.xml").iter(f"{W}style")}
    raised = styles["FootnoteReference"].find(f"{W}rPr/{W}vertAlign")
    assert raised is not None and raised.get(f"{W}val") == "superscript"
    assert styles["FootnoteText"].get(f"{W}type") == "paragraph"
    fonts = part(file, "word/styles.xml").find(f"{W}docDefaults/{W}rPrDefault/{W}rPr/{W}rFonts")
    assert fonts is not None and fonts.get(f"{W}eastAsia") == "SimSun"
    types = part(file, "[Content_Types].xml")
    assert [e.get("ContentType") for e in types if e.get("PartName") == "/word/footnotes.xml"] == [
        "application/vnd.openxmlformats-officedocument.wordprocessingml.footnotes+xml"
    ]
    (relation,) = [
        e for e in part(file, "word/_rels/document.xml.rels") if e.get("Target") == "footnotes.xml"
    ]
    assert relation.get("Type", "").endswith("/footnotes")


def test_marks_side_by_side_are_parted(client: TestClient) -> None:
    exchange = cited("引文")
    second = {**exchange["answer"]["citations"][0], "n": 2, "start": 20, "end": 22}
    exchange["answer"]["citations"].append(second)
    exchange["answer"]["sentences"][0]["citations"] = [1, 2, 2]
    file = exported(client, "docx", exchange)
    assert references(file) == [1, 2]
    assert (None, "某句。,") in paragraphs(file)


@pytest.mark.slow
def test_libreoffice_shows_the_footnotes(client: TestClient, tmp_path: Path) -> None:
    office, reader = shutil.which("soffice"), shutil.which("pdftotext")
    if office is None or reader is None:
        pytest.skip("no soffice or no pdftotext to convert the document with")
    (tmp_path / "a.docx").write_bytes(exported(client, "docx", asked(client, VILLAGES), asked(client, TASKS)))
    profile = f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}"
    convert = [
        office,
        profile,
        "--headless",
        "--convert-to",
        "pdf",
        "--outdir",
        tmp_path,
        tmp_path / "a.docx",
    ]
    subprocess.run(convert, check=True, capture_output=True, timeout=200)
    read = subprocess.run([reader, tmp_path / "a.pdf", "-"], check=True, capture_output=True, timeout=60)
    text = "".join(read.stdout.decode().split())
    assert text.count(VILLAGES_QUOTE) == 2  # in the answer and in its footnote
    assert f"「{VILLAGES_QUOTE}」" in text


# --- The request -------------------------------------------------------------------------------------


def test_the_file_is_named_after_the_title(client: TestClient) -> None:
    body = {"format": "docx", "title": "青禾县/数字乡村：问答", "exchanges": [cited("引文")]}
    response = client.post("/chat/export", json=body)
    ascii_name, _, encoded = response.headers["content-disposition"].partition("; filename*=UTF-8''")
    assert ascii_name == 'attachment; filename="youju.docx"'
    assert unquote(encoded) == "青禾县 数字乡村：问答.docx"
    assert response.headers["content-type"] == (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
    )


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("../..\\etc:*?", "etc.md"),
        ("a\r\nX-Header: 1", "a X-Header 1.md"),
        ("报告\u202egpj.exe", "报告 gpj.exe.md"),
        ("...", "youju.md"),
        ("𠮷" * 500, "𠮷" * FILE_NAME + ".md"),
    ],
)
def test_a_hostile_title_is_a_harmless_name(title: str, expected: str) -> None:
    value = attachment(title, "md")
    assert value.isascii() and value.isprintable()
    assert unquote(value.partition("UTF-8''")[2]) == expected


def _sentence(**changes: Any) -> dict[str, Any]:
    return {"text": "句。", "citations": [], "support": "quoted", **changes}


@pytest.mark.parametrize(
    "change",
    [
        {"format": "pdf"},
        {"title": ""},
        {"title": " \u3000"},
        {"title": "题" * 501},
        {"titel": "题"},
        {"exchanges": []},
        {"exchanges": [cited("引文")] * 201},
        {"exchanges": [{"question": "问"}]},
        {"exchanges": [{**cited("引文"), "question": " "}]},
        {"exchanges": [cited("引文", sentences=[_sentence()] * 501)]},
        {"exchanges": [cited("引文", sentences=[_sentence(citations=[7])])]},
        {"exchanges": [cited("引文", sentences=[_sentence(support="proved")])]},
        {"exchanges": [cited("引文", citations=cited("引文")["answer"]["citations"] * 2)]},
        {
            "exchanges": [
                cited("引文", citations=[{**cited("引文")["answer"]["citations"][0], "sha256": "x"}])
            ]
        },
        {"exchanges": [cited("")]},
        {"exchanges": [cited("引" * 20_001)]},
    ],
)
def test_what_is_not_a_conversation_is_refused(client: TestClient, change: dict[str, Any]) -> None:
    body = {"format": "md", "title": "题", "exchanges": [cited("引文")], **change}
    assert refusal(client, **body)[:2] == (422, "invalid_request")


def test_half_a_character_is_refused(client: TestClient) -> None:
    content = b'{"format": "md", "title": "\\ud800", "exchanges": []}'
    response = client.post("/chat/export", content=content, headers={"content-type": "application/json"})
    assert response.status_code == 422


def test_a_sentence_that_cites_nothing_there_is_told(client: TestClient) -> None:
    exchange = cited("引文", sentences=[_sentence(citations=[7])])
    message = refusal(client, format="md", title="题", exchanges=[exchange])[2]
    assert "exchanges.0.answer" in message
    assert "没有编号为 7 的引文" in message


def test_a_conversation_longer_than_a_question_may_be_is_taken(client: TestClient) -> None:
    exchange = cited("引" * 10_000)
    assert len(exported(client, "md", *[exchange] * 40)) > 30_000  # a request of more than a megabyte


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_large_is_refused(client: TestClient, announced: bool) -> None:
    content = b'{"title": "' + b"a" * MAX_EXPORT + b'"}'
    parts = (content[at : at + 500_000] for at in range(0, len(content), 500_000))
    headers = {"content-type": "application/json"}
    response: httpx.Response = client.post(
        "/chat/export", content=content if announced else parts, headers=headers
    )
    assert response.status_code == 413
    assert response.json()["error"] == {
        "code": "body_too_large",
        "message": "请求超过 5,000,000 字节 (the body is too large)",
    }


def test_one_long_quotation_cited_often_is_limited(client: TestClient) -> None:
    quote = "引" * 20_000
    often = cited(quote, sentences=[_sentence(citations=[1])] * (MAX_NOTES // len(quote)))
    status, code, _ = refusal(client, format="docx", title="题", exchanges=[often])
    assert (status, code) == (413, "export_too_long")
