"""Sort a whole partition with bounded memory (external merge sort): sorted runs on disk, then a merge.

A run is written in blocks of `BLOCK_ROWS`, and the first key of each block is kept in memory. The merge reads blocks in
the order of their first keys: everything that sorts before the first key of the next unread block is final, because no
unread block can hold a smaller one. So each block is read once, and at most one unfinished block per run is held. If
there are more runs than blocks that fit in memory, some runs are merged into longer ones first.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import polars as pl
import pyarrow as pa

from kpc.private_files import make_private, make_private_file
from kpc.storage.prefetch import BackgroundWorker
from kpc.storage.store import Store, disk_may_fill

ORDER = "__order"
BLOCK_ROWS = 512
LEAST_FAN_IN = 4  # runs merged at once, however wide their rows are


@dataclass(frozen=True, slots=True)
class _SortedRun:
    """A file of ordered rows, with the first key of each block. `bytes` on disk are about the same in memory."""

    path: Path
    schema: pa.Schema
    firsts: tuple[str, ...]
    bytes: int


class SortedRuns:
    """Takes frames in any order; returns rows sorted by their column `__order` (String, by its UTF-8 bytes).

    A context manager; its folder is removed at the end. Up to `memory_bytes` are held in memory: one half is a run that
    a thread writes while the other half fills. What fits into one half is never written to disk. Runs are not
    compressed: that would take longer than the disk does.
    """

    def __init__(self, folder: Path, store: Store, memory_bytes: int, *, least_fan_in: int = LEAST_FAN_IN) -> None:
        self._folder = folder
        self._store = store
        self._memory_bytes = memory_bytes
        self._least_fan_in = least_fan_in
        self._held: list[pl.DataFrame] = []
        self._held_bytes = 0
        self._worker = BackgroundWorker("sort")
        self._has_runs = False
        self._written = 0
        self._runs: list[_SortedRun] = []
        self.rows = 0

    def __enter__(self) -> SortedRuns:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._worker.abandon()
        shutil.rmtree(self._folder, ignore_errors=True)

    def add(self, frame: pl.DataFrame) -> None:
        """Add rows to sort. All frames have the same columns."""
        if frame.is_empty():
            return
        self.rows += frame.height
        self._held.append(frame)
        self._held_bytes += int(frame.estimated_size())
        if self._held_bytes > self._memory_bytes // 2:
            self._start_run()

    def merged(self, rows: int) -> Iterator[pl.DataFrame]:
        """All rows in order, in frames of about `rows` rows. May be called only once."""
        if not self._has_runs:
            yield from in_order(self._take_held(), rows)
            return
        if self._held:
            self._start_run()
        self._worker.wait()
        blocks_at_once = max(rows // BLOCK_ROWS, 1)
        self._merge_surplus_runs(blocks_at_once)
        yield from _merged(self._runs, blocks_at_once)

    def _take_held(self) -> list[pl.DataFrame]:
        held, self._held, self._held_bytes = self._held, [], 0
        return held

    def _start_run(self) -> None:
        """Start writing the held frames as the next run; new frames are held meanwhile."""
        self._store.check_space(self._held_bytes)
        held = self._take_held()
        schema = held[0].clear().to_arrow().schema
        self._worker.start(lambda: self._write(schema, in_order(held, BLOCK_ROWS)))
        self._has_runs = True

    def _write(self, schema: pa.Schema, blocks: Iterable[pl.DataFrame]) -> None:
        """Write one more run from ordered blocks of at most BLOCK_ROWS rows."""
        path = make_private(self._folder) / f"run-{self._written:05d}.arrow"
        self._written += 1
        firsts = []
        with disk_may_fill(path), _writer(make_private_file(path), schema) as writer:
            for frame in blocks:
                writer.write_table(frame.to_arrow())
                firsts.append(frame[ORDER][0])
        self._runs.append(_SortedRun(path, schema, tuple(firsts), path.stat().st_size))

    def _merge_surplus_runs(self, blocks_at_once: int) -> None:
        """Merge runs into longer ones until one unfinished block of each remaining run fits into half of the memory."""
        while len(self._runs) > (most := self._fan_in()):
            count = min(most, len(self._runs) - most + 1)
            group, self._runs = self._runs[:count], self._runs[count:]
            self._store.check_space(sum(run.bytes for run in group))
            frames = _merged(group, blocks_at_once)
            self._write(group[0].schema, (part for frame in frames for part in frame.iter_slices(BLOCK_ROWS)))
            for run in group:
                run.path.unlink()

    def _fan_in(self) -> int:
        block_bytes = sum(run.bytes for run in self._runs) // sum(len(run.firsts) for run in self._runs)
        return max(self._least_fan_in, self._memory_bytes // (2 * max(block_bytes, 1)))


def _merged(runs: Sequence[_SortedRun], blocks_at_once: int) -> Iterator[pl.DataFrame]:
    """The rows of all runs in order."""
    with ExitStack() as scope:
        files = [pa.ipc.open_file(scope.enter_context(pa.OSFile(str(run.path), "rb"))) for run in runs]
        # Python orders text as its UTF-8 bytes.
        blocks = sorted((first, run, block) for run, one in enumerate(runs) for block, first in enumerate(one.firsts))
        waiting: list[pl.DataFrame] = []
        for start in range(0, len(blocks), blocks_at_once):
            end = start + blocks_at_once
            waiting += [_frame(files[run].get_batch(block)) for _, run, block in blocks[start:end]]
            together = pl.concat(waiting).sort(ORDER)
            if end < len(blocks):
                final = together[ORDER].search_sorted(blocks[end][0], side="left")
                waiting = [together.slice(final)]
                together = together.head(final)
            if together.height:
                yield together


@contextmanager
def _writer(path: Path, schema: pa.Schema) -> Iterator[pa.RecordBatchFileWriter]:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        yield writer


def in_order(frames: list[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """All rows in order, in frames of `rows` rows; only the sort order is computed for all rows at once.

    Empties the list, so that the frames' memory is free once they are joined.
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
    assert isinstance(frame, pl.DataFrame)  # noqa: S101  for the type checker; a batch is never a Series
    return frame
