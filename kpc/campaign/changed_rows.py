"""Which rows of a partition are new, changed or gone since extraction: its sealed extract compared with Oracle now.

Rows are equal if the key, the columns that are sent and those of references to parents are equal, as Oracle holds them.
Both sides are bucketed by a hash of the key, so that memory holds one bucket of each; all values are compared in full.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import polars as pl
import pyarrow as pa

from kpc.catalog.table import Table
from kpc.catalog.types import KEY_SEPARATOR, Column
from kpc.extract.chunk_reader import rows_per_batch
from kpc.extract.day_statements import columns_of_rows
from kpc.extract.live_schema import arrow_schema
from kpc.oracle.session import Oracle
from kpc.private_files import make_private
from kpc.stages.context import PartitionContext
from kpc.storage.arrow_memory import release_memory
from kpc.storage.manifests import ControlTotals, ExtractManifest
from kpc.storage.parquet_file import read_slices
from kpc.storage.row_buckets import RowBuckets, key_bucket

LISTED = 1_000  # keys of each kind that are kept; all are counted
_BUCKET_ROWS = 200_000
_SLICE_ROWS = 50_000
_COPIES = "copies of the row"


@dataclass(slots=True)
class ChangedRows:
    """Keys by kind of change; the counts are complete, the lists hold the first `LISTED` of each kind.

    `fields`: how many of the changed rows differ in a column. A row that occurs a different number of times counts
    as changed.
    """

    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: {"new": 0, "changed": 0, "vanished": 0})
    fields: dict[str, int] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not any(self.counts.values())

    def add(self, kind: str, keys: pl.Series) -> None:
        """Count these keys, and list them up to the limit."""
        listed: list[str] = getattr(self, kind)
        listed += keys.sort().head(LISTED - len(listed)).to_list()
        self.counts[kind] += keys.len()


def changed_rows(
    context: PartitionContext, oracle: Oracle, manifest: ExtractManifest, now: ControlTotals, scn: int
) -> ChangedRows:
    """Compare every row of a partition; `now` are its totals at `scn`.

    Raises `DamagedFile` if the sealed extract is gone, and what `Oracle.session` raises.
    """
    table = context.table
    columns = _compared_columns(table)
    schema = pa.schema([arrow_schema(table).field(column.name) for column in columns])
    folder = make_private(context.paths.generation(manifest.generation).folder / "delta")
    try:
        count = max(manifest.rows, now.rows) // _BUCKET_ROWS + 1
        types, bucket = dict(pl.DataFrame(schema.empty_table()).schema), key_bucket(table.key, count)
        then, live = (
            RowBuckets(folder, types, bucket, count, held_rows=_SLICE_ROWS // 2, is_compressed=True) for _ in range(2)
        )
        for rows in _sealed_rows(context, manifest, schema):
            then.add(rows)
        totals = (manifest.control_totals, now)
        statement = columns_of_rows(oracle.owner, context.partition, scn, columns, totals)
        size = rows_per_batch(schema, oracle.settings.fetch_rows)
        with oracle.session(f"delta {context}", table.name) as session:
            for batch in session.arrow_batches(statement, schema, size):
                live.add(pl.DataFrame(batch))
                del batch
        found = ChangedRows()
        for number in range(count):
            _compare(found, table, then.bucket(number), live.bucket(number))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        release_memory()
    return found


def _compared_columns(table: Table) -> list[Column]:
    wanted = {*table.key, *(name for lookup in table.lookups for name in lookup.columns)}
    return [column for column in table.columns if column.is_sent or column.name in wanted]


def _sealed_rows(context: PartitionContext, manifest: ExtractManifest, schema: pa.Schema) -> Iterator[pl.DataFrame]:
    folder = context.paths.generation(manifest.generation).extract
    remedy = f"Extract it again: `kpc rerun {context.table.name} {context.key}`."
    for chunk in manifest.chunks:
        path = context.store.file(folder, chunk, remedy=remedy)
        yield from read_slices(path, schema.names, _SLICE_ROWS, remedy=remedy)


def _compare(found: ChangedRows, table: Table, then: pl.DataFrame, now: pl.DataFrame) -> None:
    key, columns = list(table.key), then.columns
    before, after = (rows.group_by(columns).agg(pl.len().alias(_COPIES)) for rows in (then, now))
    gone = before.join(after, on=[*columns, _COPIES], how="anti", nulls_equal=True)
    come = after.join(before, on=[*columns, _COPIES], how="anti", nulls_equal=True)
    found.add("new", _keys(table, come.join(then, on=key, how="anti", nulls_equal=True)))
    found.add("vanished", _keys(table, gone.join(now, on=key, how="anti", nulls_equal=True)))
    others = [
        gone.join(now, on=key, how="semi", nulls_equal=True),
        come.join(then, on=key, how="semi", nulls_equal=True),
    ]
    found.add("changed", _keys(table, pl.concat(others)))
    pairs = gone.join(come, on=key, suffix=" now", nulls_equal=True)
    for name in columns:
        if name not in key and (differing := pairs.select(pl.col(name).ne_missing(pl.col(f"{name} now")).sum()).item()):
            found.fields[name] = found.fields.get(name, 0) + differing


def _keys(table: Table, rows: pl.DataFrame) -> pl.Series:
    """The distinct keys as extracted, their parts joined by `|`; a NULL part is left empty."""
    parts = [pl.col(column.name).cast(pl.String).fill_null("") for column in table.key_columns]
    return rows.select(pl.concat_str(parts, separator=KEY_SEPARATOR)).to_series().unique()
