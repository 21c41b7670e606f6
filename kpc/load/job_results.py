"""The results of a chunk's ended job: Salesforce's three result files, checked against the rows sent."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import polars as pl

from kpc.catalog.types import EXTERNAL_ID
from kpc.convert.canonical import key_hash
from kpc.convert.external_id import folded
from kpc.convert.key_sum import KeySum
from kpc.errors import Terminal, Transient
from kpc.ledger.states import IN_FLIGHT, JobState
from kpc.load.chunk_load import ChunkLoad
from kpc.load.chunk_result import (
    ERROR,
    SALESFORCE_ID,
    SUCCESS_HEADER,
    ChunkOutcome,
    part_file,
    read_all,
    read_columns,
    write_loaded,
)
from kpc.load.created_records import keep_accepted
from kpc.load.ingest_job import start_job
from kpc.load.job_polling import ask, follow_job
from kpc.load.upload_encoding import learn_encoding, may_have_misread_gzip
from kpc.private_files import make_private
from kpc.salesforce import BulkJobState, JobInfo, ResultKind, failed_job

log = logging.getLogger(__name__)

_AT_ONCE = threading.BoundedSemaphore(2)  # chunks whose refused rows are in memory at the same time


def read_outcome(load: ChunkLoad, job_id: str) -> ChunkOutcome:
    """The results of a job; if the org could not read its gzip content, those of a second job with plain CSV."""
    info = ask(load, job_id)
    if not info.state.is_final:
        raise Transient(f"Ingest job {job_id} of {load} is still {info.state}.", "Run the load again later.")
    if info.ran_out_of_quota:
        _stop_for_quota(load, info)
    if info.state is BulkJobState.ABORTED or info.refuses_content:
        return read_outcome(load, _job_instead(load, info))
    # Free the slot before rows are sent again: if jobs waiting to retry held all slots, none could proceed.
    job = load.job(job_id)
    if job.state in IN_FLIGHT:
        load.end_job(job, JobState.ENDED)
    outcome = _read(load, info)
    learn_encoding(load, info)
    return outcome


def _stop_for_quota(load: ChunkLoad, info: JobInfo) -> None:
    """The job ran out of quota: stop new jobs, and raise `QuotaExhausted` if it processed no rows."""
    job = load.job(info.id)
    if job.state not in IN_FLIGHT:
        return  # new jobs were stopped when this was first seen
    exhausted = load.governor.stop(info.error_message)
    if info.processed:
        log.warning("%s: job %s: %s", load, info.id, exhausted)
        return
    load.end_job(job, JobState.FAILED, info.error_message)
    raise exhausted


def _job_instead(load: ChunkLoad, info: JobInfo) -> str:
    """Send the chunk in another job, if gzip may be why the first one failed; else raises `JobFailed`."""
    job, may_be_gzip = load.job(info.id), may_have_misread_gzip(load, info)
    state = JobState.FAILED if info.state is BulkJobState.FAILED else JobState.ABORTED
    if info.processed:
        with _scratch(load) as scratch:
            keep_accepted(load, info.id, _download(load, info, ResultKind.SUCCESSFUL, scratch))
    load.end_job(job, state, info.error_message)
    if not may_be_gzip:
        raise failed_job(info, str(load))
    log.warning("%s: job %s failed on its content (%s); trying plain CSV", load, info.id, info.error_message)
    second = start_job(load)
    follow_job(load, second)
    return second


def _read(load: ChunkLoad, info: JobInfo) -> ChunkOutcome:
    """Read the three result files. Accepted rows are streamed; refused ones are held in memory."""
    rows, answered = load.spec.rows, KeySum()
    unprocessed = pl.DataFrame(schema=dict.fromkeys(load.table.header, pl.String))
    failed = unprocessed.select(pl.lit("").alias(SALESFORCE_ID), pl.lit("").alias(ERROR), pl.all())
    with _scratch(load) as scratch:
        file = _download(load, info, ResultKind.SUCCESSFUL, scratch)
        frames = _summed(read_columns(file, SUCCESS_HEADER), answered)
        loaded = write_loaded(frames, part_file(load.results, load.spec.chunk, info.id))
        with _AT_ONCE:
            if loaded.rows < rows:
                failed = _frame(load, info, ResultKind.FAILED, scratch, failed.columns)
            if loaded.rows + failed.height < rows:
                unprocessed = _frame(load, info, ResultKind.UNPROCESSED, scratch, unprocessed.columns)
            for frame in (failed, unprocessed):
                answered.add(_hashes(frame))
            return _complete(load, info, ChunkOutcome(loaded, failed, unprocessed, (info.id,)), answered)


@contextmanager
def _scratch(load: ChunkLoad) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=make_private(load.results), prefix=".results-") as name:
        yield Path(name)


def _download(load: ChunkLoad, info: JobInfo, kind: ResultKind, scratch: Path) -> Path:
    file = scratch / f"{kind.value}.csv.gz"
    load.salesforce.results(info.id, kind, file, rows=load.spec.rows, raw_bytes=load.spec.raw_bytes)
    return file


def _frame(load: ChunkLoad, info: JobInfo, kind: ResultKind, scratch: Path, columns: list[str]) -> pl.DataFrame:
    return read_all(_download(load, info, kind, scratch), columns)


def _summed(frames: Iterator[pl.DataFrame], keys: KeySum) -> Iterator[pl.DataFrame]:
    for frame in frames:
        keys.add(_hashes(frame))
        yield frame


def _hashes(frame: pl.DataFrame) -> pl.Series:
    return frame.select(key_hash()).to_series()


def _complete(load: ChunkLoad, info: JobInfo, outcome: ChunkOutcome, answered: KeySum) -> ChunkOutcome:
    """Check that every row sent has exactly one result, and that there are no other results.

    Salesforce returns no results for rows beyond the daily quota; these are added as unprocessed.
    Raises `Terminal` for any other difference.
    """
    if answered.rows == load.spec.rows and str(answered) == load.spec.key_sum:
        return outcome
    sent_file, sent = load.chunk_file(), KeySum()
    for frame in read_columns(sent_file, (EXTERNAL_ID,)):
        sent.add(_hashes(frame))
    if sent == answered:
        return outcome
    missing, foreign = _differences(sent_file, outcome)
    if info.ran_out_of_quota and not foreign.height and answered.rows + missing.height == sent.rows:
        log.warning("%s: job %s ran out of quota; %s rows have no result", load, info.id, f"{missing.height:,}")
        rows = pl.read_csv(sent_file, infer_schema=False).fill_null("").with_columns(key=folded(pl.col(EXTERNAL_ID)))
        unknown = rows.join(missing, on="key", how="semi").select(outcome.unprocessed.columns)
        return replace(outcome, unprocessed=pl.concat([outcome.unprocessed, unknown]))
    for file in outcome.loaded.paths:
        keep_accepted(load, info.id, file)
    reason = f"{missing.height:,} rows without a result, {foreign.height:,} results for rows that were not sent"
    load.end_job(load.job(info.id), JobState.FAILED, reason)
    raise Terminal(
        f"The results of ingest job {info.id} do not add up: {sent.rows:,} rows sent, {answered.rows:,} results; "
        f"{reason}.",
        "Check `kpc status`, then run the load again: the chunk is sent again, and the upsert creates no duplicates. "
        "If it happens again, report the job id to Salesforce.",
    )


def _differences(sent_file: Path, outcome: ChunkOutcome) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Keys sent but without a result, and keys with a result but not sent; computed only when the key sums differ."""
    sent = pl.concat([_keys(frame) for frame in read_columns(sent_file, (EXTERNAL_ID,))])
    loaded = [_keys(frame) for frame in outcome.loaded.frames()]
    answered = pl.concat([*loaded, _keys(outcome.failed), _keys(outcome.unprocessed)])
    return sent.join(answered, on="key", how="anti"), answered.join(sent, on="key", how="anti")


def _keys(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(folded(pl.col(EXTERNAL_ID)).alias("key"))
