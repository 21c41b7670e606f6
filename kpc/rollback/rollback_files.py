"""Sending a rollback's files to Salesforce: ids to delete, or records to restore. Safe to repeat."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import polars as pl

from kpc.errors import JobFailed, Terminal
from kpc.ledger.quota import QuotaRequest
from kpc.ledger.states import JobState
from kpc.load.chunk_load import ChunkLoad, ChunkSpec
from kpc.load.chunk_result import ERROR, read_columns
from kpc.load.ingest_job import start_job
from kpc.load.job_polling import ask, follow_job
from kpc.load.org_records import ID, image_header
from kpc.load.record_bodies import update_rows
from kpc.salesforce import BulkJobState, ResultKind, SavedRecord, failed_job, parse_row_error
from kpc.salesforce.constants import COLLECTION_RECORDS
from kpc.stages.context import LeasedContext
from kpc.storage import layout
from kpc.storage.store import FileEntry

ROLLBACK = layout.ROLLBACK  # the purpose of these jobs in the ledger, too

# Error codes of a record that is already deleted: a deletion has succeeded, and there is nothing to restore.
_GONE = {"delete": ("ENTITY_IS_DELETED", "INVALID_CROSS_REFERENCE_KEY"), "update": ("ENTITY_IS_DELETED",)}


@dataclass(frozen=True)
class RollbackFiles:
    """One operation of a rollback on a partition; its files lie in the rollback folder of `generation`."""

    context: LeasedContext
    generation: str
    operation: Literal["delete", "update"]

    def send(self, files: Sequence[FileEntry]) -> None:
        """Send the files one after the other. After the last one, raises `Terminal` with what Salesforce refused."""
        refused: Counter[str] = Counter()
        for entry in files:
            refused.update(_send_file(self._load(entry)))
        if refused:
            listed = ", ".join(f"{code} {rows:,}" for code, rows in sorted(refused.items()))
            did = "did not delete" if self.operation == "delete" else "did not restore"
            raise Terminal(
                f"Salesforce {did} {refused.total():,} of {sum(file.rows for file in files):,} records of "
                f"{self.context}: {listed}.",
                "Remove the cause in the org and roll back again; the partition still counts as loaded.",
            )

    def have_jobs(self, files: Sequence[FileEntry]) -> bool:
        """Whether any of the files has a running or finished ingest job."""
        return any(self._load(entry).live_job() is not None for entry in files)

    def _load(self, entry: FileEntry) -> ChunkLoad:
        spec = ChunkSpec.of(
            entry,
            self.context,
            generation=self.generation,
            folder=ROLLBACK,
            purpose=ROLLBACK,
            operation=self.operation,
        )
        return ChunkLoad(spec, self.context)


def _send_file(load: ChunkLoad) -> Counter[str]:
    """Send one file; returns the number of records that Salesforce left unchanged, by error code."""
    with load.governor.translate_quota_errors():
        if load.spec.rows <= load.settings.collection_rows:
            return _counted((saved.error for saved in _collected(load) if saved.error), load)
        job_id = start_job(load)
        follow_job(load, job_id)
        refused = _refused_by_job(load, job_id)
    state = JobState.FAILED if refused else JobState.COMPLETE  # the next run sends a failed file again
    load.end_job(load.job(job_id), state)
    return refused


def _collected(load: ChunkLoad) -> list[SavedRecord]:
    """Send a small file through composite collections: synchronous, and no batch of quota is used."""
    ledger, governor = load.ledger, load.governor
    calls = -(-load.spec.rows // COLLECTION_RECORDS)
    ledger.pauses.check(load.lease.environment, load.table)
    ledger.quota.check(governor.target_id, QuotaRequest(0, 0, calls, is_repair=True), governor.allowance)
    ledger.leases.require(load.lease)
    header = (ID,) if load.spec.operation == "delete" else image_header(load.table)
    rows = pl.concat(list(read_columns(load.chunk_file(), header)))
    if load.spec.operation == "delete":
        return load.salesforce.delete_records(rows[ID].to_list())
    return update_rows(load.salesforce, load.table, rows.to_dicts())


def _refused_by_job(load: ChunkLoad, job_id: str) -> Counter[str]:
    info = ask(load, job_id)
    if info.ran_out_of_quota or info.state is not BulkJobState.JOB_COMPLETE:
        load.end_job(load.job(job_id), JobState.FAILED, info.error_message)
        if info.ran_out_of_quota:
            raise load.governor.stop(info.error_message)
        error: JobFailed = failed_job(info, str(load))
        raise error
    if not info.failed and info.processed == load.spec.rows:
        return Counter()
    folder = load.paths.rollback
    with tempfile.TemporaryDirectory(dir=folder, prefix=".results-") as scratch:
        file = Path(scratch) / "failed.csv.gz"
        sent = load.spec
        load.salesforce.results(job_id, ResultKind.FAILED, file, rows=sent.rows, raw_bytes=sent.raw_bytes)
        return _counted((text for frame in read_columns(file, (ERROR,)) for text in frame[ERROR]), load)


def _counted(errors: Iterable[str], load: ChunkLoad) -> Counter[str]:
    refused: Counter[str] = Counter()
    for text in errors:
        error = parse_row_error(text)
        is_of_record = load.spec.operation == "delete" or not error.fields
        if error.code not in _GONE[load.spec.operation] or not is_of_record:
            refused[error.code] += 1
    return refused
