"""An older extract brought up to a newer SCN: changed rows replace their older selves, vanished keys drop out.

    base      all rows of the partition at an older SCN            (Parquet, every column)
    changed   the rows whose update column says so, at the new SCN  (Parquet, every column)
    keys      the keys of all rows at the new SCN                   (Parquet, key columns)
    renewed = changed + those of base whose key is in keys and not in changed

The result is a whole partition again, to be held against Oracle's own totals like any other. Rows are dealt out by a
hash of their key first, so that memory holds one share of the partition and never the partition; keys are compared in
full.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from kpc.catalog.table import Table
from kpc.extract.live_schema import arrow_schema
from kpc.storage.parquet_file import read_slices
from kpc.storage.store import FileEntry, atomic_path, describe_file, make_private

SHARE_ROWS = 200_000  # rows of one share, and of one file of the result
_SLICE_ROWS = 50_000
_SHARES = ".shares"
_SHARE = "__share"


@dataclass(frozen=True, slots=True)
class Renewed:
    """The files of a renewed extract. `kept` rows are the base's, `changed` were read anew, `vanished` are gone."""

    chunks: tuple[FileEntry, ...]
    kept: int
    changed: int
    vanished: int

    @property
    def rows(self) -> int:
        return self.kept + self.changed


def renew(
    table: Table, folder: Path, *, base: Sequence[Path], changed: Sequence[Path], keys: Path, rows: int
) -> Renewed:
    """Write the renewed partition's files into `folder`; `rows` is how many rows it should have.

    The caller compares: fewer rows mean keys that are neither in the base nor among the changed rows. Raises
    `DamagedFile`, `OutOfSpace`.
    """
    shares = max(-(-rows // SHARE_ROWS), 1)
    names, key = [column.name for column in table.columns], list(table.key)
    with _scratch(folder / _SHARES) as scratch:
        for name, files, columns in (("base", base, names), ("changed", changed, names), ("keys", [keys], key)):
            _deal(_slices(files, columns), key, [scratch / f"{name}-{share}" for share in range(shares)])
        made = [_renew_share(table, folder, scratch, share) for share in range(shares)]
    return Renewed(
        chunks=tuple(each.chunks[0] for each in made if each.rows),
        kept=sum(each.kept for each in made),
        changed=sum(each.changed for each in made),
        vanished=sum(each.vanished for each in made),
    )


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    shutil.rmtree(folder, ignore_errors=True)
    try:
        yield make_private(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _slices(files: Iterable[Path], columns: list[str]) -> Iterator[pl.DataFrame]:
    for path in files:
        yield from read_slices(path, columns, _SLICE_ROWS, remedy="Run the extract again with --mode full.")


def _deal(frames: Iterable[pl.DataFrame], key: list[str], shares: Sequence[Path]) -> None:
    """Every row into the share that the hash of its key names."""
    with ExitStack() as scope:
        writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}
        for frame in frames:
            dealt = frame.with_columns((pl.struct(key).hash() % len(shares)).alias(_SHARE))
            for (share,), rows in dealt.partition_by(_SHARE, as_dict=True, include_key=False).items():
                batch = rows.to_arrow()
                if share not in writers:
                    options = pa.ipc.IpcWriteOptions(compression="lz4")
                    writers[share] = scope.enter_context(
                        pa.ipc.new_stream(str(shares[share]), batch.schema, options=options)
                    )
                writers[share].write_table(batch)


def _renew_share(table: Table, folder: Path, scratch: Path, share: int) -> Renewed:
    key, empty = list(table.key), pl.DataFrame(arrow_schema(table).empty_table())
    base = _read_share(scratch / f"base-{share}", empty)
    changed = _read_share(scratch / f"changed-{share}", empty)
    keys = _read_share(scratch / f"keys-{share}", empty.select(key))
    alive = base.join(keys.unique(), on=key, how="semi", nulls_equal=True)
    kept = alive.join(changed, on=key, how="anti", nulls_equal=True)
    path = folder / f"chunk-{share + 1:05d}.parquet"
    rows = kept.height + changed.height
    if rows:
        renewed = pl.concat([kept, changed]).to_arrow().cast(arrow_schema(table))
        with atomic_path(path) as temporary:
            pq.write_table(renewed, temporary, compression="zstd", compression_level=1, row_group_size=_SLICE_ROWS)
    entries = (describe_file(path, rows=rows),) if rows else ()
    return Renewed(entries, kept.height, changed.height, base.height - alive.height)


def _read_share(path: Path, empty: pl.DataFrame) -> pl.DataFrame:
    return pl.read_ipc_stream(path) if path.exists() else empty
