"""What a differing record is called by; imports nothing that is slow to import."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class DifferenceKind(StrEnum):
    """How a record differs."""

    MISSING = "missing"  # Oracle has it, Salesforce does not
    CHANGED = "changed"  # both have it, with other values or another marker
    SURPLUS = "surplus"  # Salesforce has it, Oracle does not


@dataclass(frozen=True, slots=True)
class DifferingRecord:
    """`fields` are those that differ, by their names in the data header; empty unless it is `changed`."""

    external_id: str
    kind: DifferenceKind
    fields: tuple[str, ...] = ()
