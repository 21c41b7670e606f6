"""Compare the records that Salesforce holds with Oracle's opinions on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import BUCKETS, EXTERNAL_ID, PARTITION_FIELD
from kpc.ledger import FailedRecord
from kpc.ledger.states import FailureClass
from kpc.reconcile.second_opinion.corrected_records import IS_CORRECTED, uncorrected
from kpc.reconcile.second_opinion.coverage import EVERY_BUCKET
from kpc.reconcile.second_opinion.digest_layout import hashed_columns, uncovered_columns
from kpc.reconcile.second_opinion.long_numbers import LongNumbers
from kpc.reconcile.second_opinion.opinions import (
    DIGEST,
    HASHES,
    IS_ALTERED,
    KEY,
    RULE,
    Opinions,
    first_byte,
    joined_hashes,
)
from kpc.reconcile.second_opinion.result import OpinionDifference, SecondOpinion
from kpc.reconcile.second_opinion.rules import ACCEPTED, NOT_SEEN_BY_ORACLE, rule_of
from kpc.reconcile.second_opinion.target_text import canonical_records, row_digests, sha256
from kpc.storage.row_buckets import RowBuckets

LISTED = 100  # differing records that are listed; all are counted
_HELD, _HELD_HASHES = "held", "held_hashes"
_RECORD: dict[str, pl.DataType] = {
    KEY: pl.Binary(),
    EXTERNAL_ID: pl.String(),
    _HELD: pl.Binary(),
    _HELD_HASHES: pl.String(),
}


@dataclass(frozen=True)
class Exceptions:
    """Digests of external ids: rows rejected by staging with their rules, and those that Salesforce refused."""

    rejected: dict[bytes, str]
    refused: frozenset[bytes]

    @classmethod
    def of(cls, failures: Iterable[FailedRecord]) -> Exceptions:
        rejected, refused = {}, set()
        for row in failures:
            if row.error_class == FailureClass.REJECTED:
                rejected[sha256(row.external_id)] = row.error_code
            else:
                refused.add(sha256(row.external_id))
        return cls(rejected, frozenset(refused))


class RecordsSeen:
    """The records that were read back from Salesforce, as digests by bucket.

    `corrected` are rows that people corrected, as Oracle has them and as `given`. In their records, each given value is
    replaced by Oracle's before the digest is computed: it equals Oracle's digest only if the record holds the given
    value, the replaced value is the one that Oracle computes, and every other field is Oracle's.
    """

    def __init__(
        self,
        table: Table,
        partition_key: str,
        buckets: Iterable[int],
        folder: Path,
        corrected: pl.DataFrame | None = None,
    ) -> None:
        self._table = table
        self._buckets = tuple(buckets)
        self._markers = [f"{partition_key}/{number:03d}" for number in self._buckets]
        self._hashed = [column.field or "" for column in hashed_columns(table)]
        self._rows = RowBuckets(folder, _RECORD, first_byte(KEY), BUCKETS, held_rows=200_000)
        self.long_numbers = LongNumbers(table)
        self.corrected = 0  # records whose given values were replaced
        self._corrected = corrected if corrected is not None and corrected.height else None

    def add(self, records: pl.DataFrame) -> None:
        """Add records as the API sent them, with their markers; those of buckets not asked for are skipped."""
        asked = records
        if self._buckets != EVERY_BUCKET:
            asked = records.filter(pl.col(PARTITION_FIELD).is_in(self._markers))
        if asked.is_empty():
            return
        rows = self._as_oracle_has_them(canonical_records(asked, self._table))
        keys = pl.Series(KEY, [sha256(each or "") for each in rows[EXTERNAL_ID]], pl.Binary)
        hashes = [joined_hashes(values) for values in rows.select(self._hashed).iter_rows()] if self._hashed else None
        held = pl.DataFrame(
            {
                KEY: keys,
                EXTERNAL_ID: rows[EXTERNAL_ID],
                _HELD: row_digests(rows, self._table),
                _HELD_HASHES: pl.Series(hashes or [""] * rows.height, dtype=pl.String),
            }
        )
        self._rows.add(held.filter(first_byte(KEY).is_in(self._buckets)))
        self.long_numbers.note(keys, rows)

    def bucket(self, number: int) -> pl.DataFrame:
        return self._rows.bucket(number)

    def _as_oracle_has_them(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Canonical records with Oracle's value in place of each given value that the record holds."""
        if self._corrected is None:
            return rows
        found = uncorrected(rows, self._corrected, self._table)
        asked = pl.Series([sha256(each or "")[0] for each in found[EXTERNAL_ID]], dtype=pl.UInt8).is_in(self._buckets)
        self.corrected += int((found[IS_CORRECTED] & asked).sum())
        return found.drop(IS_CORRECTED)


@dataclass
class OpinionCheck:
    """Both sides, and what is excepted. `is_complete`: every record of the buckets was read back."""

    table: Table
    buckets: tuple[int, ...]
    opinions: Opinions
    seen: RecordsSeen
    exceptions: Exceptions
    is_complete: bool
    _compared: int = 0
    _excepted: int = 0
    _differing: int = 0
    _listed: list[OpinionDifference] = field(default_factory=list)

    def result(self, extract: Iterable[pl.DataFrame]) -> SecondOpinion:
        """Compare bucket by bucket; `extract` are the rows of the sealed extract, read where long numbers differ."""
        unequal = [self._compare(self.opinions.bucket(each), self.seen.bucket(each)) for each in self.buckets]
        differing = pl.concat(unequal) if unequal else None
        if differing is not None and differing.height:
            equal = self.seen.long_numbers.equal_after_all(differing, extract)
            for key, external_id in differing.select(KEY, EXTERNAL_ID).iter_rows():
                if key not in equal:
                    self._differ(external_id, "Oracle computes different values for the record")
        return SecondOpinion(
            buckets=len(self.buckets),
            opinions=self.opinions.rows,
            compared=self._compared,
            differing=self._differing,
            excepted=self._excepted,
            corrected=self.seen.corrected,
            differences=tuple(self._listed),
            uncovered=uncovered_columns(self.table),
        )

    def _differ(self, key: str | None, what: str) -> None:
        self._differing += 1
        if len(self._listed) < LISTED:
            self._listed.append(OpinionDifference(key=key or "", what=what))

    def _compare(self, opinions: pl.DataFrame, records: pl.DataFrame) -> pl.DataFrame:
        """Count one bucket; returns the records whose digest differs: key, external id and Oracle's digest."""
        excepted = list(self.exceptions.refused)
        if excepted:
            self._excepted += records.filter(pl.col(KEY).is_in(excepted)).height
            opinions = opinions.filter(~pl.col(KEY).is_in(excepted))
            records = records.filter(~pl.col(KEY).is_in(excepted))
        for key, rule in self._wrongly_rejected(opinions):
            self._differ(key.hex(), f"rejected by the rule {rule}, which it does not break in Oracle's opinion")
        rejected = list(self.exceptions.rejected)
        if rejected:  # a rejected row may have left a record with its former values, which level 3 compares
            records = records.filter(~pl.col(KEY).is_in(rejected))
        pairs = records.join(opinions, on=KEY, how="left")
        self._compared += pairs.height
        if self.is_complete:
            self._missing(opinions, records)
        for external_id, rule in pairs.filter(pl.col(RULE) != ACCEPTED).select(EXTERNAL_ID, RULE).iter_rows():
            self._differ(external_id, f"Oracle says that its row breaks the rule {rule_of(rule)}")
        for external_id in pairs.filter(pl.col(RULE).is_null())[EXTERNAL_ID]:
            self._differ(external_id, "Oracle has no row with this external id")
        accepted = pairs.filter(pl.col(RULE) == ACCEPTED)
        other_hash = (pl.col(_HELD_HASHES) != pl.col(HASHES)) | pl.col(IS_ALTERED)
        for external_id in accepted.filter(other_hash)[EXTERNAL_ID]:
            self._differ(external_id, "a hashed field is not the hash of Oracle's text")
        is_other = (pl.col(_HELD) != pl.col(DIGEST)) & ~other_hash
        return accepted.filter(is_other).select(KEY, EXTERNAL_ID, DIGEST)

    def _missing(self, opinions: pl.DataFrame, records: pl.DataFrame) -> None:
        wanted = opinions.filter(pl.col(RULE) == ACCEPTED)
        rejected = list(self.exceptions.rejected)
        for key in wanted.join(records, on=KEY, how="anti")[KEY]:
            if key not in rejected:
                self._differ(key.hex(), "Salesforce has no record for a row in Oracle")

    def _wrongly_rejected(self, opinions: pl.DataFrame) -> Iterator[tuple[bytes, str]]:
        if not self.exceptions.rejected:
            return
        accepted = set(opinions.filter(pl.col(RULE) == ACCEPTED)[KEY])
        for key, rule in self.exceptions.rejected.items():
            if key in accepted and rule not in NOT_SEEN_BY_ORACLE:
                yield key, rule
