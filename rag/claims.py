"""What a sentence states that can be looked up: its numbers with their units, dates, names, quotations, and how it is
said (negated, obliging, allowing, forbidding)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import combinations
from math import isclose
from typing import Any

from rag.lexicon import fold

_HAN_DIGITS = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_SMALL = {"十": 10, "百": 100, "千": 1000}
_HAN = "零〇一二三四五六七八九十百千两"
_UNITS = {
    "元": "元 块钱 块 人民币",
    "人": "人 名 位 口人",
    "户": "户 家",
    "%": "% 个百分点",
    "年": "年 周年 年度",
    "月": "个月 月份 月",
    "周": "周 个星期 星期",
    "日": "天 日 号 个工作日",
    "时": "个小时 小时 个钟头 钟头 时 点钟 点",
    "分": "分钟",
    "次": "次 回 趟 遍",
    "岁": "周岁 岁",
    "件": "件 起 宗 桩",
    "所": "所 座 处 家",
    "公里": "公里 千米",
    "米": "米 公尺",
    "里": "里",
    "亩": "亩",
    "公斤": "公斤 千克 斤",
    "度": "度 摄氏度 ℃",
    "吨": "吨",
    "倍": "倍",
}
_CONVERTED = {
    ("日", "时"): 24,
    ("周", "日"): 7,
    ("年", "月"): 12,
    ("时", "分"): 60,
    ("公里", "米"): 1000,
    ("公里", "里"): 2,
}
_CLASS = {name: kind for kind, names in _UNITS.items() for name in names.split()}
_UNIT = "|".join(sorted(map(re.escape, _CLASS), key=len, reverse=True))
_ARABIC = r"\d+(?:\.\d+)?(?:[\s多余来]*[十百千]?[万亿]{1,2}|[百千])?(?:\d+(?:\.\d+)?[万千百])*"
_NUMBER = re.compile(
    rf"(?P<of>[{_HAN}\d.]+)分之(?P<part>[{_HAN}\d.]+(?:点[{_HAN}]+)?)"
    rf"|(?P<tenths>[一二三四五六七八九两\d])成(?P<half>[一二三四五六七八九半])?(?P<over>[多余])?(?![立员果为长功效就品都交年熟本分绩])"
    rf"|(?P<ordinal>第)?(?:(?P<arabic>{_ARABIC})|(?P<han>[{_HAN}]+(?:点[{_HAN}]+)?[万亿]{{0,2}}(?:[{_HAN}]+万?[{_HAN}]*)?))"
    rf"(?P<more>[多余来几])?(?:\s*(?P<unit>{_UNIT}))?(?=(?P<after>.?))"
)
_COUNTED = "个种类项条点句张份支本道级期批步层代届轮场组队门组段篇台套只辆间栋片批样款档件名位次"
_FIXED = re.compile(  # a Chinese numeral in a word
    "一成不变|一[些定般直样致起切方旦时带体并概律贯面经向举同心再旁把度流统线刀窝网对站揽码]|[统唯万同单专之]一|十分|三农|百姓|千万不|一一|四处|"
    "不一|进一步|一步|第一时间|七八|三三两两|两边|两者|两端|二者"
)
_COUNTABLE = 10
_CALENDAR = 1000  # from which on a number of years is a year
_MANY = 40  # numbers in a text, after which nothing is reckoned from two of them
_ABOUT = 0.1  # of a value: how far a round number may be from the exact one
_NEARLY, _BEYOND = (
    re.compile(r"(?:近|接近|不到|不足|不满|差不多)$"),
    re.compile(r"(?:超过?|逾|突破|高于|多于)$"),
)
_UPWARDS, _LEFT_AND_RIGHT = re.compile(r"以上|出头|有余"), re.compile(r"左右|上下")
_ROUGHLY = re.compile(r"(?:约|大约|大概|大致)$")
_RATIO = re.compile(rf"(?:[{_HAN}]|\d+)(?:[比:](?:[{_HAN}]|\d+)){{1,3}}(?!\d)")
_RATIO_SIGN = re.compile("[比:]")
_HALF = re.compile(r"一半|半数|减半|对半")
_LATE = re.compile(r"(?:下午|傍晚|晚上?|夜里)$")
_QUOTED = re.compile(r'"([^"]{2,24})"|《([^》]{2,40})》')
_LATIN = re.compile(r"[a-z][a-z0-9.+-]+")
_PERSONS = frozenset(("nr", "nrt", "nrfg"))  # jieba's tags
_DISTRICTS = "省市县区州盟旗乡镇村"
_PROVINCES = re.compile(
    "北京|天津|上海|重庆|河北|山西|辽宁|吉林|黑龙江|江苏|浙江|安徽|福建|江西|山东|河南|湖北|湖南|广东|海南|四川|贵州|云南|陕西|甘肃|青海|"
    "台湾|内蒙古|广西|西藏|宁夏|新疆|香港|澳门"
)
_SURNAMES = frozenset(
    "王李张刘陈杨黄赵周吴徐孙马朱胡郭何高林罗郑梁谢宋唐许邓冯韩曹曾彭萧蔡潘田董袁于余叶蒋杜苏魏程吕丁沈任姚卢傅钟姜崔谭廖"
    "范汪陆金石戴贾韦夏邱方侯邹熊孟秦白江阎薛尹段雷龙黎史陶贺毛郝顾龚邵万覃武钱戴莫孔向汤"
)
_NEGATIONS = re.compile(
    r"不(?!断|仅|但|同|少|只|管|论|久|足|错|愧|懈|妨|禁|料|良|过|可或缺|时)|没|未(?!来|成年|婚)|无(?!锡|论|疑|线|偿|障碍|缝|人机)|非(?!常|遗|公|营|法|物质)"
    r"|禁止|严禁|拒绝|取消|停止|杜绝|免(?:收|于|除|费|缴|征)|以外|除外"
)
_MODALS = {
    "must": re.compile(r"应当|必须|须(?!知)|务必|应(?!急|用|对|答|届|聘|邀|有|收)|一律|不得不|只能|需要?"),
    "may": re.compile(r"(?<!不)可以|允许|鼓励|可(?!靠|能|见|持续|视|信|行|比|燃|再|控)|有权|自愿|优先"),
    "forbid": re.compile(r"不得(?!不)|禁止|严禁|不准|不许|不能|不可(?!或缺|或)|不允许|杜绝"),
}


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number in a text: its value, the class of its unit ("" where it has none that is known), and its place in the
    folded text. Shares are per cent. ``low`` and ``high`` are what a round number means: 600 to 700 for 六百多."""

    value: float
    unit: str
    start: int
    end: int
    ordinal: bool
    low: float
    high: float

    @property
    def counted(self) -> bool:
        """Whether it may have been counted in a text that only lists: 三个县 where three are named."""
        if self.ordinal:
            return self.value == 1  # 首批 is 第一批
        return self.value == 1 or (
            self.value <= _COUNTABLE and self.value.is_integer() and self.unit in ("", "人")
        )

    @property
    def round(self) -> bool:
        """Whether it stands for more values than one."""
        return self.low != self.high

    def alike(self, other: Quantity) -> bool:
        """Whether both are numbers of the same thing: of one unit, and not a year beside a number of years."""
        years = [q.unit == "年" and q.value >= _CALENDAR for q in (self, other)]
        return self.unit == other.unit and self.ordinal == other.ordinal and years[0] == years[1]

    def same(self, other: Quantity) -> bool:
        """Whether ``other`` bears this out: an equal value, or one that is meant by this round one, with units that
        do not differ or can be converted (72 hours are 3 days)."""
        if self.ordinal != other.ordinal:
            return False
        value = other.value
        if self.unit != other.unit and self.unit and other.unit:
            if (other.unit, self.unit) in _CONVERTED:
                value *= _CONVERTED[other.unit, self.unit]
            elif (self.unit, other.unit) in _CONVERTED:
                value /= _CONVERTED[self.unit, other.unit]
            else:
                return False
        return self.means(value)

    def means(self, value: float) -> bool:
        """Whether the value is this one, or one that it stands for as a round number."""
        return isclose(self.value, value, rel_tol=1e-6) or self.low <= value <= self.high


@lru_cache(maxsize=4096)
def quantities(text: str) -> tuple[Quantity, ...]:
    """The numbers in ``text``, Arabic or Chinese, in reading order. A bare 一 and words such as 统一 are none."""
    folded = fold(text)
    fixed = [m.span() for m in _FIXED.finditer(folded)]
    found: list[Quantity] = []
    for ratio in _RATIO.finditer(folded):
        parts = [number(part) or 0.0 for part in _RATIO_SIGN.split(ratio[0])]
        if sum(parts) in (10, 100):  # 四比六: 40% and 60%
            shares = [100 * part / sum(parts) for part in parts]
            found += [Quantity(share, "%", *ratio.span(), False, share, share) for share in shares]
    for match in _HALF.finditer(folded):
        found.append(Quantity(50, "%", *match.span(), False, 50, 50))
    for match in _NUMBER.finditer(folded):
        if match["han"] and any(a < match.end("han") and match.start("han") < b for a, b in fixed):
            continue
        read = _read(match)
        if read is not None:
            value, unit = read
            start, end = match.start(), match.end()
            if unit == "时" and value < 12 and _LATE.search(folded[max(0, start - 3) : start]):
                value += 12
            low, high = _meant(value, match, folded[max(0, start - 3) : start], folded[end : end + 2])
            found.append(Quantity(value, unit, start, end, bool(match["ordinal"]), low, high))
    return tuple(sorted(found, key=lambda q: q.start))


def _meant(value: float, match: re.Match[str], before: str, after: str) -> tuple[float, float]:
    """The values that a number may mean with the words around it: 近三千 is somewhat less than 3,000."""
    about = _ABOUT * value
    if match["more"] or match["over"] or "多" in match[0]:
        return value, value + _step(value)
    if _NEARLY.search(before):
        return value - about, value
    if _BEYOND.search(before) or _UPWARDS.match(after):
        return value, value + about
    if _ROUGHLY.search(before) or _LEFT_AND_RIGHT.match(after):
        return value - about, value + about
    return value, value


def _step(value: float) -> float:
    """One of the last place that a round number names: 100 for 600, 10,000 for 30,000."""
    step = 1.0
    while value and value % (step * 10) == 0:
        step *= 10
    return step


def _read(match: re.Match[str]) -> tuple[float, str] | None:
    if match["of"]:
        whole, part = number(match["of"]), number(match["part"])
        return (100 * part / whole, "%") if whole and part is not None else None
    if match["tenths"]:
        half = match["half"]
        tenths = number(match["tenths"]) or 0.0
        return 10 * tenths + (5.0 if half == "半" else number(half) or 0.0 if half else 0.0), "%"
    unit = _CLASS.get(match["unit"] or "", "")
    if match["arabic"]:
        value = number(match["arabic"])
        return None if value is None else (value, unit)
    text = match["han"]
    value = number(text)
    counted = bool(unit) or match["after"][:1] in _COUNTED or match["ordinal"]
    if value is None or (not counted and len(text) < 2) or (value == 1 and not match["ordinal"]):
        return None
    return value, unit


def number(text: str) -> float | None:
    """The value of an Arabic or Chinese numeral with 万 and 亿; None where it is none."""
    text = re.sub(r"[\s多余来]", "", text)
    total = section = 0.0
    digit: float | None = None
    at = 0
    while at < len(text):
        arabic = re.match(r"\d+(?:\.\d+)?", text[at:])
        char = text[at]
        if arabic:
            digit = float(arabic[0])
            at += arabic.end()
            continue
        if char == "点":  # 三点五
            tail = text[at + 1 :]
            cut = re.match(f"[{''.join(_HAN_DIGITS)}]+", tail)
            if not cut:
                return None
            digit = float(f"{int(digit or 0)}." + "".join(str(_HAN_DIGITS[c]) for c in cut[0]))
            at += 1 + cut.end()
            continue
        if char in _HAN_DIGITS:
            value = _HAN_DIGITS[char]
            following = at > 0 and text[at - 1] in _HAN_DIGITS  # 二〇三五
            digit = (digit or 0) * 10 + value if following else float(value)
        elif char in _SMALL:
            section += (1 if digit is None else digit) * _SMALL[char]
            digit = None
        elif char == "万":
            total += (section + (digit or 0)) * 10_000
            section, digit = 0.0, None
        elif char == "亿":
            total = (total + section + (digit or 0)) * 100_000_000
            section, digit = 0.0, None
        else:
            return None
        at += 1
    if not text:
        return None
    return total + section + (digit or 0)


@lru_cache(maxsize=4096)
def names(text: str) -> frozenset[str]:
    """What ``text`` calls by a name: quotations, titles, Latin words, places and organisations; folded."""
    folded = fold(text)
    found = {m[1] or m[2] for m in _QUOTED.finditer(folded)}
    found |= {m[0] for m in _LATIN.finditer(folded)}
    found |= {word for word, tag in _tagger().lcut(folded) if _is_name(word, tag)}
    return frozenset(found)


def _is_name(word: str, tag: str) -> bool:
    """Whether a word that jieba tags as an organisation, a place or a person is a name by its form too: its tags call
    many a common word one."""
    if tag == "nt":
        return len(word) > 2
    if tag == "ns":
        return bool(_PROVINCES.fullmatch(word)) or (
            len(word) > 2 and word[-1] in _DISTRICTS and word[0] not in "各和外大全本该由归"
        )
    return tag in _PERSONS and len(word) == 3 and word[0] in _SURNAMES


@cache
def _tagger() -> Any:
    import jieba.posseg

    from rag.lexicon import segmenter

    return jieba.posseg.POSTokenizer(segmenter())


@lru_cache(maxsize=4096)
def negations(text: str) -> int:
    """How many words of ``text`` negate."""
    return len(_NEGATIONS.findall(fold(text)))


@lru_cache(maxsize=4096)
def modality(text: str) -> frozenset[str]:
    """How ``text`` obliges: ``must``, ``may``, ``forbid``."""
    folded = fold(text)
    return frozenset(name for name, pattern in _MODALS.items() if pattern.search(folded))


def missing(stated: Iterable[Quantity], given: Iterable[Quantity]) -> list[Quantity]:
    """The quantities stated that are neither among those given nor follow from two of them."""
    held = list(given)
    return [q for q in stated if not any(q.same(other) for other in held) and not _follows(q, held)]


def _follows(stated: Quantity, given: Sequence[Quantity]) -> bool:
    """Whether a number is the sum or the difference of two that are given in its unit, or the share of one in another."""
    if stated.ordinal or len(given) > _MANY:
        return False
    for a, b in combinations([q for q in given if not q.ordinal], 2):
        small, large = sorted((a.value, b.value))
        reckoned: list[float] = []
        if a.unit == b.unit == stated.unit != "":
            reckoned += [large + small, large - small]
        if a.unit == b.unit and stated.unit == "%" and small > _COUNTABLE:
            reckoned.append(round(100 * small / large, 1))
        if any(map(stated.means, reckoned)):
            return True
    return False
