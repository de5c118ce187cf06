"""Folding of text for comparison only; what is stored and quoted is never folded."""

from __future__ import annotations

import unicodedata
from functools import cache

_QUOTES = str.maketrans("“”„‟＂«»「」『』‘’‚‛＇—–―‐－﹣·•・", '"' * 11 + "'" * 5 + "-" * 6 + "·" * 3)


@cache
def fold_char(char: str) -> str:
    """One code point for one: full width to half, quotes and dashes to one form, lower case."""
    folded = unicodedata.normalize("NFKC", char)
    char = folded if len(folded) == 1 else char
    return char.translate(_QUOTES).lower()[:1] or char


def squeeze(text: str, start: int = 0, end: int | None = None) -> tuple[str, list[int]]:
    """``text[start:end]`` folded and without white space, and for each character its offset in ``text``."""
    end = len(text) if end is None else end
    places = [i for i in range(start, end) if not text[i].isspace()]
    return "".join(fold_char(text[i]) for i in places), places
