"""A measured number and its goal."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

Say = Callable[[str], None]  # tells whoever waits for a bench how far it is

_TESTS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_GOAL = re.compile(r"(<=|>=|<|>) (\d[\d,]*(?:\.\d+)?)")


@dataclass(frozen=True)
class Figure:
    """`name` says what was measured and in which unit, `goal` is a comparison in that unit: `<= 1.8`, `>= 300,000`."""

    name: str
    value: float
    goal: str

    def __post_init__(self) -> None:
        if _GOAL.fullmatch(self.goal) is None:
            raise ValueError(f"{self.goal!r} is not a goal; write one such as '<= 1.8'.")

    @cached_property
    def ok(self) -> bool:
        """Whether the value meets the goal; False for NaN."""
        sign, limit = self.goal.split()
        return _TESTS[sign](self.value, float(limit.replace(",", "")))

    def as_dict(self) -> dict[str, object]:
        return {"name": self.name, "value": self.value, "goal": self.goal, "ok": self.ok}

    def as_row(self) -> tuple[str, str, str, str]:
        """The cells of a table for people."""
        return self.name, _readable(self.value), self.goal, "yes" if self.ok else "NO"


def are_all_met(figures: Sequence[Figure]) -> bool:
    """Whether there is at least one figure and each meets its goal."""
    return bool(figures) and all(figure.ok for figure in figures)


def rounded(value: float) -> float:
    """Round to three significant digits, or to an integer from 1000; further digits are noise."""
    return float(round(value)) if abs(value) >= 1000 else float(f"{value:.3g}")


def _readable(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
