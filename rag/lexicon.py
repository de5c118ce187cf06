"""Text to search tokens: jieba words and character bigrams of the folded text."""

from __future__ import annotations

import logging
import re
from functools import cache, lru_cache
from typing import Any

from rag.fold import fold_char

_WORD = re.compile(r"[a-z]+|\d+(?:\.\d+)?|[\u3007\u3400-\u9fff\U00020000-\U0003ffff]+")
_GAP = re.compile(r"(?<=[\u3400-\u9fff，。、；：“”《》（）()])\s+(?=[\u3400-\u9fff，。、；：“”《》（）()])")
_DIGIT_GAP = re.compile(r"(?<=\d)[ \u00a0\u2009,，](?=\d{3}(?!\d))")
_HAN_NUMBER = re.compile(r"(?<![万亿一二三四五六七八九十百千零〇两])[一二三四五六七八九十百千零〇两]+")
_DIGITS = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_SCALE = {"十": 10, "百": 100, "千": 1000}
# Words that a question is made with and that say nothing of what it asks about.
_STOPWORDS = (
    "的 了 在 是 和 与 及 或 等 对 中 为 以 有 也 都 就 而 被 把 将 从 到 于 由 其 该 这 那 这个 那个 它 他 我 你 们 我们 你们 他们 "
    "什么 哪 哪个 哪些 哪几 哪几个 几 几个 多少 怎么 怎样 如何 为什么 为何 是否 吗 呢 啊 吧 呀 谁 请问 一下 请 介绍 说 讲 说明 告诉 "
    "里 里面 上 下 中的 提到 提出 要求 关于 根据 按照 文中 文章 材料 一个 一些 有没有 没有 能 可以 会 要 想 应该 需要 进行 "
    "分别 具体 主要 包括 包含 哪里 哪儿 何时 时候 多久 个 项 条 种 次 年 月 日 叫 做 干 搞 用 让 给 来 去 还 又 很 到底 究竟 是不是"
)
STOPWORDS = frozenset(_STOPWORDS.split())


@cache
def _simplifier() -> Any:
    import opencc

    return opencc.OpenCC("t2s")


@cache
def segmenter() -> Any:
    """jieba's tokenizer with its own dictionary, loaded once."""
    import jieba

    jieba.setLogLevel(logging.WARNING)
    segmenter = jieba.Tokenizer()
    segmenter.initialize()
    return segmenter


def fold(text: str) -> str:
    """``text`` as it is searched and embedded: half width, lower case, simplified, without stray spaces.

    Not for anything stored or quoted: its length may differ from that of ``text``.
    """
    text = "".join(map(fold_char, text))
    text = _GAP.sub("", text)
    text = _DIGIT_GAP.sub("", text)
    return str(_simplifier().convert(text))


def natural(text: str) -> str:
    """``text`` as it is embedded: like :func:`fold`, with case, quotes and punctuation kept as they are."""
    text = _GAP.sub("", " ".join(text.split()))
    return str(_simplifier().convert(text))


@cache
def _number(text: str) -> str | None:
    """The Arabic form of a Chinese numeral of two or more characters below 10,000; else None."""
    if len(text) < 2:
        return None
    if all(c in _DIGITS for c in text):  # 二〇三五
        return "".join(str(_DIGITS[c]) for c in text)
    total, digit = 0, 0
    for char in text:
        if char in _SCALE:
            total, digit = total + (digit or 1) * _SCALE[char], 0
        else:
            digit = _DIGITS[char]
    return str(total + digit)


def words(text: str) -> list[str]:
    """The words of ``text`` in order: jieba words of two and more characters, numbers, Latin words.

    Chinese numerals come in their Arabic form as well.
    """
    out: list[str] = []
    for run in _WORD.findall(fold(text)):
        if run[0] < "\u3000":
            out.append(run)
            continue
        for word in segmenter().cut_for_search(run):
            if len(word) > 1 or word in _DIGITS:
                out.append(word)
        for match in _HAN_NUMBER.finditer(run):
            number = _number(match[0])
            if number:
                out.append(number)
    return out


def bigrams(text: str) -> list[str]:
    """The pairs of neighbouring Chinese characters in ``text``."""
    return [
        run[i : i + 2] for run in _WORD.findall(fold(text)) if run[0] > "\u3000" for i in range(len(run) - 1)
    ]


@lru_cache(maxsize=8192)  # the same headings and sentences come up question after question
def tokens(text: str) -> tuple[str, ...]:
    """Search tokens of ``text``: its words, and those bigrams that are not words themselves."""
    found = words(text)
    known = set(found)
    return (*found, *(b for b in bigrams(text) if b not in known))


def content(text: str) -> list[str]:
    """The words of ``text`` that say something, in order."""
    return [word for word in words(text) if word not in STOPWORDS]


def terms(question: str) -> list[str]:
    """The words of a question that say what it is about, each once."""
    return list(dict.fromkeys(content(question)))
