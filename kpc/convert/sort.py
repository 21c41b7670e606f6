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

from kpc.convert.overlap import Behind
from kpc.store import Store, atomic_path, make_private

ORDER = "__order"
BLOCK_ROWS = 512


class SortedRuns:
    """Frames go in, in any order; rows come out by their column `__order` (String, by its UTF-8 bytes).

    Runs are not compressed: that would cost more time than the disk does. Used as a context; its folder is removed when
    the context ends. Up to `memory_bytes` are held in memory: half of it is a run that a thread
    writes, while the other half fills. What fits into one half never touches the disk.
    """

    def __init__(self, folder: Path, store: Store, memory_bytes: int) -> None:
        self._folder = folder
        self._store = store
        self._memory_bytes = memory_bytes
        self._held: list[pl.DataFrame] = []
        self._held_bytes = 0
        self._behind = Behind("sort")
        self._runs = 0
        self._paths: list[Path] = []
        self._blocks: list[tuple[str, int, int]] = []  # first key, run, block; Python orders text as its UTF-8 bytes
        self.rows = 0

    def __enter__(self) -> SortedRuns:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._behind.abandon()
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, frame: pl.DataFrame) -> None:
        """Rows to be ordered. All frames have the same columns."""
        if frame.is_empty():
            return
        self.rows += frame.height
        self._held.append(frame)
        self._held_bytes += int(frame.estimated_size())
        if self._held_bytes > self._memory_bytes // 2:
            self._start_run()

    def merged(self, rows: int) -> Iterator[pl.DataFrame]:
        """All rows in order, in frames of about `rows` rows. May be asked for once."""
        if not self._runs:
            yield from in_order(self._take_held(), rows)
            return
        if self._held:
            self._start_run()
        self._behind.wait()
        yield from self._merged_from_disk(max(rows // BLOCK_ROWS, 1))

    def _take_held(self) -> list[pl.DataFrame]:
        held, self._held, self._held_bytes = self._held, [], 0
        return held

    def _start_run(self) -> None:
        """Begin to write what is held as the next run; the frames to come are held meanwhile."""
        self._store.check_space(self._held_bytes)
        self._behind.start(self._write, self._runs, self._take_held())
        self._runs += 1

    def _write(self, run: int, frames: list[pl.DataFrame]) -> None:
        make_private(self._folder)
        path = self._folder / f"run-{run:05d}.arrow"
        schema = frames[0].clear().to_arrow().schema
        with (
            atomic_path(path) as temporary,
            pa.OSFile(str(temporary), "wb") as file,
            pa.ipc.new_file(file, schema) as writer,
        ):
            for block, frame in enumerate(in_order(frames, BLOCK_ROWS)):
                writer.write_table(frame.to_arrow())
                self._blocks.append((frame[ORDER][0], run, block))
        self._paths.append(path)

    def _merged_from_disk(self, blocks_at_once: int) -> Iterator[pl.DataFrame]:
        self._blocks.sort()
        files = [pa.ipc.open_file(pa.OSFile(str(path), "rb")) for path in self._paths]
        waiting: list[pl.DataFrame] = []
        for start in range(0, len(self._blocks), blocks_at_once):
            end = start + blocks_at_once
            waiting += [_frame(files[run].get_batch(block)) for _, run, block in self._blocks[start:end]]
            together = pl.concat(waiting).sort(ORDER)
            if end < len(self._blocks):
                final = together[ORDER].search_sorted(self._blocks[end][0], side="left")
                waiting = [together.slice(final)]
                together = together.head(final)
            if together.height:
                yield together


def in_order(frames: list[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """All rows in order, in frames of `rows` rows; only the order is computed for all of them at once.

    Empties the list, so that their memory is free as soon as they are one.
    """
    if not frames:
        return
    together = pl.concat(frames, rechunk=True)
    frames.clear()
    order = together[ORDER].arg_sort()
    for start in range(0, together.height, rows):
        yield together[order.slice(start, rows)]


def _frame(batch: pa.RecordBatch) -> pl.DataFrame:
    frame = pl.from_arrow(batch)
    assert isinstance(frame, pl.DataFrame)  # noqa: S101  tells the type checker; a batch is never a Series
    return frame
