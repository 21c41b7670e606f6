"""The kind and the key of a differing record; imports nothing that is slow to import."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class DifferenceKind(StrEnum):
    """How a record differs."""

    MISSING = "missing"  # Oracle has it, Salesforce does not
    CHANGED = "changed"  # both have it, with different values or a different marker
    SURPLUS = "surplus"  # Salesforce has it, Oracle does not


@dataclass(frozen=True, slots=True)
class DifferingRecord:
    """`fields` are the names, in the data header, of those that differ; empty unless the kind is `changed`."""

    external_id: str
    kind: DifferenceKind
    fields: tuple[str, ...] = ()
