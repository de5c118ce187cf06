"""Words mistyped by their sound: a pair of characters that no document holds, and those it may stand for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

LIKELY = 2  # words taken for a mistyped one


class Homophones:
    """The two-character tokens of a knowledge base, by each of their characters."""

    def __init__(self, frequency: Mapping[str, int]) -> None:
        """``frequency``: the number of chunks that hold each token."""
        self._frequency = {t: n for t, n in frequency.items() if len(t) == 2 and _is_han(t)}
        self._by_place: dict[tuple[int, str], list[str]] = {}
        for token in self._frequency:
            for place, char in enumerate(token):
                self._by_place.setdefault((place, char), []).append(token)

    def of(self, unknown: str) -> list[str]:
        """Tokens that share one character with ``unknown`` and sound alike in the other, the most frequent first."""
        if len(unknown) != 2 or not _is_han(unknown):
            return []
        found = [
            token
            for place, char in enumerate(unknown)
            for token in self._by_place.get((place, char), ())
            if sounds(token[1 - place]) & sounds(unknown[1 - place])
        ]
        return sorted(found, key=lambda t: (-self._frequency[t], t))[:LIKELY]


def corrections(unknown: Iterable[str], homophones: Homophones) -> dict[str, Sequence[str]]:
    """For each unknown token the tokens that it may stand for, where there are any."""
    found = {token: homophones.of(token) for token in unknown}
    return {token: likely for token, likely in found.items() if likely}


@cache
def sounds(char: str) -> frozenset[str]:
    """The readings of a character without their tones; zh, ch, sh, ng as z, c, s, n, which many write alike."""
    from pypinyin import Style, pinyin

    readings = pinyin(char, style=Style.NORMAL, heteronym=True)[0]
    return frozenset(map(_plain, readings))


def _plain(reading: str) -> str:
    for precise, plain in (("zh", "z"), ("ch", "c"), ("sh", "s")):
        reading = reading.replace(precise, plain, 1) if reading.startswith(precise) else reading
    return reading[:-1] if reading.endswith("ng") else reading


def _is_han(token: str) -> bool:
    return all("\u3400" <= char <= "\u9fff" for char in token)
