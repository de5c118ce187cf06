"""The forms that number a section: 一、 (一) 1. bare 1 (1) ① 一是 第一, 第X章·节·条 and Markdown headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rag.records import Level, Span

_HAN = "一二三四五六七八九十百零〇两"
_DIGITS = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_SENTENCE_END = "。！？!?…；;”’』」"
# A digit before one of these counts something; it does not number a heading.
_UNIT = re.compile(
    r"[个月元岁吨亩倍米类件套辆]|[平立]方|公[里斤顷分]|小时|人(?![大民才文均员居])|分(?![类级层工])|层(?!层)|度(?!假)"
    r"|项(?!目)|名(?!优|录)|次(?!生)|年(?!度|轻)|日(?!常|间)|号(?!召)|时(?!间|刻|效)|秒|万(?!众)|千(?!方)|百(?!姓)|亿"
    r"|户(?!籍|外|厕)|所(?!有|需)|座(?!谈)|条(?!件|块)|种(?!植|业|养|子)|天(?!然)|周(?!密|边)|里(?!弄|程)|批(?!评|复)"
    r"|期(?!间|货)|届|位(?!置)|例(?!会)|张(?!贴)|台(?!账|阶)|处(?!理|置|罚)|家(?!庭|长|园)|起(?!草)|支(?![持部撑])"
    r"|大(?!力)|省(?!级|直)|市(?![域场民政容])|县(?![域级乡])|区(?!域|位)|镇(?!村)|乡(?![村镇亲贤风])|村(?![民级规居务干])"
    r"|街(?!道|区)|级(?!差)"
)


def han_number(text: str) -> int | None:
    """The value of a Chinese or Arabic numeral up to 999, or None where it is neither."""
    if text.isdigit():
        return int(text)
    total, digit = 0, 0
    for char in text:
        if char == "百":
            total, digit = total + (digit or 1) * 100, 0
        elif char == "十":
            total, digit = total + (digit or 1) * 10, 0
        elif char in _DIGITS:
            digit = digit * 10 + _DIGITS[char] if digit else _DIGITS[char]
        else:
            return None
    return total + digit or None


@dataclass(frozen=True, slots=True)
class Family:
    """One form of numbering. ``rank`` orders the forms from outer to inner."""

    name: str
    rank: int
    level: Level
    pattern: re.Pattern[str]


def _family(name: str, rank: int, level: Level, pattern: str) -> Family:
    return Family(name, rank, level, re.compile(pattern.replace("HAN", f"[{_HAN}]"), re.MULTILINE))


FAMILIES = (
    _family("part", 0, 1, r"第(HAN{1,4}|\d{1,2})(?:编|篇|部分)(?=[\s、,，:：])"),
    _family("chapter", 1, 1, r"第\s?(HAN{1,4}|\d{1,3})\s?章(?![^\s\w]|程)"),
    _family("division", 2, 2, r"第\s?(HAN{1,4}|\d{1,3})\s?节(?=[\s\w])"),
    _family("provision", 3, 3, r"第\s?(HAN{1,6}|\d{1,4})\s?条(?=[\s:：【\[(（\w])"),
    _family("han", 4, 1, r"(HAN{1,3})、"),
    _family("paren", 5, 2, r"[(（]\s?(HAN{1,3})\s?[)）]"),
    _family("digit", 6, 3, r"(\d{1,2})(?:[.．](?!\d)|、|(?=[\u3400-\u9fff“‘《]))"),
    _family("paren-digit", 7, 4, r"[(（]\s?(\d{1,2})\s?[)）]"),
    _family("circled", 8, 4, r"([①-⑳])"),
    _family("item-是", 9, "item", r"(HAN{1,3})是"),
    _family("item-要", 9, "item", r"(HAN{1,3})要"),
    _family("item-第", 9, "item", r"第(HAN{1,3})[,，:：、]"),
    _family("item-其", 9, "item", r"其(HAN{1,2})[,，:：]?"),
)
MARKDOWN = re.compile(r"^(#{1,6})[ \t]+(?=\S)", re.MULTILINE)
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Marker(Span):
    """A place that may number a section; ``weight`` says how much its surroundings speak for it."""

    family: Family
    number: int
    weight: float


def markers(text: str, start: int, end: int) -> list[Marker]:
    """All places in ``text[start:end]`` that may be section markers, in order, at most one at a place."""
    quoted = _quoted(text, start, end)
    found: dict[int, Marker] = {}
    for family in FAMILIES:
        for match in family.pattern.finditer(text, start, end):
            group = match[1]
            number = ord(group) - ord("①") + 1 if family.name == "circled" else han_number(group)
            weight = _weight(text, start, match, family)
            if number is None or weight is None:
                continue
            if quoted[match.start() - start]:
                weight -= 2.5
            found.setdefault(match.start(), Marker(match.start(), match.end(), family, number, weight))
    return [found[at] for at in sorted(found)]


def _weight(text: str, start: int, match: re.Match[str], family: Family) -> float | None:
    """How well a marker's surroundings fit: None where it cannot be one."""
    at = match.start()
    gap = text[max(start, at - 8) : at]
    before = gap.rstrip()
    opens = at == start or (not gap.strip() and at - start <= 8)
    line = "\n" in gap[len(before) :] or "\r" in gap[len(before) :]
    spaced = len(before) < len(gap)
    ended = bool(before) and before[-1] in _SENTENCE_END
    if family.level == "item":
        if not (opens or spaced or ended or before[-1] in ":：,，、)）—-"):
            return None
        if family.name == "item-其" and match[1] not in "一二三四五六七八九十":
            return None
        return 1.3 if opens or line or (ended and spaced) else 1.1 if ended or before[-1] in ":：" else 0.8
    weight = 1.6 if opens or line else 1.5 if ended and spaced else 1.0 if spaced else 0.9 if ended else -0.6
    if not opens and not spaced and before[-1] in ":：":
        weight = 0.5
    if family.name == "digit":
        bare = match.end() == match.end(1)
        if not (opens or spaced or ended):
            return None
        if bare and _UNIT.match(text, match.end()):
            weight -= 1.6
        elif bare and not (line or ended or opens):
            weight -= 0.3
    elif family.name in ("chapter", "division", "provision", "part") and not (opens or spaced or ended):
        return None  # 依照本法第三条的规定: a reference
    return weight


def _quoted(text: str, start: int, end: int) -> bytearray:
    """For each character whether it stands inside “…”; a quotation left open for long is not one."""
    inside = bytearray(end - start)
    for match in re.finditer(r"“[^“”\n]{0,400}”|「[^「」\n]{0,400}」|《[^《》\n]{0,100}》", text[start:end]):
        inside[match.start() + 1 : match.end()] = b"\1" * (match.end() - match.start() - 1)
    return inside


def headings(text: str, start: int, end: int) -> Iterator[re.Match[str]]:
    """Markdown headings in ``text[start:end]``, those in fenced code left out."""
    fences = [m.span() for m in FENCE.finditer(text, start, end)]
    for match in MARKDOWN.finditer(text, start, end):
        if not any(a <= match.start() < b for a, b in fences):
            yield match
