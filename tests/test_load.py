"""Files to text: encodings, what is refused, and how files are named."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.errors import FormatError, PathError
from rag.load import decode, find_files, read_document

SIMPLIFIED = "为进一步完善网格化服务管理，县委政法委牵头制定实施方案。\r\n一是健全机制；二是压实责任。\n"
TRADITIONAL = "為進一步完善社區服務管理，區公所研擬實施方案。\r\n一是健全機制；二是強化責任。\n"
KOREAN = (
    "정부는 국민의 권리와 자유를 보장하고 사회의 안전과 질서를 유지하기 위하여 필요한 정책을 시행한다. "
    "지방자치단체는 주민의 복리에 관한 사무를 처리하고 재산을 관리한다."
)

ENCODINGS = [
    ("utf-8", b"", "utf-8"),
    ("utf-8", b"\xef\xbb\xbf", "utf-8-sig"),
    ("utf-16-le", b"", "utf-16-le"),
    ("utf-16-le", b"\xff\xfe", "utf-16"),
    ("utf-16-be", b"", "utf-16-be"),
    ("utf-16-be", b"\xfe\xff", "utf-16"),
    ("gb18030", b"", "gb18030"),
    ("gb18030", b"\x84\x31\x95\x33", "gb18030"),
    ("utf-32-le", b"\xff\xfe\x00\x00", "utf-32"),
]


@pytest.mark.parametrize(("codec", "mark", "reported"), ENCODINGS)
@pytest.mark.parametrize("text", [SIMPLIFIED, TRADITIONAL])
def test_each_encoding_is_found_and_reported(codec: str, mark: bytes, reported: str, text: str) -> None:
    assert decode(mark + text.encode(codec), "file") == (text, reported)


def test_big5_is_found() -> None:
    assert decode(TRADITIONAL.encode("big5"), "file") == (TRADITIONAL, "big5")


@pytest.mark.parametrize(
    ("data", "text", "encoding"),
    [
        ("社会保险费".encode("gb18030"), "社会保险费", "gb18030"),
        ("社會保險費".encode("big5"), "社會保險費", "big5"),
        ("中文".encode("gb18030"), "中文", "gb18030"),
        ("臺灣的發展".encode("gb18030"), "臺灣的發展", "gb18030"),
        ("网格员120名".encode("utf-16-le"), "网格员120名", "utf-16-le"),
        (b"plain ASCII", "plain ASCII", "utf-8"),
        ("plain ASCII".encode("utf-16-le"), "plain ASCII", "utf-16-le"),
        ("碁盤與€的說明在這裡".encode("cp950"), "碁盤與€的說明在這裡", "cp950"),
    ],
)
def test_short_texts_are_decoded(data: bytes, text: str, encoding: str) -> None:
    assert decode(data, "file") == (text, encoding)


def test_a_drawn_table_in_gb18030_is_text() -> None:
    table = "┌──────┬──────┐\n│ 乡镇 │ 网格 │\n├──────┼──────┤\n│ 青禾 │  12  │\n└──────┴──────┘\n"
    assert decode(table.encode("gb18030"), "file") == (table, "gb18030")


_SIMPLIFIED = st.sampled_from("的一是了我不人在他有这个上们来到时大地为子中你说生国年着就那和要，。、；：“”")
_TRADITIONAL = st.sampled_from("的一是了不人在他有這個上們來到時大地為中你說國會，。、；：「」")


@given(
    st.text(_SIMPLIFIED, min_size=12),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gb18030"]),
)
def test_chinese_text_survives_every_encoding(text: str, codec: str) -> None:
    assert decode(text.encode(codec), "file")[0] == text


@given(st.text(_TRADITIONAL, min_size=12))
def test_traditional_text_survives_big5(text: str) -> None:
    assert decode(text.encode("big5"), "file")[0] == text


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1))
def test_valid_utf8_is_read_exactly(text: str) -> None:
    data = text.encode("utf-8")
    try:
        found, _ = decode(data, "file")
    except FormatError:
        blank = not text.strip(" \u3000\u200b\ufeff") or text.isspace()
        assert blank or text.startswith(("%PDF-", "{\\rtf", "GIF8", "Rar!"))
    else:
        assert found == data.decode("utf-8-sig" if data.startswith(b"\xef\xbb\xbf") else "utf-8")


@settings(max_examples=300)
@given(st.binary(max_size=300))
def test_any_bytes_are_decoded_exactly_or_refused(data: bytes) -> None:
    try:
        text, encoding = decode(data, "file")
    except FormatError as error:
        assert str(error).startswith("file")
    else:
        assert data.decode(encoding).removeprefix("\ufeff") == text.removeprefix("\ufeff")


def test_line_ends_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("第一行\r\n第二行\r第三行\n".encode())
    assert read_document(path).text == "第一行\r\n第二行\r第三行\n"


def test_the_document_names_its_file(tmp_path: Path) -> None:
    path = tmp_path / "意见.txt"
    path.write_bytes("正文。".encode("gb18030"))
    document = read_document(path)
    assert (document.name, document.encoding, document.path) == ("意见.txt", "gb18030", str(path))
    assert document.sha256 == hashlib.sha256("正文。".encode("gb18030")).hexdigest()
    assert read_document(path, "别名.txt").name == "别名.txt"


def test_characters_lost_before_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("治理\ufffd\ufffd能力".encode())
    assert read_document(path).warnings == ("原文件里已有 2 个损坏的字符 U+FFFD (characters lost before)",)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "空文件"),
        (b" \r\n\t ", "空文件"),
        ("\ufeff\u3000\n".encode(), "空文件"),
        (b"%PDF-1.7\n...", "PDF"),
        (b"PK\x03\x04\x14\x00", "Word/Excel/zip"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "doc/xls"),
        (b"{\\rtf1\\ansi}", "RTF"),
        (b"some text\0\0and zeros\x01", "二进制"),
        (bytes(range(32)) * 20, "二进制"),
        ("治理".encode() + b"\0" * 100, "二进制"),
        (b"caf\xe9 au lait, tr\xe8s bon", "编码无法识别"),
        ("Правительство осуществляет меры по охране порядка".encode("koi8-r"), "编码无法识别"),
        ("政府は国民の権利と自由を守り、社会の安全を維持する".encode("euc_jp"), "编码无法识别"),
        (KOREAN.encode("euc_kr"), "编码无法识别"),
        (b"\xff\xfe\x00\xd8", "编码无法识别"),
    ],
)
def test_what_is_not_text_is_refused_with_name_and_remedy(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "坏文件.txt"
    path.write_bytes(data)
    with pytest.raises(FormatError) as caught:
        read_document(path)
    message = str(caught.value)
    assert says in message
    assert str(path) in message
    assert " → " in message
    assert "\n" not in message


# -- finding and naming --------------------------------------------------------------------------------------


def _write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("正文。", encoding="utf-8")


def test_a_folder_is_read_to_its_depth_without_hidden_and_other_files(tmp_path: Path) -> None:
    _write(tmp_path, "b.md", "a.TXT", "x/c.text", "x/y/d.markdown", ".hidden.txt", ".git/e.txt", "f.pdf", "g")
    assert [name for _, name in find_files([tmp_path])] == ["a.TXT", "b.md", "x/c.text", "x/y/d.markdown"]


def test_a_given_file_is_read_whatever_its_suffix_and_once(tmp_path: Path) -> None:
    _write(tmp_path, "README", "a.txt")
    files = find_files([tmp_path / "README", tmp_path / "a.txt", tmp_path])
    assert [name for _, name in files] == ["README", "a.txt"]


def test_equal_names_get_parent_folders(tmp_path: Path) -> None:
    _write(tmp_path, "2023/意见.txt", "2024/意见.txt", "2025/意见.txt")
    given = [tmp_path / year / "意见.txt" for year in ("2023", "2024", "2025")]
    assert [name for _, name in find_files(given)] == ["意见.txt", "2024/意见.txt", "2025/意见.txt"]


def test_names_in_use_belong_to_their_paths(tmp_path: Path) -> None:
    _write(tmp_path, "a/意见.txt", "b/意见.txt")
    known = {"意见.txt": str(tmp_path / "a/意见.txt")}
    assert [name for _, name in find_files([tmp_path / "a/意见.txt"], known)] == ["意见.txt"]
    assert [name for _, name in find_files([tmp_path / "b/意见.txt"], known)] == ["b/意见.txt"]
    assert [name for _, name in find_files([tmp_path], known)] == ["意见.txt", "b/意见.txt"]


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(PathError, match=r"路径不存在.*nowhere.*→"):
        find_files([tmp_path / "nowhere"])


def test_a_folder_with_nothing_to_read_is_named(tmp_path: Path) -> None:
    _write(tmp_path, "image.png", ".hidden.txt")
    with pytest.raises(PathError, match=f"没有可读的文件.*{tmp_path.name}.*→"):
        find_files([tmp_path])


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX only")
def test_a_file_name_in_gb18030_is_shown_as_meant(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode("意见.txt".encode("gb18030"))).write_text("正文。", encoding="utf-8")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    ((path, name),) = find_files([tmp_path])
    assert name == "意见.txt"
    assert read_document(path, name).text == "正文。"
