"""Processing ingest jobs: batch by batch in worker threads, each batch one transaction.

A batch's rows, its counters and its result files belong together: the files are written before the commit, and what a
crash left uncommitted is done again from the same upload, so that nothing is written twice or lost.
"""

from __future__ import annotations

import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import polars as pl
import pyarrow as pa

from kpc.emulators.salesforce.bulk.csv_input import PARSED, cells_of, parse_content, read_batches, read_header
from kpc.emulators.salesforce.bulk.result_rows import as_lines, as_text, shuffled, text_of_lines
from kpc.emulators.salesforce.errors import DataError
from kpc.emulators.salesforce.org.jobs import FAILED, IN_PROGRESS, JOB_COMPLETE, UPLOAD_COMPLETE, Job
from kpc.emulators.salesforce.org.org import Org
from kpc.emulators.salesforce.org.schema import SObject
from kpc.emulators.salesforce.org.storage import StorageSession
from kpc.emulators.salesforce.writing.columns import UploadColumn, plan_columns
from kpc.emulators.salesforce.writing.dml import write_rows
from kpc.emulators.salesforce.writing.org_refusals import refuse_all
from kpc.emulators.salesforce.writing.row_locks import RowLocks
from kpc.emulators.salesforce.writing.write import CHUNK_ROWS, Write, WriteOutcome, sunk

_HOLD_S = 0.05
CONTENT = "content.csv"


class _Aborted(Exception):
    """The job was aborted while a batch was processed; the batch is rolled back."""


class Processor:
    """Threads that process closed jobs."""

    def __init__(self, org: Org, workers: int) -> None:
        self._org = org
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="ingest")
        self._stopping = threading.Event()
        self._locks = RowLocks()

    def submit(self, job: Job) -> None:
        self._pool.submit(self._process, job)

    def resume(self) -> None:
        """Resume what an earlier process left unfinished."""
        for job in self._org.jobs:
            if job.kind == "ingest" and job.state in (UPLOAD_COMPLETE, IN_PROGRESS):
                self.submit(job)

    def stop(self) -> None:
        """Stop after the current batches; the next process continues."""
        self._stopping.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _process(self, job: Job) -> None:
        try:
            while self._org.switches.processing == "hold" and not self._stopping.wait(_HOLD_S):
                pass
            if self._enter(job):
                self._run(job)
        except _Aborted:
            pass
        except DataError as error:
            self._end(job, FAILED, str(error))
        except Exception as error:  # noqa: BLE001  a job must end whatever happens, and say why
            traceback.print_exc()
            self._end(job, FAILED, f"InternalServerError : the emulator failed: {error}")
        finally:
            self._locks.release(job.id)
            if job.is_over:  # the parsed copy is only needed while the job is processed
                (self._org.jobs.folder(job.id) / PARSED).unlink(missing_ok=True)

    def _enter(self, job: Job) -> bool:
        """Start the job, unless it was aborted or the process is stopping."""
        with self._org.jobs.changing(job):
            if job.is_over or self._stopping.is_set():
                return False
            job.state = IN_PROGRESS
            job.started = self._org.clock.now().timestamp()
        self._save(job)
        return True

    def _run(self, job: Job) -> None:
        started = time.monotonic()
        sobject = self._org.schema.find(job.sobject)
        path = self._org.jobs.folder(job.id) / CONTENT
        header = read_header(path, job)
        if sobject is None:
            raise DataError(f"InvalidBatch : object {job.sobject} does not exist")
        columns = plan_columns(self._org.schema, sobject, header)
        parsed = parse_content(path, job, len(header))
        for number, rows in enumerate(read_batches(parsed, job.batches), job.batches):
            if job.is_over or self._stopping.is_set():
                return
            self._admit(rows.num_rows)
            self._wait_out_timeouts(job)
            self._batch(job, sobject, columns, rows, number)
            job.total_ms = job.active_ms = job.total_ms + int((time.monotonic() - started) * 1000)
            started = time.monotonic()
        self._end(job, JOB_COMPLETE)

    def _admit(self, rows: int) -> None:
        """Debit the daily allowance; once it is used up, the rest of the job is not processed."""
        switches, org = self._org.switches, self._org
        with org.jobs.lock:
            if org.batches.used >= switches.daily_batches or org.records.used + rows > switches.daily_records:
                raise DataError("ExceededQuota : the allowance of batches or records for 24 hours is used up")
            org.batches.add(1)
            org.records.add(rows)

    def _wait_out_timeouts(self, job: Job) -> None:
        """Batches that time out are tried again, up to Salesforce's number of attempts."""
        switches = self._org.switches
        for _ in range(switches.batch_attempts):
            with self._org.jobs.lock:
                if switches.batch_timeouts <= 0:
                    return
                switches.batch_timeouts -= 1
                job.retries += 1
        raise DataError("Timeout : a batch was not done in 5 minutes, and was tried as often as allowed")

    def _batch(
        self, job: Job, sobject: SObject, columns: list[UploadColumn], rows: pa.RecordBatch, number: int
    ) -> None:
        org = self._org
        started = org.clock.now()
        cells = cells_of(rows)
        write = Write(
            job.operation,
            org.schema,
            sobject,
            sobject.find(job.external_id_field) if job.external_id_field else None,
            job.created_by,
            started,
            job.id,
            org.seed,
            org.key_indexes,
            null_clears_parent=org.switches.null_relationship == "null",
        )
        with ExitStack() as held:
            with org.storage.writing() as session:
                if org.switches.sink:
                    outcome = sunk(rows.num_rows)
                else:
                    refused = self._locks.refuse(job.id, org.switches, columns, cells)
                    refused |= refuse_all(org.switches, cells.height)
                    outcome = write_rows(session, write, columns, cells, refused)
                self._keep(session, job, number, rows, outcome)
                # From here to the commit and the counters nobody aborts the job: its results would not add up.
                held.enter_context(org.jobs.changing(job))
                if job.is_over:
                    raise _Aborted
            job.batches, job.processed = number + 1, job.processed + rows.num_rows
            job.failed += len(outcome.errors)
        self._show_progress(job, rows.num_rows)

    def _keep(
        self, session: StorageSession, job: Job, number: int, rows: pa.RecordBatch, outcome: WriteOutcome
    ) -> None:
        """Write the batch's results, as the last part of its transaction."""
        columns = list(rows.columns)
        accounts = outcome.accounts()
        ids, created = as_text(accounts["id"].fill_null("")), as_text(accounts["created"].cast(pl.String))
        good, bad = [ids, created, *columns], []
        failed = sorted(outcome.errors)
        if failed:
            is_failed = pl.int_range(rows.num_rows, eager=True).is_in(failed)
            good = [each.filter((~is_failed).to_arrow()) for each in good]
            bad = [each.filter(is_failed.to_arrow()) for each in (ids, *columns)]
            bad.insert(1, as_text([outcome.errors[row].csv_text for row in failed]))
        self._write_results(job, "success", number, good)
        self._write_results(job, "failed", number, bad)
        started = self._org.clock.now().replace(tzinfo=None)
        session.run(
            "INSERT INTO emulator.batch VALUES (?, ?, ?, ?, ?)", [job.id, number, rows.num_rows, len(failed), started]
        )

    def _write_results(self, job: Job, kind: str, number: int, columns: list[pa.Array]) -> None:
        path = self._org.jobs.folder(job.id) / f"{kind}-{number:05d}.csv"
        path.unlink(missing_ok=True)  # of an attempt that was not committed
        if not columns or len(columns[0]) == 0:
            return
        lines = as_lines(columns, job, self._org.switches.result_quotes)
        if self._org.switches.result_order == "shuffled":
            lines = shuffled(lines, self._org.seed + number)
        path.write_bytes(text_of_lines(lines))

    def _show_progress(self, job: Job, rows: int) -> None:
        """Make the rows of a batch visible at the configured pace, in chunks of 200."""
        before = job.processed - rows
        speed = self._org.switches.rows_per_s
        started = self._org.clock.now()
        while speed > 0 and not self._stopping.is_set() and not job.is_over:
            shown = int((self._org.clock.now() - started).total_seconds() * speed) // CHUNK_ROWS * CHUNK_ROWS
            if shown >= rows:
                break
            job.shown_processed = before + shown
            time.sleep(0.01)
            speed = self._org.switches.rows_per_s
        job.shown_processed = -1

    def _end(self, job: Job, state: str, error: str = "") -> None:
        with self._org.jobs.changing(job):
            if job.is_over:
                return
            job.state, job.error_message = state, error
            job.ended = self._org.clock.now().timestamp()
        self._save(job)

    def _save(self, job: Job) -> None:
        job.modified = self._org.clock.now().timestamp()
        self._org.jobs.save(job)
