"""The result of ``youju eval cases`` as one HTML file that asks nothing of any host.

Summary with intervals, plots, then each question: its answer, its citations beside the gold evidence, and what
was retrieved, with filters for what failed.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

from eval import metrics, plots
from eval.metrics import Place
from eval.score import METRICS
from rag.errors import PathError

RETRIEVED = 10  # passages shown of each case
BY_TYPE = ("recall@1000", "kp@400", "cite_f1")  # measures of the plot by type
# What a case must reach not to count as failed; of a measure of which less is better, what it must not pass.
EXPECTED = {
    "recall@2000": 0.5,
    "kp": 0.5,
    "kp@400": 0.5,
    "cite_recall": 0.5,
    "cite_precision": 0.5,
    "cite_article": 0.5,
    "exact": 1.0,
    "placed": 1.0,
    "resolved": 1.0,
    "supported": 1.0,
    "refusal": 1.0,
    "false_refusal": 0.0,
    "false_premise_flagged": 1.0,
}

Case = Mapping[str, Any]
Result = Mapping[str, Any]

_NAMES = {
    "recall@1000": "证据召回，前 1,000 字",
    "recall@2000": "证据召回，前 2,000 字",
    "hit@2000": "证据大体在前 2,000 字里",
    "passage_recall@1": "证据召回，前 1 段",
    "passage_recall@5": "证据召回，前 5 段",
    "passage_recall@10": "证据召回，前 10 段",
    "passage_recall@20": "证据召回，前 20 段",
    "mrr@10": "首段证据名次的倒数",
    "ndcg@10": "排序质量",
    "failure@20": "前 20 段缺的证据",
    "kp": "要点召回",
    "kp@400": "要点召回，前 400 字",
    "cite_recall": "引用召回",
    "cite_precision": "引用准确率",
    "cite_f1": "引用 F1",
    "cite_article": "引用的文章正确",
    "articles_cited": "该引的文章引到了",
    "cite_char_precision": "引用准确率，按字",
    "cite_char_recall": "引用召回，按字",
    "cite_char_f1": "引用 F1，按字",
    "exact": "引文与原文一致",
    "placed": "引文在所说的文章里",
    "resolved": "引用编号都有着落",
    "supported": "有依据的句子",
    "alce_recall": "ALCE 引用召回",
    "alce_precision": "ALCE 引用准确率",
    "alce_f1": "ALCE 引用 F1",
    "refusal": "无答案的题拒答了",
    "refusal_precision": "拒答的题确无答案",
    "false_refusal": "有答案的题拒答了",
    "false_premise_flagged": "指出错误前提",
    "chars": "答案字数，中位数",
    "citations": "每题引用数",
    "milliseconds": "每题毫秒数",
    "missing": "缺答案",
}


def write_report(result: Result, path: Path) -> None:
    """Write the page. Raises ConfigError without matplotlib, PathError where it cannot be written."""
    page = report(result)
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise PathError(
            f"报告写不出 (cannot write the report): {path} ({error.strerror})",
            "检查路径和权限 (check the path)",
        ) from None


def report(result: Result) -> str:
    """The page as text."""
    style, script = _static("report.css"), _static("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"
    cases: Sequence[Case] = result.get("cases") or []
    parts = (
        _summary(result),
        _plots(result, cases),
        _questions(cases),
        _settings(result.get("settings") or {}),
    )
    return (
        '<!DOCTYPE html>\n<html lang="zh-CN">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>有据 · 评测报告</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + f"\n</main>\n<script>{script}</script>\n</body>\n</html>\n"
    )


def failed(values: Mapping[str, float]) -> list[str]:
    """The measures in which a case falls short of what is ``EXPECTED``."""
    return [
        name
        for name, expected in EXPECTED.items()
        if name in values and METRICS[name].better * (values[name] - expected) < 0
    ]


# -- summary ------------------------------------------------------------------------------------------------


def _summary(result: Result) -> str:
    cases = result.get("cases") or []
    wrong = sum(bool(failed(case.get("metrics") or {})) for case in cases)
    entries = "\n".join(_measure(name, value) for name, value in (result.get("metrics") or {}).items())
    return (
        "<header><h1>评测报告</h1>\n"
        f'<p class="note">{len(cases)} 题，其中 {wrong} 题至少有一项未达标。'
        "区间是自助法（bootstrap）95% 置信区间，n 是适用该指标的题数。</p></header>\n"
        f'<h2>总览</h2>\n<div class="measures">\n{entries}\n</div>'
    )


def _measure(name: str, value: Mapping[str, Any]) -> str:
    mean, low, high, n = (float(value[key]) for key in ("mean", "low", "high", "n"))
    share = low >= 0 and high <= 1
    bar = _interval(mean, low, high) if share else ""
    digits = 3 if share else 1
    shown = f'<span title="{_text(name)}">{_text(_NAMES.get(name, name))}</span>'
    if name in _NAMES:
        shown = f'<span>{_text(_NAMES[name])} <code class="note">{_text(name)}</code></span>'
    return (
        f'<div class="measure">{shown}<b>{mean:.{digits}f}</b>'
        f'<span class="range">{bar}{low:.{digits}f} – {high:.{digits}f}，n = {n:.0f}</span></div>'
    )


def _interval(mean: float, low: float, high: float) -> str:
    """A line from 0 to 1 with the interval and the mean on it."""
    return (
        '<svg viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        '<line class="track" x1="0" y1="4" x2="100" y2="4"/>'
        f'<line class="interval" x1="{100 * low:.1f}" y1="4" x2="{100 * high:.1f}" y2="4"/>'
        f'<rect class="mean" x="{min(99.2, 100 * mean):.1f}" y="0" width="0.8" height="8"/></svg>'
    )


def _settings(settings: Mapping[str, Any]) -> str:
    rows = "\n".join(
        f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in _flat(settings)
    )
    return f'<h2>设置</h2>\n<div class="scroll"><table>{rows}</table></div>' if rows else ""


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield above + name, value


# -- plots --------------------------------------------------------------------------------------------------


def _plots(result: Result, cases: Sequence[Case]) -> str:
    by_type = result.get("by_type") or {}
    threshold = (result.get("settings") or {}).get("refuse_below")
    drawn = [
        _recall_plot(result.get("recall_curve") or []),
        _refusal_plot(
            result.get("refusal_curve") or [], threshold if isinstance(threshold, int | float) else None
        ),
        _type_plot(by_type),
        _article_plot(cases),
        _latency_plot(cases),
    ]
    figures = "\n".join(figure for figure in drawn if figure)
    return f'<h2>图</h2>\n<div class="plots">\n{figures}\n</div>' if figures else ""


def _figure(name: str, note: str, svg: str) -> str:
    return f'<figure role="img" aria-label="{_text(name)}"><figcaption><b>{name}</b>{note}</figcaption>{svg}</figure>'


def _recall_plot(curve: Sequence[Mapping[str, float]]) -> str:
    if not curve:
        return ""
    points = [(0.0, 0.0), *((point["budget"], point["recall"]) for point in curve)]
    svg = plots.lines([plots.Line("", points)], "检索到的字数")
    return _figure("证据召回与检索字数", "检索到的前若干字里有多少证据", svg)


def _refusal_plot(curve: Sequence[Mapping[str, float | None]], threshold: float | None) -> str:
    names = {"recall": "无答案的题", "false_refusals": "有答案的题"}
    lines = [
        plots.Line(
            name, [(point["threshold"] or 0.0, value) for point in curve if (value := point[key]) is not None]
        )
        for key, name in names.items()
    ]
    lines = [line for line in lines if line.points]
    if not lines:
        return ""
    svg = plots.lines(lines, "信心低于此值即拒答", threshold)
    return _figure("拒答曲线", "各阈值下拒答的比例；虚线是所用的阈值", svg)


def _type_plot(by_type: Mapping[str, Any]) -> str:
    shown = [m for m in BY_TYPE if any(m in found for found in by_type.values())]
    groups = {name: found for name, found in by_type.items() if any(m in found for m in shown)}
    if not groups:
        return ""
    return _figure("按题型", "均值与区间", plots.by_group(groups, shown))


def _article_plot(cases: Sequence[Case]) -> str:
    values = [
        (str(gold["article"]), metrics.evidence_recall(_places([gold]), _places(_retrieved(case)), 1000))
        for case in cases
        for gold in case.get("gold") or ()
        if gold.get("article") is not None
    ]
    values.sort(key=lambda value: (len(value[0]), value[0]))
    means = {
        article: fmean(recall or 0.0 for _, recall in group)
        for article, group in groupby(values, key=lambda value: value[0])
    }
    if len(means) < 2:
        return ""
    return _figure("按文章", "各篇证据在前 1,000 字里的比例", plots.bars(means, "文章编号"))


def _latency_plot(cases: Sequence[Case]) -> str:
    values = [(case.get("metrics") or {}).get("milliseconds") for case in cases]
    totals = [float(value) for value in values if value is not None]
    return _figure("用时", "每题毫秒数", plots.histogram(totals, "毫秒")) if totals else ""


# -- questions ----------------------------------------------------------------------------------------------


def _questions(cases: Sequence[Case]) -> str:
    failures = [failed(case.get("metrics") or {}) for case in cases]
    types = dict.fromkeys(str(case.get("type", "")) for case in cases)
    names = dict.fromkeys(name for found in failures for name in found)
    options = "".join(f'<option value="{_text(name)}">{_text(name)}</option>' for name in types)
    faults = "".join(
        f'<option value="{_text(name)}">{_text(name)}（{sum(name in found for found in failures)}）</option>'
        for name in names
    )
    shown = "\n".join(_case(case, found) for case, found in zip(cases, failures, strict=True))
    return (
        '<h2>各题</h2>\n<div class="filters">'
        f'<label>题型 <select id="type"><option value="">全部</option>{options}</select></label>'
        '<label>未达标 <select id="failed"><option value="">不限</option>'
        f'<option value="*">任一项（{sum(map(bool, failures))}）</option>{faults}</select></label>'
        '<label>含文字 <input id="text" type="search" autocomplete="off"></label>'
        '<button id="open" type="button">展开或收起</button><output id="shown"></output></div>\n'
        '<p class="note">绿底：引用与标准证据重合的字。黄底：只在其中一边的字。</p>\n' + shown
    )


def _case(case: Case, failures: Sequence[str]) -> str:
    kind, answer = str(case.get("type", "")), case.get("answer") or {}
    gold, cited = case.get("gold") or (), answer.get("citations") or ()
    chips = "".join(f"<span>{_text(name)}</span>" for name in failures)
    return (
        f'<details class="case" data-type="{_text(kind)}" data-failed="{_text(" ".join(failures))}">\n'
        f'<summary><span class="id">{_text(case.get("id", ""))}</span><span class="type">{_text(kind)}</span>'
        f'<span class="asked">{_text(case.get("question", ""))}</span><span class="failed">{chips}</span>'
        f'</summary>\n<div class="inside">\n{_history(case.get("history") or ())}{_answer(answer)}'
        f'<div class="sides">\n<section class="cited"><h3>引用</h3>{_quotes(cited, gold, "quote")}</section>\n'
        f'<section class="gold"><h3>标准证据</h3>{_quotes(gold, cited, "text")}</section>\n</div>\n'
        f"{_values(case.get('metrics') or {}, failures)}{_passages(_retrieved(case), gold)}</div>\n</details>"
    )


def _history(history: Iterable[Mapping[str, Any]]) -> str:
    names = {"user": "问", "assistant": "答"}
    turns = "".join(
        f'<p class="turn">{names.get(turn.get("role", ""), "")}：{_text(turn.get("content", ""))}</p>'
        for turn in history
    )
    return f"<div>{turns}</div>\n" if turns else ""


def _answer(answer: Mapping[str, Any]) -> str:
    refused = " refused" if answer.get("refused") else ""
    said = "".join(
        f'<span class="{_text(sentence.get("support", ""))}">{_text(sentence.get("text", ""))}</span>'
        + "".join(f"<sup>[{_text(n)}]</sup>" for n in sentence.get("citations") or ())
        for sentence in answer.get("sentences") or ()
    )
    return f'<p class="answer{refused}">{said or _text(answer.get("answer", ""))}</p>\n'


def _quotes(pieces: Iterable[Mapping[str, Any]], others: Iterable[Mapping[str, Any]], key: str) -> str:
    """Pieces of text with their place, what ``others`` hold of them marked."""
    places = _places(others)
    shown = "".join(
        f'<p class="quote"><span class="where">{_where(piece)}</span>'
        f"<q>{_marked(str(piece.get(key, '')), place, places)}</q></p>"
        for piece, place in zip(pieces, _places(pieces), strict=True)
    )
    return shown or '<p class="none">无</p>'


def _where(piece: Mapping[str, Any]) -> str:
    article = piece.get("article")
    if isinstance(article, Mapping):
        named = f"第 {article.get('number')} 篇 {article.get('title') or ''}"
    else:
        named = "" if article is None else f"第 {article} 篇"
    number = f"[{piece['n']}] " if "n" in piece else ""
    path = " › ".join(map(str, (named.strip(), *(piece.get("section") or ()))))
    return _text(f"{number}{path}，{piece.get('start')}–{piece.get('end')}")


def _marked(text: str, place: Place, others: Sequence[Place]) -> str:
    """The text, whose first character is at ``place.start``, with the characters marked that others hold."""
    held = [
        any(o.document == place.document and o.start <= place.start + i < o.end for o in others)
        for i in range(len(text))
    ]
    out = []
    for both, run in groupby(zip(text, held, strict=True), key=lambda pair: pair[1]):
        piece = escape("".join(char for char, _ in run))
        out.append(f"<mark>{piece}</mark>" if both else piece)
    return "".join(out)


def _values(values: Mapping[str, Any], failures: Sequence[str]) -> str:
    shown = "".join(
        f"<span{' class=bad' if name in failures else ''}>{_text(name)} <b>{_value(value)}</b></span>"
        for name, value in values.items()
        if value is not None
    )
    return f'<div class="values">{shown}</div>\n' if shown else ""


def _value(value: Any) -> str:
    """Three digits of a share, a larger number whole."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return _text(value)
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def _passages(passages: Sequence[Mapping[str, Any]], gold: Sequence[Mapping[str, Any]]) -> str:
    places = _places(gold)
    rows = "".join(
        f'<tr><td class="number">{rank}</td><td class="number">{_value(passage.get("score"))}</td>'
        f"<td>{_where(passage)}</td><td>{_marked(str(passage.get('text', '')), place, places)}</td></tr>"
        for rank, (passage, place) in enumerate(
            zip(passages[:RETRIEVED], _places(passages[:RETRIEVED]), strict=True), 1
        )
    )
    if not rows:
        return ""
    head = '<tr><th class="number">名次</th><th class="number">分数</th><th>位置</th><th>文字</th></tr>'
    return (
        f'<details class="retrieved"><summary>检索到的前 {min(RETRIEVED, len(passages))} 段</summary>'
        f'<div class="scroll"><table>{head}{rows}</table></div></details>\n'
    )


def _retrieved(case: Case) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = (
        case.get("retrieved") or (case.get("answer") or {}).get("retrieved") or ()
    )
    return found


def _places(pieces: Iterable[Mapping[str, Any]]) -> list[Place]:
    return [Place(str(p.get("document", "")), int(p["start"]), int(p["end"])) for p in pieces]


def _static(name: str) -> str:
    return (files("eval") / "static" / name).read_text(encoding="utf-8")


def _text(value: Any) -> str:
    return escape(str(value))
