"""The report's plots: SVG to stand inside an HTML page, in the page's own colours and font."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

from rag.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Drawn in colours that no page uses, then replaced by the page's variables, so that one SVG serves light, dark
# and paper.
_COLOURS = {
    "#010203": "var(--ink)",
    "#010204": "var(--soft)",
    "#010205": "var(--line)",
    "#010206": "var(--first)",
    "#010207": "var(--second)",
}
_INK, _SOFT, _LINE, _FIRST, _SECOND = _COLOURS
_RC = {
    "svg.fonttype": "none",
    "font.size": 10.0,
    "text.color": _INK,
    "axes.labelcolor": _SOFT,
    "axes.edgecolor": _LINE,
    "axes.titlesize": 10.0,
    "axes.titlecolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _SOFT,
    "ytick.labelcolor": _SOFT,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "legend.frameon": False,
    "lines.linewidth": 2.0,
}
_WIDTH = 6.4  # inches, at 72 units an inch

Estimates = Mapping[str, Mapping[str, float]]  # by measure


@dataclass(frozen=True, slots=True)
class Line:
    """A named line through points; its band, where given, is an interval."""

    name: str
    points: Sequence[tuple[float, float]]
    band: Sequence[tuple[float, float]] = ()


def lines(series: Sequence[Line], x_label: str, at: float | None = None) -> str:
    """Shares in [0, 1] over x, a line for each series, with a mark at ``at``."""

    def draw(figure: Figure) -> None:
        axes = figure.add_axes((0.09, 0.17, 0.88, 0.78))
        for colour, line in zip((_FIRST, _SECOND, _SOFT), series, strict=False):
            xs, ys = zip(*line.points, strict=True)
            axes.plot(xs, ys, color=colour, label=line.name)
            if line.band:
                low, high = zip(*line.band, strict=True)
                axes.fill_between(xs, low, high, color=colour, alpha=0.15, linewidth=0)
        if at is not None:
            axes.axvline(at, color=_SOFT, linewidth=1, linestyle=(0, (4, 3)))
        _share(axes, "y")
        axes.set_xlabel(x_label)
        axes.margins(x=0.01)
        if len(series) > 1:
            axes.legend(loc="best")

    return _svg(draw, 2.9)


def by_group(groups: Mapping[str, Estimates], measures: Sequence[str]) -> str:
    """A panel for each measure: the mean and the interval of each group, one under the other."""
    names = list(groups)

    def draw(figure: Figure) -> None:
        left = 0.04 + 0.115 * max(_width(name) for name in names) / _WIDTH
        room = (0.98 - left) / len(measures)
        height = 0.34 * len(names) + 0.65
        for i, measure in enumerate(measures):
            axes = figure.add_axes((left + i * room, 0.35 / height, room - 0.03, 0.34 * len(names) / height))
            for row, name in enumerate(names):
                found = groups[name].get(measure)
                if found:
                    interval = (found["low"], found["high"])
                    axes.plot(interval, (row, row), color=_FIRST, linewidth=1.5, clip_on=False)
                    axes.plot(found["mean"], row, "o", color=_FIRST, markersize=6, clip_on=False)
            _share(axes, "x")
            axes.set_ylim(len(names) - 0.5, -0.5)
            axes.set_yticks(range(len(names)), names if i == 0 else [""] * len(names))
            axes.tick_params(length=0)
            axes.set_title(measure)

    return _svg(draw, 0.34 * len(names) + 0.65)


def bars(values: Mapping[str, float], x_label: str) -> str:
    """A share in [0, 1] for each name, side by side."""

    def draw(figure: Figure) -> None:
        axes = figure.add_axes((0.09, 0.2, 0.88, 0.75))
        axes.bar(range(len(values)), list(values.values()), color=_FIRST, width=0.7)
        step = 1 + len(values) // 32
        axes.set_xticks(range(0, len(values), step), list(values)[::step], fontsize=9)
        axes.tick_params(axis="x", length=0)
        axes.grid(visible=False, axis="x")
        _share(axes, "y")
        axes.set_xlabel(x_label)
        axes.margins(x=0.01)

    return _svg(draw, 2.6)


def histogram(values: Sequence[float], x_label: str) -> str:
    """How often each value occurs, with the median and the 95th percentile marked."""
    last = quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]

    def draw(figure: Figure) -> None:
        axes = figure.add_axes((0.09, 0.2, 0.88, 0.7))
        axes.hist(values, bins=min(40, max(5, len(values) // 3)), color=_FIRST, rwidth=0.9)
        for name, value, side in (
            ("p50 ", median(values), "right"),
            (" p95 ", last, "left"),
        ):  # never over each other
            axes.axvline(value, color=_SECOND, linewidth=1.5)
            axes.annotate(
                f"{name}{value:.0f} ",
                (value, 1.02),
                xycoords=("data", "axes fraction"),
                color=_INK,
                ha=side,
                fontsize=9,
            )
        axes.grid(visible=False, axis="x")
        axes.set_xlabel(x_label)

    return _svg(draw, 2.6)


def _share(axes: Axes, axis: str) -> None:
    limits, ticks = (axes.set_xlim, axes.set_xticks) if axis == "x" else (axes.set_ylim, axes.set_yticks)
    limits(-0.02, 1.02)
    ticks((0, 0.25, 0.5, 0.75, 1.0), ("0", ".25", ".5", ".75", "1"))


def _width(text: str) -> float:
    """In characters of the Latin width; a Chinese one takes two."""
    return sum(2.0 if char > "\u2e7f" else 1.0 for char in text)


def _svg(draw: Callable[[Figure], None], height: float) -> str:
    """What ``draw`` puts on a figure, as an SVG element without anything that points outside of it."""
    library = _library()
    out = io.BytesIO()
    with library.rc_context({**_RC, "svg.hashsalt": draw.__qualname__}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the page has the fonts
        figure = library.figure.Figure(figsize=(_WIDTH, height))
        draw(figure)
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    text = out.getvalue().decode()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    text = re.sub(r' id="\w+_\d+"', "", text)  # names of groups, the same in every figure
    text = re.sub(r'^<svg [^>]*?viewBox="([^"]+)"[^>]*>', _OPEN, text)
    for colour, variable in _COLOURS.items():
        text = text.replace(colour, variable)
    return text


_OPEN = r'<svg xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="\1" aria-hidden="true">'


def _library() -> Any:
    """Matplotlib; raises ConfigError that says how to install it."""
    try:
        import matplotlib
        import matplotlib.figure
    except ImportError:
        raise ConfigError(
            "报告的图需要 matplotlib, 现在没有 (matplotlib is not installed)", "运行 pip install -e '.[eval]'"
        ) from None
    return matplotlib
