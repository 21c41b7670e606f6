"""One write of a batch of rows: what is asked, and what became of each row."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from kpc.emulators.salesforce.api_error import RowError
from kpc.emulators.salesforce.schema import Field, Schema, SObject

CHUNK_ROWS = 200  # rows that are one transaction, within which a key may stand only once


@dataclass(frozen=True, slots=True)
class Write:
    """What is done, by whom and when. `key` is the field an upsert matches by; `source` names the job or request."""

    operation: str
    schema: Schema
    sobject: SObject
    key: Field | None
    user_id: str
    at: datetime
    source: str
    null_clears_parent: bool = True  # a null external id of a parent; otherwise it is looked for, and not found

    def parent_of(self, reference: Field) -> SObject | None:
        return self.schema.find(reference.reference_to or "")


@dataclass(slots=True)
class Outcome:
    """Per row: its record id and whether it was created, or its error."""

    ids: list[str | None]
    created: list[bool]
    errors: dict[int, RowError] = field(default_factory=dict)

    def refuse(self, row: int, error: RowError) -> None:
        self.errors.setdefault(row, error)

    def alive(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Those of `rows` (by their column `row`) that have not been refused."""
        return rows.filter(~rows["row"].is_in(list(self.errors))) if self.errors else rows
