"""Rows dealt out to buckets come back whole, in their order, with their types, however few may be held in memory."""

from __future__ import annotations

import random
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from kpc.storage.row_buckets import HashRanges, RowBuckets, key_bucket

SCHEMA: dict[str, pl.DataType] = {
    "key": pl.String(),
    "amount": pl.Decimal(38, 10),
    "at": pl.Datetime("ms"),
    "raw": pl.Binary(),
    "hash": pl.UInt64(),
    "place": pl.UInt32(),
}


def made_rows(count: int) -> pl.DataFrame:
    draw = random.Random(count)  # noqa: S311  a test
    edges = [0, (1 << 64) - 1, 1 << 63, (1 << 63) - 1]
    hashes = [*edges, *(draw.getrandbits(64) for _ in range(count - len(edges)))]
    return pl.DataFrame(
        {
            "key": [None if n % 50 == 7 else f"ก{n % 40}" for n in range(count)],
            "amount": [None if n % 3 == 0 else Decimal(n).scaleb(-10) for n in range(count)],
            "at": [datetime(2024, 1, 1 + n % 28) for n in range(count)],  # noqa: DTZ001  Oracle's DATE has no zone
            "raw": [bytes([n % 256]) for n in range(count)],
            "hash": hashes,
            "place": range(count),
        },
        schema=SCHEMA,
    )


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize("held_rows", [0, 100, 5_000])
def test_every_row_comes_back_in_its_bucket(tmp_path: Path, held_rows: int, is_compressed: bool) -> None:
    """Equal keys meet in one bucket, each bucket keeps the order of its rows, and no file is left."""
    rows = made_rows(1_000)
    bucket = key_bucket(["key"], 7)
    buckets = RowBuckets(tmp_path, SCHEMA, bucket, 7, held_rows=held_rows, is_compressed=is_compressed)
    for part in rows.with_columns(extra=pl.lit(1)).iter_slices(61):
        buckets.add(part)
    assert buckets.rows == rows.height
    numbers = rows.select(bucket.alias("bucket")).to_series()
    for number, frame in enumerate(buckets.buckets()):
        expected = rows.filter(numbers == number)
        assert frame.equals(expected)
        assert frame.schema == expected.schema
        assert buckets.has_rows(number) == bool(expected.height)
        assert pl.concat([rows.clear(), *buckets.frames(number, 50)]).equals(expected)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("count", [1, 3, 64, 1_000])
def test_ranges_of_a_hash_cover_all_hashes(tmp_path: Path, count: int) -> None:
    """Each hash is within the bounds of its bucket, and the bounds of all buckets leave no gap."""
    rows, ranges = made_rows(2_000), HashRanges("hash", count)
    bounds = list(ranges.bounds())
    assert [bounds[0][0], bounds[-1][1]] == [0, (1 << 64) - 1]
    assert all(above[0] == below[1] + 1 for below, above in pairwise(bounds))
    buckets = RowBuckets(tmp_path, SCHEMA, ranges.bucket, count, held_rows=300)
    buckets.add(rows)
    for frame, (least, greatest) in zip(buckets.buckets(), bounds, strict=True):
        assert frame.equals(rows.filter(ranges.holds(least, greatest)))


def test_few_rows_are_held_as_a_whole(tmp_path: Path) -> None:
    """What fits into memory is given back without touching the disk; nothing added is nothing found."""
    rows = made_rows(30)
    buckets = RowBuckets(tmp_path / "absent", SCHEMA, pl.col("place") % 2, 2, held_rows=30)
    assert buckets.whole().is_empty()
    buckets.add(rows)
    assert buckets.whole().equals(rows)
    assert not (tmp_path / "absent").exists()
