"""Write compilation.messy.txt: the clean compilation as a careless web export would hand it over.

Site boilerplate stands around it, the whole text is one physical line, and stray spaces
are left where the pages of the original had wrapped. The result depends on SEED only.
"""

from __future__ import annotations

import random
import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
SEED = 20240601
GAP = (55, 80)  # characters between two stray spaces

_NUMERAL = "[一二三四五六七八九十]"
# Markers that stay whole and keep their heading attached: at a line's start, or of items anywhere.
MARKER = re.compile(
    rf"^(?:{_NUMERAL}+、|\({_NUMERAL}+\)|\d{{1,2}}\.?(?=[^\d.]))"
    rf"|{_NUMERAL}(?:是|要)|第{_NUMERAL},|其{_NUMERAL},|首先,|其次,|最后,"
)
NUMBER = re.compile(r"(?<![\d.:])\d+(?:\.\d+)?(?![\d.:])%?")

NOTICE = "声明: 本页文稿由会员自行上传,站方没有逐字核对,若与原稿不一致,请以原稿为准,站方不另作处理。"
AFTER = ["查看更多", "相关文章", "社区微更新工作交流材料五则", "乡镇便民服务大厅值班安排(模板)"]
AFTER += ["您可能关注的文档:", "农家书屋管理员岗位职责.docx", "老年食堂食品留样登记表.xlsx"]


def space_numbers(line: str, rng: random.Random) -> str:
    """Put spaces around about half of the ASCII numbers, never around a marker's."""
    head = MARKER.match(line)
    start = head.end() if head else 0

    def spaced(match: re.Match[str]) -> str:
        return f" {match.group()} " if rng.random() < 0.5 else match.group()

    text = line[:start] + NUMBER.sub(spaced, line[start:])
    return re.sub(" {2,}", " ", text).strip()


def wrap_spaces(lines: list[str], rng: random.Random) -> list[str]:
    """Insert the stray spaces, counting on from line to line."""
    result, left = [], rng.randint(*GAP)
    for line in lines:
        closed = {i for m in MARKER.finditer(line) for i in range(m.start() + 1, m.end() + 1)}
        out: list[str] = []
        for i, char in enumerate(line):
            pair = line[i - 1 : i + 1]
            if left <= 0 and i and i not in closed and not re.search(r"\s|[\d.%]{2}", pair):
                out.append(" ")
                left = rng.randint(*GAP)
            out.append(char)
            left -= 1
        result.append("".join(out))
    return result


def make_messy(clean: str) -> str:
    """The messy form of a clean compilation (title line first, then the line 目录)."""
    rng = random.Random(SEED)
    title, *lines = clean.splitlines()
    body = [title] + ["目 录" if line == "目录" else space_numbers(line, rng) for line in lines]
    one_line = " ".join(wrap_spaces(body, rng))
    return "\n\n".join([title, NOTICE, "文档介绍", title, one_line, *AFTER]) + "\n"


def main() -> None:
    clean = (HERE / "compilation.clean.txt").read_text(encoding="utf-8")
    (HERE / "compilation.messy.txt").write_text(make_messy(clean), encoding="utf-8")


if __name__ == "__main__":
    main()
