"""The differences between records as a report shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from kpc.reconcile.differences import DifferenceKind
from kpc.storage.store import FileEntry

if TYPE_CHECKING:  # polars is slow to import
    from kpc.reconcile.records import RecordDifferences

_LISTED = 100  # keys listed per kind of difference; all are counted


class RecordsReport(BaseModel):
    """`RecordDifferences` as JSON: complete counts, the first keys, and the names of differing fields; no values.

    `causes` counts the listed records by `DifferenceCause`, `since` some of them by what happened in Oracle after the
    extract (`kpc.reconcile.present_rows`); `file`, beside the report, lists them all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    compared: int
    equal: int
    missing: int
    surplus: int
    changed: int
    missing_keys: tuple[str, ...]
    surplus_keys: tuple[str, ...]
    changed_fields: tuple[tuple[str, tuple[str, ...]], ...]
    causes: dict[str, int] = {}
    since: dict[str, int] = {}
    file: FileEntry | None = None
    resumed: int = 0  # buckets that an interrupted run had compared

    @classmethod
    def of(cls, records: RecordDifferences) -> RecordsReport:
        """The report without causes and file, which are added when it is published."""
        missing, surplus, changed = (
            records.of_kind(kind)[:_LISTED]
            for kind in (DifferenceKind.MISSING, DifferenceKind.SURPLUS, DifferenceKind.CHANGED)
        )
        return cls(
            compared=records.compared,
            equal=records.equal,
            missing=records.missing,
            surplus=records.surplus,
            changed=records.changed,
            missing_keys=tuple(one.external_id for one in missing),
            surplus_keys=tuple(one.external_id for one in surplus),
            changed_fields=tuple((one.external_id, one.fields) for one in changed),
            resumed=records.resumed,
        )
