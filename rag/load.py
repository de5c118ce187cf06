"""Files -> documents: find them, name them, decode them.

The encodings are UTF-8, UTF-16, GB18030 and Big5, with or without a byte-order mark. A mark or valid UTF-8
decides at once; otherwise the reading that is the likeliest Chinese text wins, by a unigram model of five
classes of characters. The text is ``data.decode(encoding)`` with line ends kept and the mark left out.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from rag.errors import FormatError, PathError
from rag.records import Document

SUFFIXES = (".txt", ".text", ".md", ".markdown")

_SAVE_AS_TEXT = "请另存为 UTF-8 编码的 .txt 或 .md 再试 (save it as UTF-8 text)"

_MAGIC = (
    (b"%PDF-", "PDF"),
    (b"PK\x03\x04", "Word/Excel/zip"),
    (b"PK\x05\x06", "zip"),
    (b"\xd0\xcf\x11\xe0", "旧版 Word/Excel (doc/xls)"),
    (b"{\\rtf", "RTF"),
    (b"\x1f\x8b", "gzip"),
    (b"7z\xbc\xaf", "7z"),
    (b"Rar!", "rar"),
    (b"\x89PNG", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF8", "GIF"),
    (b"SQLite format 3\0", "SQLite"),
    (b"\x7fELF", "ELF"),
)

# The longer UTF-32 marks come first: UTF-16's is a prefix of one of them.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

# Big5 in its plain form before its two supersets, so that a plain file reads as every other tool reads it.
_UNMARKED = ("gb18030", ("big5", "cp950", "big5hkscs"), "utf-16-le", "utf-16-be")

# The 600 most frequent characters of jieba's dictionary (77% of running text), then their traditional forms.
_FREQUENT = frozenset(
    "一是人了不在有大中国和为这上他个地年来我会以到时要出的生学说道民家子也成行下们于后就发自之对得主长可过天"
    "作分方用多你着部能市等业全里工公经本都而高政法面门动日进区事代那去心小同北定开产前其军还然起种所如现理机"
    "体表力好外与文当两实重新三么只山水关明从化平建又制南内西没此将员名手最东头者月间无安看见各城十相但已些正"
    "口通想度加第她合院物性战由位常点海意场武使次二向治因立数样身情入原问把路被并利石老教万知级量任江及应省资"
    "委务元美特期世湖回系比气汉总展电科金先声提品设或义王社很统处四首共马形己儿司太目基领队直计别女权话少流命"
    "至报米给打变果书清活几州华解议更称程今决张导术府才保交放管结师便走达族反再题色五京河接条规式县白它改风光"
    "运信受什组听布百济党指论强做取技黄神选记斯真却职号界件花类何眼兵传带空干农边据集联古广完质阳难增历史专官"
    "每住商即步认车台林必死游举线言皇土团收考求德叫近备研争非具李众连调感转笑革该持始英克士尔让拉思根格造较际"
    "亲单朝红型价校约器字段周亚深候则功属积快图火千准究往极育装许参半令吃观鱼精办像帝八复影告远群包整构料随划"
    "算象容示投势热值夫网望源息语股铁断派速怎需片爱律纪支早况病境证编越局推满且列觉服双未居除乐企引标确织初青"
    "志率项飞球节察龙响药站施均消客失轻存低甚般击曾防请离落显罗营足素视护副食创余照兴占巴虽洲村费易试星木黑左"
    "宝置跟央识维采六底宫房音环案批切斗富乡另倒若按查故突责严"
    "國為這個來會時學說們於後發對長過著業裡經門動進區開產軍還種現機體與當兩實麼關從內沒將員東頭間無見戰點場數"
    "樣問並萬級應資務氣漢總電聲設義統處馬兒領隊計別權話報給變書幾華議稱決張導術結師達題條規縣風運組聽濟黨論強"
    "黃選記卻職號類傳帶幹農邊據聯廣質陽難歷專認車臺遊舉線團備爭眾連調轉該爾讓較際親單紅價約亞則屬積圖準極裝許"
    "參觀魚辦復遠構隨劃勢熱網語鐵斷愛紀況證編滿覺雙樂標確織項飛節龍響藥輕擊請離顯羅營視護創餘興佔雖費試寶識維"
    "採宮環鬥鄉責嚴"
)
_PUNCTUATION = frozenset("，。、；：？！“”‘’（）《》〈〉【】〔〕「」『』—…·～％\u3000０１２３４５６７８９")
_DRAWN = frozenset(map(chr, range(0x2500, 0x2580)))  # lines of tables come in long runs

# Cost of one character in nats: minus the logarithm of its class's share of running text, divided by the
# number of characters in the class.
_COST_FREQUENT, _COST_COMMON, _COST_UNCOMMON, _COST_RARE, _COST_SYMBOL = 7.0, 9.6, 12.4, 17.0, 14.0
_COST_FOREIGN, _COST_ASCII = 20.0, 4.5

# Mean cost of a letter beyond ASCII above which a text is not Chinese. Running Chinese text costs 7.3 to 8.4;
# Korean or Russian read as GB18030 costs 9.1 and more. Short texts vary more, so they are allowed more.
_PLAUSIBLE, _ALLOWANCE = 8.7, 15.0

_TEXT_CONTROLS = frozenset("\t\n\v\f\r\x1a\x85")
_MOST_CONTROLS = 0.02  # share; text pasted from word processors has a few


def read_document(path: Path, name: str | None = None) -> Document:
    """The file's text and how it was encoded.

    Raises PathError if the file cannot be opened, FormatError if it is empty, binary or not decodable.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PathError(
            f"文件打不开 (cannot open): {path} ({error.strerror})", "检查路径和读取权限 (check the path)"
        ) from None
    return as_document(data, path, name or printable(path.name), str(path))


def as_document(data: bytes, path: Path, name: str, label: str) -> Document:
    """The document that the file at ``path`` makes when it holds ``data``; ``label`` names it in errors.

    Raises FormatError if the data are empty, binary or not decodable.
    """
    text, encoding = decode(data, label)
    damaged = text.count("\ufffd")
    warnings = (f"原文件里已有 {damaged} 个损坏的字符 U+FFFD (characters lost before)",) if damaged else ()
    return Document(
        name=name,
        sha256=hashlib.sha256(data).hexdigest(),
        text=text,
        encoding=encoding,
        path=printable(str(path.absolute())),
        warnings=warnings,
    )


def decode(data: bytes, label: str) -> tuple[str, str]:
    """Text and the Python codec that gave it; ``label`` names the file in errors."""
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            raise FormatError(f"{label} 是 {kind} 文件, 不是文本 (not a text file)", _SAVE_AS_TEXT)
    text, encoding = _marked(data, label) or _unmarked(data, label)
    if not text.strip(" \t\r\n\v\f\u3000\u200b\ufeff\x1a") or text.isspace():
        raise FormatError(f"{label} 是空文件 (file is empty)", "换一个有文字的文件 (give a file with text)")
    if _is_binary(text):
        raise FormatError(f"{label} 是二进制文件, 不是文本 (binary file)", _SAVE_AS_TEXT)
    return text, encoding


def _marked(data: bytes, label: str) -> tuple[str, str] | None:
    """The text of a file with a byte-order mark."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return data.decode(encoding), encoding
            except UnicodeDecodeError:
                raise _unreadable(label, f"有 {encoding} 标记但内容不符 (bad {encoding})") from None
    return None


def _unmarked(data: bytes, label: str) -> tuple[str, str]:
    """The text of a file without a mark: UTF-8 where valid, else its likeliest reading."""
    zeros = b"\0" in data  # UTF-16 has them in every ASCII character, the other encodings never
    if not zeros:
        try:
            text = data.decode("utf-8")
            if not _is_binary(text):
                return text, "utf-8"
        except UnicodeDecodeError:
            pass
    readings = list(_readings(data))
    if not readings:
        if zeros or _is_binary(data.decode("latin-1")):
            raise FormatError(f"{label} 是二进制文件, 不是文本 (binary file)", _SAVE_AS_TEXT)
        raise _unreadable(label, "不是 UTF-8、UTF-16、GB18030 或 Big5 (unknown encoding)")
    _, text, encoding = min(readings, key=lambda reading: reading[0])
    if not _is_plausible(text):
        if zeros:
            raise FormatError(f"{label} 是二进制文件, 不是文本 (binary file)", _SAVE_AS_TEXT)
        raise _unreadable(label, "不像 UTF-8、UTF-16、GB18030 或 Big5 的中文 (unknown encoding)")
    return text.removeprefix("\ufeff"), encoding  # GB18030 has a mark too


def _readings(data: bytes) -> Iterator[tuple[float, str, str]]:
    """Each reading that decodes without an error, with its cost."""
    for family in _UNMARKED:
        for encoding in (family,) if isinstance(family, str) else family:
            try:
                text = data.decode(encoding)
            except UnicodeDecodeError:
                continue
            yield sum(_cost(c) * n for c, n in Counter(text).items()), text, encoding
            break


def _is_plausible(text: str) -> bool:
    """Whether the letters beyond ASCII look like Chinese; symbols, as in drawn tables, say nothing."""
    costs = [(_cost(c), n) for c, n in Counter(text).items() if _cost(c) not in (_COST_ASCII, _COST_SYMBOL)]
    size = sum(n for _, n in costs)
    return sum(cost * n for cost, n in costs) <= _PLAUSIBLE * size + _ALLOWANCE


@lru_cache(maxsize=65536)
def _cost(char: str) -> float:
    if " " <= char < "\x7f" or char in _TEXT_CONTROLS:
        return _COST_ASCII
    if char in _FREQUENT or char in _PUNCTUATION or char in _DRAWN:
        return _COST_FREQUENT
    code = ord(char)
    if 0x4E00 <= code <= 0x9FFF:
        simplified, traditional = _encoded(char, "gb2312"), _encoded(char, "big5")
        # Both standards put the characters of everyday use first.
        if b"\xb0\xa1" <= simplified <= b"\xd7\xfe" or b"\xa4\x40" <= traditional <= b"\xc6\x7e":
            return _COST_COMMON
        return _COST_UNCOMMON if simplified or traditional else _COST_RARE
    if 0x3400 <= code <= 0x4DBF or 0x20000 <= code <= 0x323AF:
        return _COST_RARE
    if unicodedata.category(char) in ("Cc", "Co", "Cn", "Cs") or 0xAC00 <= code <= 0xD7FF:
        return _COST_FOREIGN
    return _COST_SYMBOL


def _encoded(char: str, encoding: str) -> bytes:
    try:
        return char.encode(encoding)
    except UnicodeEncodeError:
        return b""


def _is_binary(text: str) -> bool:
    controls = sum(n for c, n in Counter(text).items() if c < " " and c not in _TEXT_CONTROLS)
    return "\0" in text or controls > _MOST_CONTROLS * len(text)


def _unreadable(label: str, why: str) -> FormatError:
    return FormatError(f"{label} 的编码无法识别: {why}", _SAVE_AS_TEXT)


def find_files(paths: Sequence[Path], known: Mapping[str, str] | None = None) -> list[tuple[Path, str]]:
    """The files to read, in order, each with its name in the knowledge base.

    A file is named by its file name, or by its path within the folder that was given. ``known`` maps the
    names in use to their absolute paths: a path keeps its name; a name in use by another path gets parent
    folders in front. Raises PathError for a missing path or nothing to read.
    """
    used = dict(known or {})
    names = {path: name for name, path in used.items()}
    found: dict[str, tuple[Path, str]] = {}
    for given in paths:
        for path, name in _files(given):
            absolute = printable(str(path.absolute()))
            if absolute in found:
                continue
            unique = names.get(absolute) or _unique(name, path.absolute(), used)
            used[unique] = absolute
            found[absolute] = (path, unique)
    if not found:
        given_paths = "、".join(str(path) for path in paths) or "(无)"
        raise PathError(
            f"没有可读的文件 (nothing to read): {given_paths}",
            f"给出文件, 或含 {' '.join(SUFFIXES)} 文件的文件夹 (give files of these kinds)",
        )
    return list(found.values())


def name_of(path: Path, known: Mapping[str, str]) -> str:
    """The name that :func:`find_files` gives to a single file, whether or not it is there yet."""
    absolute = printable(str(path.absolute()))
    kept = next((name for name, used_by in known.items() if used_by == absolute), None)
    return kept or _unique(printable(path.name), path.absolute(), known)


def _files(given: Path) -> Iterator[tuple[Path, str]]:
    """A given file itself, or the text files below a given folder with their paths within it."""
    if given.is_file():
        yield given, printable(given.name)
    elif given.is_dir():
        for folder, folders, files in os.walk(given):
            folders[:] = sorted(f for f in folders if not f.startswith("."))
            for file in sorted(files):
                if not file.startswith(".") and file.lower().endswith(SUFFIXES):
                    path = Path(folder, file)
                    yield path, printable(path.relative_to(given).as_posix())
    else:
        kind = (
            "不是文件也不是文件夹 (neither file nor folder)"
            if given.exists()
            else "路径不存在 (no such path)"
        )
        raise PathError(f"{kind}: {given}", "检查路径 (check the path)")


def _unique(name: str, path: Path, used: Mapping[str, str]) -> str:
    """``name``, with as many parent folders in front as make it unique."""
    unique, folders = name, len(Path(name).parts)
    while unique in used:
        folders += 1
        if folders > len(path.parts):  # the whole path is taken too, by a name from elsewhere
            return f"{name} ({hashlib.sha256(os.fsencode(path)).hexdigest()[:8]})"
        unique = printable("/".join(path.parts[-folders:]).replace("//", "/"))
    return unique


def printable(name: str) -> str:
    """A file name or argument as valid Unicode; names unpacked from Chinese archives are often GB18030."""
    data = os.fsencode(name)
    for encoding in ("utf-8", "gb18030"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("utf-8", "replace")
