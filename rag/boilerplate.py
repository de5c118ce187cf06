"""Text that a site put around a document: recognised by its phrases, and only at the document's edges."""

from __future__ import annotations

import re

_PHRASES = re.compile(
    r"^(?:[>＞»\s]*)(?:查看更多|查看全文|展开全文|阅读全文|相关(?:文章|推荐|阅读|文档|资料|链接|新闻|内容)|(?:您|你)可能(?:关注|感兴趣|喜欢|还)"
    r"|猜你喜欢|热门(?:文章|推荐|文档)|推荐(?:文章|阅读|文档)|文档(?:介绍|简介|描述|信息|预览|标签)|内容(?:简介|提示)"
    r"|上一[篇页]|下一[篇页]|返回(?:顶部|首页|列表|目录)|(?:打印|关闭)(?:本页|窗口)?$|分享(?:到|至)|扫一扫|扫码"
    r"|(?:点击|立即|免费)?下载(?:文档|全文|本文|地址)?$|收藏(?:本文|文档)?$|点赞|评论区|发表评论|举报"
    r"|版权(?:声明|所有)|免责(?:声明|条款)|声明[:：]|申明|特别(?:声明|提示)|温馨提示|网站声明"
    r"|当前位置|您(?:所在|当前)的?位置|首页\s*[>＞»]|浏览(?:次数|量)|阅读(?:次数|量)|(?:责任)?编辑[:：]|ICP备|京公网安备|Copyright)",
    re.IGNORECASE,
)
_SITE = re.compile(
    r"本站|本网站|上传(?:者|的文档|用户)|网友(?:上传|分享)|侵权|版权归|https?://|www\.", re.IGNORECASE
)


def is_boilerplate(line: str) -> bool:
    """Whether a line is a site's own words rather than the document's."""
    line = line.strip()
    return bool(line) and len(line) < 200 and bool(_PHRASES.match(line) or _SITE.search(line))


def trim(text: str, start: int, end: int) -> tuple[int, int]:
    """``(start, end)`` without white space and boilerplate lines at its edges.

    At the end, the first boilerplate line takes with it the short lines after it (names of other documents).
    """
    lines = _lines(text, start, end)
    first = 0
    seen = False
    for i, (a, b) in enumerate(lines[:30]):
        if is_boilerplate(text[a:b]):
            first, seen = i + 1, True
        elif text[a:b].strip() and (not seen or b - a > 60):
            break
    last = len(lines)
    for i in range(len(lines) - 1, max(first, len(lines) - 40) - 1, -1):
        a, b = lines[i]
        if is_boilerplate(text[a:b]):
            last = i
        elif b - a > 120 or text[a:b].rstrip().endswith(("。", "！", "？", "；")):
            break
    start, end = (lines[first][0], lines[last - 1][1]) if first < last else (start, end)
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _lines(text: str, start: int, end: int) -> list[tuple[int, int]]:
    return [(start + m.start(), start + m.end()) for m in re.finditer(r"[^\r\n]+", text[start:end])]
