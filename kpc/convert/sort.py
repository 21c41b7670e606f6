"""Ordering a whole partition with bounded memory: sorted runs on disk, then one pass that merges them.

A run is written in blocks of `BLOCK_ROWS`, and the first key of each block is kept in memory. Merging takes blocks in
the order of their first keys: everything that sorts before the first key of the next unread block is final, because no
unread block can hold a smaller one. So each block is read once, and at most one unfinished block per run is held.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import polars as pl
import pyarrow as pa

from kpc.store import Store, atomic_path, make_private

ORDER = "__order"
BLOCK_ROWS = 1_024


class SortedRuns:
    """Frames go in, in any order; rows come out by their column `__order` (String, by its UTF-8 bytes).

    Runs are not compressed: that would cost more time than the disk does. Used as a context; its folder is removed when
    the context ends. Up to `memory_bytes` are held in memory before a run
    is written; what fits never touches the disk.
    """

    def __init__(self, folder: Path, store: Store, memory_bytes: int) -> None:
        self._folder = folder
        self._store = store
        self._memory_bytes = memory_bytes
        self._held: list[pl.DataFrame] = []
        self._held_bytes = 0
        self._paths: list[Path] = []
        self._first_keys: list[pl.DataFrame] = []
        self.rows = 0

    def __enter__(self) -> SortedRuns:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, frame: pl.DataFrame) -> None:
        """Rows to be ordered. All frames have the same columns."""
        if frame.is_empty():
            return
        self.rows += frame.height
        self._held.append(frame)
        self._held_bytes += int(frame.estimated_size())
        if self._held_bytes > self._memory_bytes:
            self._write(self._held_in_order())

    def merged(self, rows: int) -> Iterator[pl.DataFrame]:
        """All rows in order, in frames of about `rows` rows. May be asked for once."""
        if self._paths:
            if self._held:
                self._write(self._held_in_order())
            yield from self._merged_from_disk(max(rows // BLOCK_ROWS, 1))
        elif self._held:
            yield from self._held_in_order().iter_slices(rows)

    def _held_in_order(self) -> pl.DataFrame:
        ordered = pl.concat(self._held).sort(ORDER)
        self._held, self._held_bytes = [], 0
        return ordered

    def _write(self, ordered: pl.DataFrame) -> None:
        self._store.check_space(int(ordered.estimated_size()))
        make_private(self._folder)
        path = self._folder / f"run-{len(self._paths):05d}.arrow"
        table = ordered.to_arrow()
        with (
            atomic_path(path) as temporary,
            pa.OSFile(str(temporary), "wb") as file,
            pa.ipc.new_file(file, table.schema) as writer,
        ):
            writer.write_table(table, max_chunksize=BLOCK_ROWS)
        firsts = ordered.gather_every(BLOCK_ROWS).select(ORDER).with_row_index("block")
        self._first_keys.append(firsts.with_columns(pl.lit(len(self._paths), dtype=pl.UInt32).alias("run")))
        self._paths.append(path)

    def _merged_from_disk(self, blocks_at_once: int) -> Iterator[pl.DataFrame]:
        plan = pl.concat(self._first_keys).sort(ORDER, "run", "block")
        files = [pa.ipc.open_file(pa.OSFile(str(path), "rb")) for path in self._paths]
        waiting: list[pl.DataFrame] = []
        for start in range(0, plan.height, blocks_at_once):
            for run, block in plan.slice(start, blocks_at_once).select("run", "block").iter_rows():
                waiting.append(_frame(files[run].get_batch(block)))
            together = pl.concat(waiting).sort(ORDER)
            end = start + blocks_at_once
            if end < plan.height:
                final = together[ORDER].search_sorted(plan[ORDER][end], side="left")
                waiting = [together.slice(final).rechunk()]
                together = together.head(final)
            if together.height:
                yield together


def _frame(batch: pa.RecordBatch) -> pl.DataFrame:
    frame = pl.from_arrow(batch)
    assert isinstance(frame, pl.DataFrame)  # noqa: S101  tells the type checker; a batch is never a Series
    return frame
