"""The rows of dictionary views before they become Arrow tables."""

from __future__ import annotations

import datetime as dt

Cell = str | int | dt.datetime | None
Rows = list[dict[str, Cell]]


def yes_no(is_so: bool) -> str:
    return "YES" if is_so else "NO"
