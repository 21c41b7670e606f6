"""loaded_index.parquet: what Salesforce has confirmed of a partition, by which the next staging sends only the rest.

One row per key, ascending by key_hash: key_hash, checksum, salesforce_id, external_id, created. `created` says that
this migration made the record; once true it stays true for that record, however often it is sent again: undo goes by
it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from kpc.catalog.types import EXTERNAL_ID
from kpc.convert.canonical import CHECKSUM, KEY_HASH, key_hash
from kpc.convert.external_id import folded
from kpc.load.chunk_result import CREATED, SALESFORCE_ID, SUCCESS_HEADER, read_columns
from kpc.storage.layout import LOADED_INDEX
from kpc.storage.parquet_file import ParquetTable, read_slices
from kpc.storage.store import make_private

SCHEMA: dict[str, pl.DataType] = {
    KEY_HASH: pl.UInt64(),
    CHECKSUM: pl.UInt64(),
    "salesforce_id": pl.String(),
    "external_id": pl.String(),
    "created": pl.Boolean(),
}
ROWS_AT_ONCE = 50_000  # some 100 bytes each in memory, several times over
_SPILLED_ROWS = 20_000
_HASHES = 1 << 64
_REMEDY = "Run the load again; if the file stays damaged, move it away and load the partition with --mode full."


def update_loaded_index(
    partition_dir: Path, staged_index: Path, success_file: Path, *, rows_at_once: int = ROWS_AT_ONCE
) -> int:
    """Put the confirmed rows of a load in place of what the index said of their keys; returns the rows of the index.

    `staged_index` holds external_id, key_hash and checksum of every row that was sent, `success_file` (gzip CSV) sf__Id
    and sf__Created by external id. Rows not in this load keep what an earlier one confirmed. Doing it twice changes
    nothing. Memory does not grow with the partition: it is worked off by ranges of key_hash.
    """
    path = partition_dir / LOADED_INDEX
    rows = pq.read_metadata(staged_index).num_rows + (pq.read_metadata(path).num_rows if path.is_file() else 0)
    ranges = _Ranges(max(1, -(-rows // rows_at_once)))
    with tempfile.TemporaryDirectory(dir=make_private(partition_dir), prefix=".index-") as name:
        staged, confirmed = Path(name) / "staged", Path(name) / "confirmed"
        columns = ["external_id", KEY_HASH, CHECKSUM]
        _spill(read_slices(staged_index, columns, _SPILLED_ROWS, remedy=_REMEDY), ranges, staged)
        _spill(_confirmed(success_file), ranges, confirmed)
        with ParquetTable(path, SCHEMA) as index:
            for number in range(ranges.count):
                fresh = _fresh(_spilled(staged, number), _spilled(confirmed, number))
                index.write(_merged(_known(path, ranges, number), fresh))
            return index.close().rows


def read_loaded_index(partition_dir: Path) -> Iterator[pl.DataFrame]:
    """The index in frames of bounded size; nothing when the partition was never loaded."""
    path = partition_dir / LOADED_INDEX
    if path.is_file():
        yield from read_slices(path, list(SCHEMA), _SPILLED_ROWS, remedy=_REMEDY)


@dataclass(frozen=True, slots=True)
class _Ranges:
    """The space of key hashes in `count` equal ranges, in order."""

    count: int

    @property
    def width(self) -> int:
        return -(-_HASHES // self.count)

    def number(self) -> pl.Expr:
        return pl.lit(0, pl.UInt64) if self.count == 1 else pl.col(KEY_HASH) // pl.lit(self.width, pl.UInt64)

    def holds(self, number: int) -> pl.Expr:
        if self.count == 1:
            return pl.lit(value=True)
        first, last = number * self.width, min(_HASHES, (number + 1) * self.width) - 1
        return pl.col(KEY_HASH).is_between(pl.lit(first, pl.UInt64), pl.lit(last, pl.UInt64))


def _spill(frames: Iterator[pl.DataFrame], ranges: _Ranges, folder: Path) -> None:
    """Deal the rows out to one folder per range, a file per frame."""
    for place, frame in enumerate(frames):
        for (number,), part in frame.with_columns(range=ranges.number()).group_by("range"):
            file = make_private(folder / str(number)) / f"{place:06d}.arrow"
            part.drop("range").write_ipc(file, compression="lz4")


def _spilled(folder: Path, number: int) -> pl.DataFrame | None:
    files = sorted((folder / str(number)).glob("*.arrow"))
    return pl.concat([pl.read_ipc(file) for file in files]) if files else None


def _confirmed(success_file: Path) -> Iterator[pl.DataFrame]:
    """confirmed_id, salesforce_id, created and key_hash of the rows that Salesforce took, piece by piece."""
    for frame in read_columns(success_file, SUCCESS_HEADER):
        yield frame.select(
            pl.col(EXTERNAL_ID).alias("confirmed_id"),
            pl.col(SALESFORCE_ID).alias("salesforce_id"),
            (pl.col(CREATED).str.to_lowercase() == "true").alias("created"),
            key_hash(),
        )


def _fresh(staged: pl.DataFrame | None, confirmed: pl.DataFrame | None) -> pl.DataFrame:
    """The rows that were sent and taken; a key hash alone is not trusted."""
    if staged is None or confirmed is None:
        return pl.DataFrame(schema=SCHEMA)
    both = staged.join(confirmed.unique(KEY_HASH), on=KEY_HASH, how="inner")
    is_same = folded(pl.col("external_id")) == folded(pl.col("confirmed_id"))
    return both.filter(is_same).select(*SCHEMA).unique(KEY_HASH)


def _known(path: Path, ranges: _Ranges, number: int) -> pl.DataFrame:
    if not path.is_file():
        return pl.DataFrame(schema=SCHEMA)
    index = pl.scan_parquet(path)
    if "created" not in index.collect_schema():
        index = index.with_columns(created=pl.lit(value=False))
    return index.filter(ranges.holds(number)).select(*SCHEMA).collect()


def _merged(known: pl.DataFrame, fresh: pl.DataFrame) -> pl.DataFrame:
    before = known.select(KEY_HASH, pl.col("salesforce_id").alias("id_before"), pl.col("created").alias("was_created"))
    is_ours = pl.col("created") | (pl.col("was_created") & (pl.col("id_before") == pl.col("salesforce_id"))).fill_null(
        value=False
    )
    fresh = fresh.join(before, on=KEY_HASH, how="left").with_columns(created=is_ours).select(*SCHEMA)
    return pl.concat([known.join(fresh, on=KEY_HASH, how="anti"), fresh]).sort(KEY_HASH)
