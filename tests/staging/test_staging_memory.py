"""What staging does when a partition does not fit into its memory: sorted runs and key hashes on disk."""

from __future__ import annotations

import random
from pathlib import Path

import polars as pl
import pytest

from kpc.convert.canonical import CHECKSUM, KEY_HASH
from kpc.partition import find_partition
from kpc.staging.duplicate_keys import DuplicateKeys
from kpc.staging.sorted_runs import ORDER, SortedRuns
from kpc.staging.unchanged_rows import LoadedIndex
from kpc.storage.store import Store


@pytest.mark.parametrize("most_runs", [2, 5, 1000])
def test_rows_come_out_in_order_however_many_runs_there_are(tmp_path: Path, most_runs: int) -> None:
    """A hundred runs, merged in one pass or in several; all rows are there, in the order of their UTF-8 bytes."""
    draw = random.Random(most_runs)  # noqa: S311  a test
    letters = "aAzZé\U0001f600\uffdcก|~"
    keys = ["".join(draw.choices(letters, k=draw.randint(1, 12))) + f"|{number}" for number in range(20_000)]
    frame = pl.DataFrame({ORDER: keys, "line": [f"{key},{'x' * draw.randint(0, 300)}" for key in keys]})
    with SortedRuns(tmp_path / "runs", Store(tmp_path), memory_bytes=80_000, least_fan_in=most_runs) as runs:
        for part in frame.iter_slices(150):
            runs.add(part)
        assert runs.rows == frame.height
        given = pl.concat(runs.merged(1_000))
        assert len(list((tmp_path / "runs").iterdir())) <= max(most_runs, 100)
    assert given[ORDER].to_list() == sorted(keys, key=str.encode)
    assert given.sort(ORDER).equals(frame.sort(ORDER))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("held_rows", [10, 500, 1_000_000])
def test_duplicates_are_found_in_memory_and_on_disk(tmp_path: Path, held_rows: int) -> None:
    """The same answer whether the hashes are held or spilled; also first and last hash of a range."""
    draw = random.Random(held_rows)  # noqa: S311  a test
    edges = [0, (1 << 58) - 1, 1 << 58, (1 << 64) - 1]
    kept = [draw.getrandbits(64) for _ in range(3_000)] + edges
    kept += draw.sample(kept, 40) + edges[:2] + [kept[0]] * 3
    rejected = [draw.getrandbits(64) for _ in range(50)] + draw.sample(kept, 30)
    draw.shuffle(kept)
    keys = DuplicateKeys(tmp_path, held_rows)
    for start in range(0, len(kept), 97):
        keys.add(pl.DataFrame({KEY_HASH: kept[start : start + 97]}, schema={KEY_HASH: pl.UInt64}))
    keys.add_rejected(pl.DataFrame({KEY_HASH: [*rejected, None]}, schema={KEY_HASH: pl.UInt64}))
    repeated, rows = keys.found()
    everything = [*kept, *rejected]
    expected = {one for one in everything if everything.count(one) > 1}
    assert set(repeated) == expected
    assert len(repeated) == len(expected)
    assert rows == sum(one in expected for one in kept)
    assert not list(tmp_path.iterdir())


def test_a_partition_without_rows_has_no_duplicates(tmp_path: Path) -> None:
    """Nothing collected, nothing found."""
    repeated, rows = DuplicateKeys(tmp_path).found()
    assert (len(repeated), rows) == (0, 0)


@pytest.mark.parametrize("held_rows", [10, 500, 1_000_000])
def test_the_loaded_index_is_compared_in_memory_and_on_disk(tmp_path: Path, held_rows: int) -> None:
    """Unchanged, changed, new, refused and vanished keys, whatever fits in memory."""
    draw = random.Random(held_rows)  # noqa: S311  a test
    hashes = [0, (1 << 58) - 1, 1 << 58, (1 << 64) - 1, *(draw.getrandbits(64) for _ in range(3_000))]
    index = pl.DataFrame(
        {
            KEY_HASH: hashes,
            CHECKSUM: range(len(hashes)),
            "external_id": [f"k{one}" for one in hashes],
            "has_bucket": True,
        },
        schema_overrides={KEY_HASH: pl.UInt64, CHECKSUM: pl.UInt64},
    ).with_columns(pl.col("external_id").alias("salesforce_id"))
    index.sort(KEY_HASH).write_parquet(tmp_path / "loaded_index.parquet", row_group_size=200)
    vanished, refused, changed = hashes[:100:7], hashes[100:140], hashes[200:900:3]
    gone = {*vanished, *refused}
    source = index.filter(~pl.col(KEY_HASH).is_in(list(gone))).select(
        KEY_HASH,
        pl.when(pl.col(KEY_HASH).is_in(changed)).then(pl.col(CHECKSUM) + 1_000_000).otherwise(CHECKSUM).alias(CHECKSUM),
    )
    new = pl.DataFrame({KEY_HASH: [5, 1 << 63], CHECKSUM: [1, 2]}, schema=source.schema)
    source = pl.concat([source, new]).sample(fraction=1, shuffle=True, seed=held_rows)
    partition = find_partition("KPS_T_SALES_MD", "2024-01")
    loaded = LoadedIndex(tmp_path / "loaded_index.parquet", partition, tmp_path, held_rows)
    for part in source.iter_slices(61):
        loaded.add(part)
    loaded.add_rejected(pl.DataFrame({KEY_HASH: [*refused, None]}, schema={KEY_HASH: pl.UInt64}))
    loaded.compare()
    sent = source.filter(~loaded.unchanged(source))
    assert set(sent[KEY_HASH]) == {*changed, *new[KEY_HASH]}
    assert loaded.vanished_rows == len(vanished)
    assert {key for frame in loaded.vanished(100) for key in frame["external_id"]} == {f"k{one}" for one in vanished}
