"""The org's current records by external id: few by REST queries, many by one bulk query."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID, GENERATION_FIELD, PARTITION_FIELD
from kpc.convert.canonical import KEY_HASH, canonical_from_salesforce, key_hash
from kpc.convert.external_id import folded
from kpc.ledger.quota import QuotaRequest
from kpc.load.chunk_result import read_columns
from kpc.salesforce import Salesforce
from kpc.salesforce.soql import in_conditions, text_at, text_literal
from kpc.stages.quota_governor import CALLS_PER_JOB, Governor
from kpc.storage.store import disk_may_fill

ID = "Id"
_ROWS_AT_ONCE = 2_000


def image_header(table: Table) -> tuple[str, ...]:
    """All fields that this migration writes. A parent is given by its id, because it may not be one of ours."""
    lookups = (lookup.field for lookup in table.lookups)
    fields = (column.field or "" for column in table.sent_columns)
    return (ID, EXTERNAL_ID, *lookups, *fields, PARTITION_FIELD, GENERATION_FIELD)


@dataclass
class WantedKeys:
    """External ids to look for: hashes, first and last. The ids themselves are kept up to `most_held`."""

    most_held: int
    hashes: list[pl.Series] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    first: str = ""
    last: str = ""
    rows: int = 0

    @classmethod
    def of(cls, frames: Iterable[pl.DataFrame], most_held: int) -> WantedKeys:
        """The column External_ID__c of all frames."""
        wanted = cls(most_held)
        for frame in frames:
            if frame.height:
                wanted._add(frame.select(EXTERNAL_ID))
        return wanted

    @property
    def are_few(self) -> bool:
        return self.rows <= self.most_held

    def _add(self, keys: pl.DataFrame) -> None:
        if self.rows + keys.height <= self.most_held:
            self.held += keys[EXTERNAL_ID].to_list()
        self.hashes.append(keys.select(key_hash()).to_series())
        ids = keys.select(folded(pl.col(EXTERNAL_ID))).to_series()
        first, last = str(ids.min()), str(ids.max())
        self.first = min(self.first, first) if self.rows else first
        self.last = max(self.last, last)
        self.rows += keys.height


def records_of(
    table: Table, wanted: WantedKeys, governor: Governor, salesforce: Salesforce, scratch: Path
) -> Iterator[pl.DataFrame]:
    """The records with these external ids, piece by piece: key_hash, `image_header`, and `data_header` of the table.

    All but the hash are canonical text. Memory grows by eight bytes per key. Many keys are queried as a range from
    first to last: records that the org's collation sorts outside it are not found. Raises `QuotaExhausted` before the
    first call when too few API calls remain.
    """
    if not wanted.rows:
        return
    conditions = list(in_conditions(EXTERNAL_ID, wanted.held)) if wanted.are_few else []
    calls = len(conditions) or CALLS_PER_JOB
    governor.ledger.quota.check(governor.target_id, QuotaRequest(0, 0, calls, is_repair=True), governor.allowance)
    hashes = pl.concat(wanted.hashes).sort()
    with governor.translate_quota_errors():
        frames = _few(table, conditions, salesforce) if wanted.are_few else _many(table, wanted, salesforce, scratch)
        for frame in frames:
            rows = _canonical(frame, table).with_columns(key_hash())
            indices = hashes.search_sorted(rows[KEY_HASH]).clip(upper_bound=len(hashes) - 1)
            yield rows.filter(hashes.gather(indices) == rows[KEY_HASH])


def _names(table: Table) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*image_header(table), *table.data_header)))


def _query(table: Table, condition: str) -> str:
    return f"SELECT {', '.join(_names(table))} FROM {table.target} WHERE {condition}"  # noqa: S608  from the catalog


def _few(table: Table, conditions: Iterable[str], salesforce: Salesforce) -> Iterator[pl.DataFrame]:
    for condition in conditions:
        yield _frame(table, salesforce.query(_query(table, condition)))


def _frame(table: Table, records: Iterable[dict[str, object]]) -> pl.DataFrame:
    names = _names(table)
    rows = [{name: text_at(record, name) for name in names} for record in records]
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String))


def _many(table: Table, wanted: WantedKeys, salesforce: Salesforce, scratch: Path) -> Iterator[pl.DataFrame]:
    first, last = text_literal(wanted.first), text_literal(wanted.last)
    query = _query(table, f"{EXTERNAL_ID} >= {first} AND {EXTERNAL_ID} <= {last}")
    with disk_may_fill(scratch / "a page of records"):
        pages = salesforce.bulk_query(query, scratch, rows=wanted.rows)
    for file in pages.files:
        yield from _gathered(read_columns(file, _names(table)))
        file.unlink()


def _gathered(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Combine frames into fewer, larger ones: each frame has a fixed processing cost."""
    waiting: list[pl.DataFrame] = []
    for frame in frames:
        waiting.append(frame)
        if sum(one.height for one in waiting) >= _ROWS_AT_ONCE:
            yield pl.concat(waiting)
            waiting = []
    if waiting:
        yield pl.concat(waiting)


def _canonical(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Numbers and times in canonical form, for REST and bulk results alike; an empty text becomes null."""
    given = frame.with_columns(pl.all().replace("", None))
    spelled = canonical_from_salesforce(given, table).collect()
    others = [name for name in given.columns if name not in spelled.columns]
    return pl.concat([given.select(others), spelled], how="horizontal").select(frame.columns)
