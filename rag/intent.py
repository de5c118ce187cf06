"""What kind of answer a question asks for, by its wording: rules over Chinese interrogatives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from rag.lexicon import fold
from rag.markers import han_number

Kind = Literal["fact", "list", "locate", "compare"]

_HAN = "[一二两三四五六七八九十百千万亿零〇]"
_UNITS = (
    "亿元|万元|元|块|钱|万|亿|%|人次|人|名|户|家|所|座|条|项|篇|次|年|个?月|天|日|个?小时|分钟|公里|平方米?|亩|岁|度|吨|件|级|种|类|张|辆"
    "|支|处|倍|步|期|个|间|台|本|册|批|位|群|场|门|课时|层|片|省|市|县|区|镇|乡|村"
)
_LOCATE = re.compile(
    r"哪(?:一|几|些)?(?:篇|份|个(?:文件|材料|文章|文档)|部分|章|节|处)|哪一?(?:项|条|个?方面|块)(?:里|中|下|之?内)|(?:出自|出现在|写在|记载在)(?:哪|什么)|哪里(?:提到|讲|写|说)"
    r"|在哪(?:里|儿)?(?:提到|讲|写|说)|什么地方(?:提到|讲|写|说)|(?:标题|题目|篇名)(?:是|叫)什么|有没有(?:一?篇|文章|材料|现成)"
)
_COMPARE = re.compile(
    r"同样(?:是|都)?|两(?:篇|份|地|边|处|家|者|个(?:市|县|区|镇|村|省|地方|文件|材料))|各自|相比|比较|对比|区别|不同(?:之处|点|在)|有何不同|异同"
    r"|前者|后者|哪个(?:更|多|少|高|低|大|小|早|晚)|(?:和|与|跟).{2,30}分别"
)
_LIST = re.compile(
    r"哪些|哪(?:[二两三四五六七八九十]|\d{1,2}|几)|有哪|包括(?:什么|哪)|都有(?:什么|啥|谁)|(?:什么|啥)(?:内容|措施|要求|方面|举措|办法|任务|原则)"
    r"|分别(?:是|为|指|叫)|列(?:出|举)|怎么(?:分|做)|如何(?:做|推进|落实|开展)|几(?:个方面|条|项|点|类|种|张|步)"
)
_ASKS = re.compile(r"哪|几(?!乎)|多少|什么|啥|谁|为何|如何|多[久大长高远重]|怎|咋")
_PART = re.compile(r"哪一?(?:项|条|部分|章|节|个?方面|块)")
_COUNT = re.compile(
    rf"({_HAN}{{1,3}}|\d{{1,2}})\s*(?:大|个|项|条|种|类|张|步|点|方面|样|件|句|支|本|道|级|安|化|治|清单|网|工程)"
)
_NUMBER = re.compile(rf"(?:多少|第?几|几成|百分之几)(?:个|了)?({_UNITS})?")


_FRAME = re.compile(
    rf"[,，]?\s*(?:的?(?:做法|说法|内容|事|经验|提法))?[,，]?\s*(?:出自|见于|见|是|该看|看看?)?(?:的?是)?(?:{_LOCATE.pattern})"
    r"(?:的|材料|文章|文件|里|中|呢|哪部分|哪一?篇)*\s*(?=[,，。？?]|$)"
)


def asks(text: str) -> bool:
    """Whether a text asks something."""
    return bool(_ASKS.search(fold(text))) or text.rstrip().endswith(("？", "?", "吗", "呢"))


@dataclass(frozen=True, slots=True)
class Intent:
    """``count`` is the number of items that the question names (哪四个方面: 4). ``form`` is what a sentence
    that answers must hold, a number with its unit or a date; None where any sentence may answer."""

    kind: Kind
    count: int | None = None
    form: re.Pattern[str] | None = None
    given: frozenset[str] = frozenset()  # numbers that the question itself states
    section: bool = False  # which part of an article, rather than which article
    asks: int = 1  # how many things it asks for (几个？谁出钱？: 2)

    def fits(self, sentence: str) -> bool:
        """Whether a sentence holds what the question asks for, other than what it states itself."""
        if self.form is None:
            return True
        for match in self.form.finditer(fold(sentence)):
            numbers = set(re.findall(r"\d+", match[0]))
            if not numbers or not numbers <= self.given:
                return True
        return False


def understand(question: str) -> Intent:
    """The intent behind ``question``."""
    text = fold(question)
    kind: Kind = "fact"
    if _LOCATE.search(text):
        kind = "locate"
    elif _COMPARE.search(text):
        kind = "compare"
    elif _LIST.search(text):
        kind = "list"
    counts = [n for n in (han_number(m[1]) for m in _COUNT.finditer(text)) if n and 2 <= n <= 40]
    given = frozenset(re.findall(r"\d+", text))
    return Intent(
        kind,
        counts[-1] if counts else None,
        _form(text),
        given,
        bool(_PART.search(text)),
        max(1, len(_ASKS.findall(text))),
    )


def topic(question: str) -> str:
    """The question without the words that only ask where it is written: what is left is what is written there."""
    rest, found = _FRAME.subn("", question)
    rest = rest.strip(" ,，。？?")
    return rest if found and len(rest) >= 6 else question


def _form(text: str) -> re.Pattern[str] | None:
    number = _NUMBER.search(text)
    if re.search(r"多久|多长时间|多少时间", text):
        return re.compile(rf"(?:\d|{_HAN})+\s*个?(?:年|月|日|天|小时|分钟|周|秒)")
    if re.search(r"比例|百分|占比|税率|增幅|增速|几成", text):
        return re.compile(r"\d\s*%|百分之|成")
    if number or re.search(r"多(?:大|高|宽|重|远|长)", text):
        unit = number[1] if number else None
        if unit in ("块", "钱", "元"):
            return re.compile(rf"(?:\d|{_HAN})\s*[万亿千百]?\s*[元块]")
        if unit and unit not in ("万", "亿"):
            return re.compile(rf"(?:\d|{_HAN})\s*[余多个万亿千百]*\s*{re.escape(unit)}")
        return re.compile(rf"\d|{_HAN}+(?:[个项名条%元万亿成倍家次])")
    if re.search(r"哪一?年|何时|什么时候|哪天|几月|几号", text):
        return re.compile(rf"\d+\s*[年月日]|{_HAN}+年|世纪|期间|时期")
    if re.search(r"电话|号码|热线|网址", text):
        return re.compile(r"\d{3,}")
    return None
