"""A statement for Oracle: its text and its bind values."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

BindValues = dict[str, str | int | Decimal | datetime]


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL, or a part of it such as a condition, with the binds that occur in the text."""

    text: str
    binds: BindValues = field(default_factory=dict)
