"""The index of what Salesforce holds: merged by ranges, the same however small they are, and true to who created."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpc.catalog.types import EXTERNAL_ID
from kpc.convert.canonical import CHECKSUM, KEY_HASH, key_hash
from kpc.load.chunk_result import write_loaded
from kpc.load.loaded_index import SCHEMA, read_loaded_index, update_loaded_index

Load = dict[str, tuple[int, str, bool]]  # external id: checksum, Salesforce id, created

LOADS = st.lists(
    st.dictionaries(
        st.sampled_from([f"key|{number}" for number in range(40)]),
        st.tuples(st.integers(0, 2**64 - 1), st.sampled_from(["a01", "a02"]), st.booleans()),
    ),
    min_size=1,
    max_size=4,
)


def _write(folder: Path, load: Load, refused: set[str]) -> tuple[Path, Path]:
    staged, success = folder / "index.parquet", folder / "success.csv.gz"
    keys = pl.DataFrame({"external_id": list(load)}, schema={"external_id": pl.String})
    sums = pl.Series(CHECKSUM, [row[0] for row in load.values()], dtype=pl.UInt64)
    keys.with_columns(key_hash(pl.col("external_id")), sums).write_parquet(staged)
    taken = [[key, row[1], str(row[2]).lower()] for key, row in load.items() if key not in refused]
    schema = {EXTERNAL_ID: pl.String, "sf__Id": pl.String, "sf__Created": pl.String}
    write_loaded(iter([pl.DataFrame(taken, schema=schema, orient="row")]), success)
    return staged, success


@settings(max_examples=40, deadline=None)
@given(loads=LOADS, refused=st.sets(st.integers(0, 39)), rows_at_once=st.sampled_from([1, 3, 1000]))
def test_index_is_what_the_loads_confirmed(
    tmp_path_factory: pytest.TempPathFactory, loads: list[Load], refused: set[int], rows_at_once: int
) -> None:
    """The newest confirmation of a key counts, a refused row changes nothing, `created` stays, twice is once."""
    folder = tmp_path_factory.mktemp("index")
    expected: Load = {}
    for load in loads:
        unloaded = {f"key|{number}" for number in refused}
        files = _write(folder, load, unloaded)
        for key, (checksum, record, created) in load.items():
            if key not in unloaded:
                before = expected.get(key)
                is_ours = created or (before is not None and before[2] and before[1] == record)
                expected[key] = (checksum, record, is_ours)
        for _ in range(2):
            assert update_loaded_index(folder, *files, rows_at_once=rows_at_once) == len(expected)
    index = pl.read_parquet(folder / "loaded_index.parquet")
    assert index.schema == SCHEMA
    assert index[KEY_HASH].is_sorted()
    columns = zip(*(index[name] for name in ("external_id", CHECKSUM, "salesforce_id", "created")), strict=True)
    assert {key: (checksum, record, created) for key, checksum, record, created in columns} == expected
    assert sum(frame.height for frame in read_loaded_index(folder)) == len(expected)
    assert not list(folder.glob(".index-*"))


_BIG = """
import sys
from pathlib import Path
import polars as pl
from kpc.load.loaded_index import update_loaded_index
folder = Path(sys.argv[1])
def peak_kb():  # of this program alone; ru_maxrss is inherited from the one that started it
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1])
before = peak_kb()
update_loaded_index(folder, folder / "index.parquet", folder / "success.csv.gz")
print(peak_kb() - before)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_memory_does_not_grow_with_the_partition(tmp_path: Path) -> None:
    """Four times the rows take no more memory: the index is merged by ranges of the key hash."""
    grown = [_grown_kb(tmp_path / str(rows), rows) for rows in (1_000_000, 4_000_000)]
    assert 0 < grown[1] < 1.5 * grown[0], grown


def _grown_kb(folder: Path, rows: int) -> int:
    folder.mkdir()
    keys = pl.select(pl.concat_str(pl.lit("01|SHOP|"), pl.int_range(rows)).alias("external_id")).with_columns(
        key_hash(pl.col("external_id")), pl.int_range(rows, dtype=pl.UInt64).alias(CHECKSUM)
    )
    keys.write_parquet(folder / "index.parquet", row_group_size=100_000)
    ids = pl.concat_str(pl.lit("a015g0000"), pl.int_range(rows).cast(pl.String).str.zfill(9)).alias("sf__Id")
    success = keys.select(pl.col("external_id").alias(EXTERNAL_ID), ids, pl.lit("true").alias("sf__Created"))
    write_loaded(iter([success]), folder / "success.csv.gz")
    done = subprocess.run([sys.executable, "-c", _BIG, str(folder)], capture_output=True, text=True, check=True)  # noqa: S603
    return int(done.stdout)
