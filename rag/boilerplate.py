"""Text that a site put around a document: recognised by its phrases, and only at the document's edges."""

from __future__ import annotations

import re

from rag.fold import squeeze

# Short lines: links, buttons and counters of a page.
_LABEL = re.compile(
    r"[>＞»\s]*(?:查看更多|查看全文|展开全文|阅读全文|(?:您|你)可能(?:关注|感兴趣|喜欢|还)|猜你喜欢"
    r"|(?:相关|热门|推荐)(?:文章|推荐|阅读|文档|资料|链接|新闻|内容)(?:推荐)?\s*(?:[:：>＞».…]|$)"
    r"|文档(?:介绍|简介|描述|信息|预览|标签)|内容(?:简介|提示)"
    r"|上一[篇页]|下一[篇页]|返回(?:顶部|首页|列表|目录)|(?:打印|关闭)(?:本页|窗口)?$|分享(?:到|至)|扫一扫|扫码"
    r"|(?:点击|立即|免费)?下载(?:文档|全文|本文|地址)?$|收藏(?:本文|文档)?$|点赞|评论区|发表评论|举报(?:本文|文档|内容)?$"
    r"|当前位置|您(?:所在|当前)的?位置|首页\s*[>＞»]|浏览(?:次数|量)|阅读(?:次数|量)|(?:责任)?编辑[:：])"
)
# What a site says of itself, also in whole sentences.
_NOTICE = re.compile(
    r"^(?:(?:版权|免责|网站|特别)?声明[:：\s]|(?:版权|免责|网站|特别)声明$|申明|版权所有)|ICP备|京公网安备|Copyright"
    r"|(?:本站|本网站)(?:不|保证|声明|用户|会员|上传|转载|文档|资源|仅供|所有)|用户上传|网友(?:上传|分享)|上传者"
    r"|(?:如|若)有?侵权|侵权.{0,6}删除|(?:来源|转载|原文|下载|更多).{0,12}(?:https?://|www\.)",
    re.IGNORECASE,
)
_STOPS = ("。", "！", "？", "；")


def is_boilerplate(line: str) -> bool:
    """Whether a line is a site's own words rather than the document's."""
    line = line.strip()
    if len(line) <= 40 and not line.endswith(_STOPS) and _LABEL.match(line):
        return True
    return len(line) < 200 and bool(_NOTICE.search(line))


def trim(text: str, start: int, end: int) -> tuple[int, int]:
    """``(start, end)`` without white space and boilerplate lines at its edges.

    At the end, the first boilerplate line takes with it the short lines after it (names of other documents).
    """
    lines = [(start + m.start(), start + m.end()) for m in re.finditer(r"[^\r\n]+", text[start:end])]
    first = _head(text, lines)
    last = len(lines)
    for i in range(len(lines) - 1, max(first, len(lines) - 40) - 1, -1):
        a, b = lines[i]
        if is_boilerplate(text[a:b]):
            last = i
        elif b - a > 120 or text[a:b].rstrip().endswith(_STOPS):
            break
    start, end = (lines[first][0], lines[last - 1][1]) if first < last else (start, end)
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _head(text: str, lines: list[tuple[int, int]]) -> int:
    """How many lines stand before the document: boilerplate, and a title above it that comes again below."""
    first = 0
    above: list[str] = []
    for i, (a, b) in enumerate(lines[:20]):
        line = text[a:b].strip()
        if is_boilerplate(line):
            below = [squeeze(text, *place)[0] for place in lines[i + 1 : i + 10]]
            if not all(any(one.startswith(title) for one in below) for title in above):
                break
            first = i + 1
        elif line:
            above.append(squeeze(line)[0])
            if len(line) > 60 or line.endswith(_STOPS) or len(above) > 2:
                break
    return first
