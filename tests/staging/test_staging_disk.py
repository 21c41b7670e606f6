"""A disk that fills up while it is written to: the stage stops, says so, and leaves nothing half-written."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from extracted_rows import Bench, bench, rows_of

from kpc.catalog import find_table
from kpc.catalog.types import EXTERNAL_ID
from kpc.convert.gzip_csv import GzipTable
from kpc.errors import OutOfSpace
from kpc.stages.workspace import Workspace
from kpc.staging.sorted_runs import ORDER, SortedRuns
from kpc.storage.parquet_file import ExtractParquet, ParquetTable
from kpc.storage.row_buckets import HashRanges, RowBuckets
from kpc.storage.store import Store, atomic_path

LINE, SUPPLIER = find_table("KPS_T_SALES_MD"), find_table("KPS_R_POS_SUPPLIER")
DISK_BYTES = 16_000_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of sixteen megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "kpc-test", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, check=False)  # noqa: S603  a fixed command
    if mounted.returncode:
        pytest.skip("only a privileged user may mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)  # noqa: S603, S607  the same


def write_chunk(folder: Path) -> None:
    with GzipTable(folder / "chunk.csv.gz", ("A",), 1) as chunk:
        for _ in range(30):
            chunk.write(os.urandom(1_000_000), 1)
        chunk.close()


def write_index(folder: Path) -> None:
    hashes = pl.int_range(200_000, eager=True).hash()
    with ParquetTable(folder / "index.parquet", {"key_hash": pl.UInt64()}) as index:
        for _ in range(30):
            index.write(hashes.to_frame("key_hash"))
        index.close()


def write_run(folder: Path) -> None:
    rows = pl.DataFrame({ORDER: [f"{number:09d}" * 10 for number in range(20_000)]})
    with SortedRuns(folder / ".runs", Store(folder), memory_bytes=3_000_000) as runs:
        for _ in range(30):
            runs.add(rows)
        list(runs.merged(1_000))


def write_text(folder: Path) -> None:
    with atomic_path(folder / "index.parquet") as temporary:
        temporary.write_bytes(os.urandom(2 * DISK_BYTES))


def write_extract(folder: Path) -> None:
    schema = pa.schema([pa.field("N", pa.binary())])
    with ExtractParquet(folder / "chunk-00001.parquet", schema) as extract:
        for _ in range(30):
            extract.write(pa.record_batch([pa.array([os.urandom(1_000_000)])], schema=schema))
        extract.close()


def write_buckets(folder: Path) -> None:
    hashes = pl.int_range(200_000, eager=True).hash().to_frame("key_hash")
    ranges = HashRanges("key_hash", 64)
    buckets = RowBuckets(folder, {"key_hash": pl.UInt64()}, ranges.bucket, ranges.count, held_rows=100_000)
    for _ in range(30):
        buckets.add(hashes)


@pytest.mark.parametrize("write", [write_chunk, write_index, write_run, write_text, write_extract, write_buckets])
def test_a_full_disk_leaves_no_part_of_a_file(small_disk: Path, write: object) -> None:
    """Whatever is being written when the last block is taken: one clear error, and the disk is empty again."""
    assert callable(write)
    with pytest.raises(OutOfSpace, match=r"filled up|bytes free"):
        write(small_disk)
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []


def test_a_full_disk_stops_a_bulk_query(small_disk: Path, workspace: Workspace) -> None:
    """The client knows no staging disk; the governor says that the disk is full. Nobody else can read the pages."""
    soql = f"SELECT {EXTERNAL_ID} FROM {SUPPLIER.target}"
    folder = small_disk / "pages"
    workspace.governor.bulk_query(workspace.salesforce, soql, folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    (small_disk / "other").write_bytes(bytes(cramped_free(small_disk)))
    with pytest.raises(OutOfSpace, match="filled up"):
        workspace.governor.bulk_query(workspace.salesforce, soql, small_disk / "more-pages")


def test_a_stage_on_a_full_disk_can_be_repeated(small_disk: Path, tmp_path: Path) -> None:
    """No manifest is left for what was not finished, and with room the same stage gives what it always gives."""
    frame = rows_of(LINE, 12_000)
    roomy = bench(tmp_path / "roomy")
    expected = roomy.stage(LINE, roomy.seal(LINE, [frame]))
    cramped = bench(small_disk)
    extract = cramped.seal(LINE, [frame])
    (small_disk / "other").write_bytes(bytes(cramped_free(small_disk) - 400_000))
    with pytest.raises(OutOfSpace, match="Free space under"):
        cramped.stage(LINE, extract)
    assert not (cramped.folder(LINE) / "manifest.json").exists()
    assert not list(cramped.folder(LINE).glob("*.gz"))
    (small_disk / "other").unlink()
    assert cramped.stage(LINE, extract).chunks == expected.chunks


def cramped_free(folder: Path) -> int:
    usage = os.statvfs(folder)
    return usage.f_bavail * usage.f_frsize


def stage_with_a_file_limit(root: str, limit_bytes: int) -> None:
    """Runs in a process of its own: no file of it may become longer than `limit_bytes`."""
    staging = bench(Path(root))
    frame = pl.concat([rows_of(LINE, 3_000, first=1 + 3_000 * part) for part in range(4)])
    extract = staging.seal(LINE, [frame])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))
    try:
        staging.stage(LINE, extract)
    except OutOfSpace as error:
        sys.stdout.write(json.dumps([str(error), str(staging.folder(LINE))]))


def test_a_write_that_the_system_refuses_stops_the_stage(tmp_path: Path) -> None:
    """The space check passed, then the kernel refused a write: the same error, and no file that looks finished."""
    code = f"import test_staging_disk as t; t.stage_with_a_file_limit({str(tmp_path)!r}, 100_000)"
    done = subprocess.run(  # noqa: S603  this file itself
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    message, folder = json.loads(done.stdout)
    assert "filled up while" in message
    assert "nothing half-written was kept" in message
    assert [path.name for path in Path(folder).rglob("*") if path.is_file()] == []


def test_space_is_checked_before_each_batch(tmp_path: Path) -> None:
    """What must stay free stays free: the stage stops before it takes the last of it."""
    staging: Bench = bench(tmp_path)
    extract = staging.seal(LINE, [rows_of(LINE, 100)])
    reserved = bench(tmp_path, free_bytes=cramped_free(tmp_path) - 1_000)
    with pytest.raises(OutOfSpace, match="must stay free"):
        reserved.stage(LINE, extract)
    assert not list(reserved.folder(LINE).glob("*"))
