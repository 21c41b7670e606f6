"""One write of a batch of rows: the request, and the result for each row."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import polars as pl

from kpc.emulators.salesforce.errors import RowRefusal
from kpc.emulators.salesforce.org.key_index import KeyIndexes
from kpc.emulators.salesforce.org.org import Org
from kpc.emulators.salesforce.org.schema import OrgSchema, SObject, SObjectField
from kpc.emulators.salesforce.org.setup import OrgSetup

CHUNK_ROWS = 200  # rows that are one transaction, within which a key may stand only once


@dataclass(frozen=True, slots=True)
class Write:
    """What is written, by whom and when. `key` is the field an upsert matches by; `source` names the job or request.

    `sobject` is the object with all its fields and records, `seen` what the user sees of it and may do with it;
    `schema` what he sees of the other objects. Records of other owners he may change with `may_change_foreign`.
    """

    operation: str
    schema: OrgSchema
    sobject: SObject
    key: SObjectField | None
    user_id: str
    at: datetime
    source: str
    seen: SObject
    setup: OrgSetup
    seed: int  # of the ids of new records
    indexes: KeyIndexes
    restricting: tuple[tuple[SObject, SObjectField], ...] = ()  # children that keep a parent from being deleted
    may_change_foreign: bool = True
    null_clears_parent: bool = True  # a null external id of a parent; otherwise it is looked for, and not found

    @classmethod
    def of(cls, org: Org, operation: str, seen: SObject, key: str | None, user_id: str, source: str) -> Write:
        """A write by the acting user, now. `key` is the name of the field an upsert matches by."""
        sobject = org.whole_schema.find(seen.name) or seen
        return cls(
            operation,
            org.schema,
            sobject,
            sobject.find(key) if key else None,
            user_id,
            org.clock.now(),
            source,
            seen,
            org.access.setup,
            org.seed,
            org.key_indexes,
            tuple(each for each in org.whole_schema.children(sobject.name) if each[1].restricted_delete),
            org.access.may_change_foreign(sobject, operation),
        )

    def parent_of(self, reference: SObjectField) -> SObject | None:
        return self.schema.find(reference.reference_to or "")


@dataclass(slots=True)
class WriteOutcome:
    """The result for `rows` rows: the errors of those that were refused, and for the others `written`.

    Its frames have the columns row, id and created; a row stands in at most one of them.
    """

    rows: int
    errors: dict[int, RowRefusal] = field(default_factory=dict)
    written: list[pl.DataFrame] = field(default_factory=list)

    def refuse(self, row: int, error: RowRefusal) -> None:
        self.errors.setdefault(row, error)

    def alive(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Those of `rows` (by their column `row`) that have not been refused."""
        return rows.filter(~rows["row"].is_in(list(self.errors))) if self.errors else rows

    def keep(self, rows: pl.DataFrame, *, created: bool) -> None:
        """`rows`, by their columns row and target, have been written."""
        self.written.append(rows.select("row", id="target", created=pl.lit(created)))

    def accounts(self) -> pl.DataFrame:
        """Of each row, in order: its record's id and whether it was created. A refused row has no id."""
        every = pl.DataFrame({"row": pl.int_range(self.rows, eager=True)})
        written = pl.concat([every.head(0).with_columns(id=pl.lit("", pl.String), created=False), *self.written])
        accounts = every.join(written, on="row", how="left", maintain_order="left")
        return accounts.select("id", pl.col("created").fill_null(value=False))


def sunk(rows: int) -> WriteOutcome:
    """What a sink answers: every row was created, without a record."""
    outcome = WriteOutcome(rows)
    outcome.keep(pl.select(row=pl.int_range(rows), target=pl.lit("")), created=True)
    return outcome
