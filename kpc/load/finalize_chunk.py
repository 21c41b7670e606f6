"""Finalizing a chunk: read its job's results, send transient failures again, record the chunk as done."""

from __future__ import annotations

import logging
from dataclasses import replace

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID
from kpc.convert.gzip_csv import GzipTable, csv_bytes
from kpc.ledger.states import FailureClass, JobState, PauseScope
from kpc.load.chunk_load import ChunkLoad
from kpc.load.chunk_result import (
    ERROR,
    GZIP_LEVEL,
    ChunkOutcome,
    ChunkResult,
    collected,
    failures_of,
    part_file,
    remove_parts,
    write_outcome,
)
from kpc.load.created_records import RETRY_ROUNDS, with_created_before
from kpc.load.ingest_job import start_job
from kpc.load.job_polling import follow_job
from kpc.load.job_results import read_outcome
from kpc.load.record_bodies import upsert_rows
from kpc.salesforce import parse_row_error
from kpc.stages.context import LeasedContext
from kpc.storage.layout import chunk_stem, result_name

log = logging.getLogger(__name__)

_SLICE_ROWS = 50_000


def finalize_chunk(load: ChunkLoad, job_id: str) -> ChunkResult:
    """Read the ended job's results, send transient failures again, and record the chunk as done.

    Raises `JobFailed` when the job failed as a whole, `Terminal` when the results do not match the rows sent,
    `QuotaExhausted` when the daily quota does not suffice for the remaining rows.
    """
    outcome = read_outcome(load, job_id)
    for number in range(1, RETRY_ROUNDS + 1):
        again = _retryable(outcome, load)
        if again.is_empty():
            break
        log.info("%s: sending %s rows again", load, f"{again.height:,}")
        is_small = again.height <= load.settings.collection_rows
        outcome = outcome.after(again, (_send_collected if is_small else _send_again)(load, again, number))
    result = _record_result(load, job_id, with_created_before(load, outcome))
    stop_on_org_errors(load.context)
    return result


def _retryable(outcome: ChunkOutcome, load: ChunkLoad) -> pl.DataFrame:
    """Transient failures and unprocessed rows, grouped by parent."""
    codes = outcome.failed[ERROR].unique()
    transient = [text for text in codes if parse_row_error(text).error_class == "transient"]
    failed = outcome.failed.filter(pl.col(ERROR).is_in(transient)).select(load.table.header)
    return in_parent_order(load.table, pl.concat([failed, outcome.unprocessed]))


def in_parent_order(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """Sort rows by parent: parallel batches with rows of one parent would contend for its lock."""
    return rows.sort(*(lookup.header for lookup in table.lookups), EXTERNAL_ID)


def _send_collected(load: ChunkLoad, rows: pl.DataFrame, number: int) -> ChunkOutcome:
    """Send the rows through composite collections: synchronous, and no batch of quota is used."""
    load.ledger.leases.require(load.lease)
    load.ledger.pauses.check(load.lease.environment, load.table)
    with load.governor.translate_quota_errors():
        saved = upsert_rows(load.salesforce, load.table, rows.to_dicts())
    return collected(rows, saved, part_file(load.results, load.spec.chunk, f"collected-{number}"))


def _send_again(load: ChunkLoad, rows: pl.DataFrame, number: int) -> ChunkOutcome:
    """Send the rows as a separate small job, which can be resumed like any other."""
    name = f"{chunk_stem(load.spec.chunk)}.retry-{number}.csv.gz"
    with GzipTable(load.results / name, load.table.header, GZIP_LEVEL) as table:
        for part in rows.iter_slices(_SLICE_ROWS):
            table.write(csv_bytes(part, null=""), part.height)
        entry = table.close()
    retry = replace(load, spec=load.spec.sent_again(entry))
    job_id = start_job(retry)
    follow_job(retry, job_id)
    outcome = read_outcome(retry, job_id)
    retry.end_job(retry.job(job_id), JobState.COMPLETE)
    return outcome


def stop_on_org_errors(context: LeasedContext) -> None:
    """Pause an object when triggers, permissions or storage refuse more of its rows than the settings allow.

    The same rows would be refused in every further job, and each job costs quota.
    """
    ledger, environment, table = context.ledger, context.environment, context.table
    refused = ledger.failures.count_of_class(environment, table, FailureClass.ORG)
    most = context.settings.salesforce.org_error_rows
    if refused > most:
        reason = f"{refused:,} rows were refused by the org's triggers, permissions or storage, more than {most:,}"
        if ledger.pauses.start(environment, PauseScope.TABLE, table.name, actor="kpc", reason=reason):
            log.error("%s is paused: %s; see `kpc failed %s`", table.name, reason, table.name)


def _record_result(load: ChunkLoad, job_id: str, outcome: ChunkOutcome) -> ChunkResult:
    """Write the files, then the ledger: after a crash in between, only reading the results is repeated."""
    spec, ledger = load.spec, load.ledger
    ledger.leases.require(load.lease)
    folder = load.results
    result = write_outcome(folder, spec.chunk, spec.rows, outcome)
    load.store.publish(folder, result, result.files, result_name(spec.chunk))
    failures = failures_of(load.table, outcome)
    ledger.failures.replace(spec.generation, spec.mapping_version, spec.chunk, failures, lease=load.lease)
    ledger.chunks.finish(spec.generation, spec.mapping_version, spec.chunk, outcome.counts, lease=load.lease)
    load.end_job(load.job(job_id), JobState.COMPLETE)
    remove_parts(folder, spec.chunk)
    return result
