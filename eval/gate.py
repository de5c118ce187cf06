"""A result against an earlier one, and against the least that is asked of it."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.metrics import Estimate
from eval.score import METRICS, Figures, compare
from rag.errors import FormatError, PathError


@dataclass(frozen=True, slots=True)
class Bound:
    """What a metric's mean must not fall below or rise above."""

    name: str
    low: float = -math.inf
    high: float = math.inf

    def fault(self, result: Mapping[str, Any]) -> str | None:
        """What is wrong with the result, if anything. A metric that applies to no case fails its bound."""
        found = result["metrics"].get(self.name)
        if found is None:
            return f"{self.name}: 没有适用的题 (no case measures it)"
        if found["mean"] < self.low:
            return f"{self.name} = {found['mean']:.4f} < min {self.low:g} (n = {found['n']})"
        if found["mean"] > self.high:
            return f"{self.name} = {found['mean']:.4f} > max {self.high:g} (n = {found['n']})"
        return None


def read_gate(path: Path) -> list[Bound]:
    """The bounds of a TOML file, ``[metrics]`` with lines like ``"recall@1000" = { min = 0.9 }``.

    Raises PathError if it cannot be read, FormatError for an unknown metric or a bound that is none.
    """
    try:
        table = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise _unreadable(path, error) from None
    except ValueError as error:
        raise _bad_gate(path, f"不是 TOML (not TOML): {error}") from None
    bounds = table.get("metrics")
    if set(table) != {"metrics"} or not isinstance(bounds, dict) or not bounds:
        raise _bad_gate(path, "只应有一个非空的 [metrics] 表 (needs one table [metrics] and nothing else)")
    return [_bound(path, name, bound) for name, bound in bounds.items()]


def _bound(path: Path, name: str, bound: Any) -> Bound:
    if name not in METRICS:
        raise _bad_gate(path, f"没有这个指标: {name} (unknown metric); {', '.join(METRICS)}")
    if not isinstance(bound, dict) or not bound or not set(bound) <= {"min", "max"}:
        raise _bad_gate(path, f"{name} 应有 min 或 max (needs min or max and nothing else)")
    if not all(isinstance(v, int | float) and not isinstance(v, bool) and v == v for v in bound.values()):
        raise _bad_gate(path, f"{name} 的 min 和 max 应是数 (must be numbers)")
    return Bound(name, bound.get("min", -math.inf), bound.get("max", math.inf))


def _bad_gate(path: Path, problem: str) -> FormatError:
    return FormatError(
        f"门槛文件不可用 (gate cannot be used): {path}: {problem}",
        '写成 (write) [metrics] "recall@1000" = { min = 0.9 }',
    )


def faults(result: Mapping[str, Any], bounds: list[Bound]) -> list[str]:
    """The lines of a gate that a result fails."""
    return [fault for bound in bounds if (fault := bound.fault(result)) is not None]


def read_result(path: Path) -> dict[str, Any]:
    """An earlier result; raises PathError if it cannot be read, FormatError if it is none."""
    try:
        result = json.loads(path.read_text("utf-8"))
        _figures(result)
    except OSError as error:
        raise _unreadable(path, error) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise FormatError(
            f"不是评测结果 (no result of an evaluation): {path}",
            "用 youju eval cases --json 写出的文件 (give a file that --json wrote)",
        ) from None
    return dict(result)


def _unreadable(path: Path, error: OSError) -> PathError:
    return PathError(f"文件读不到 (cannot read): {path} ({error.strerror})", "检查路径 (check the path)")


def against(result: Mapping[str, Any], baseline: Mapping[str, Any]) -> dict[str, Estimate]:
    """result − baseline for each metric, paired by the cases' ids.

    Raises FormatError where they share no case.
    """
    new, old = _figures(result), _figures(baseline)
    if not new.keys() & old.keys():
        raise FormatError(
            "与基线没有共同的题 (no case in common with the baseline)",
            "用同一份评测题 (use the same file of cases)",
        )
    return compare(new, old)


def _figures(result: Mapping[str, Any]) -> dict[str, Figures]:
    return {row["id"]: dict(row["metrics"]) for row in result["cases"]}
