"""Threads that run query jobs and keep their results."""

from __future__ import annotations

import traceback
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from kpc.emulators.salesforce.errors import ApiError
from kpc.emulators.salesforce.org.access import acting_as
from kpc.emulators.salesforce.org.jobs import FAILED, IN_PROGRESS, JOB_COMPLETE, Job
from kpc.emulators.salesforce.org.org import Org
from kpc.emulators.salesforce.soql.compiled import Compiled
from kpc.emulators.salesforce.soql.queries import Queries, text_rows

RESULT = "result.arrow"
_ROWS_AT_ONCE = 20_000


class QueryWorker:
    """Threads that run query jobs and keep their results as Arrow files of text."""

    def __init__(self, org: Org, queries: Queries) -> None:
        self._org = org
        self._queries = queries
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="bulk-query")

    def submit(self, job: Job) -> None:
        self._pool.submit(self._process, job)

    def resume(self) -> None:
        for job in self._org.jobs:
            if job.kind == "query" and not job.is_over:
                self.submit(job)

    def stop(self) -> None:
        self._queries.optimizer.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _process(self, job: Job) -> None:
        with self._org.jobs.changing(job):
            if job.is_over:
                return
            job.state = IN_PROGRESS
        started = self._org.clock.now()
        state, error = JOB_COMPLETE, ""
        try:
            soql = job.query or ""
            with acting_as(job.created_by):
                compiled = self._queries.compiled(soql, deleted=job.operation == "queryAll")
            with self._queries.optimizer.timed("bulk", compiled, soql, lambda: job.is_over):
                self._keep(job, compiled)
        except ApiError as refused:
            state, error = FAILED, f"{refused.code} : {refused.message}"
        except Exception as failure:  # noqa: BLE001  a job must end whatever happens, and say why
            traceback.print_exc()
            state, error = FAILED, f"InternalServerError : the emulator failed: {failure}"
        now = self._org.clock.now()
        with self._org.jobs.changing(job):
            if job.is_over:
                return
            job.state, job.error_message = state, error
            job.modified = job.ended = now.timestamp()
            job.total_ms = int((now - started).total_seconds() * 1000)
        self._org.jobs.save(job)

    def _keep(self, job: Job, compiled: Compiled) -> None:
        path = self._org.jobs.folder(job.id) / RESULT
        partial = path.with_suffix(".partial")
        schema = pa.schema([(f"c{n}", pa.string()) for n in range(len(compiled.outputs))])
        try:
            with self._org.storage.reading() as session, pa.ipc.new_file(str(partial), schema) as writer:
                for batch in text_rows(session, compiled, _ROWS_AT_ONCE):
                    writer.write_batch(batch.cast(schema))
                    job.processed += batch.num_rows
                    job.result_bytes += _csv_bytes(batch) * max(self._org.scale, 1)
        except duckdb.Error as error:
            raise ApiError(400, "InvalidBatch", f"Failed to process query: {error}") from error
        partial.rename(path)
        self._org.query_bytes.add(job.result_bytes)


def _csv_bytes(batch: pa.RecordBatch) -> int:
    """The length of the rows in a result file: every value with its quotes and what follows it."""
    texts: int = sum(pc.sum(pc.binary_length(column)).as_py() or 0 for column in batch.columns)
    around: int = batch.num_rows * batch.num_columns * len('"",')
    return texts + around
