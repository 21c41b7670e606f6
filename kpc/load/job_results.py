"""What became of a chunk's rows: Salesforce's three result files, joined by external id and added up."""

from __future__ import annotations

import logging
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID
from kpc.convert.canonical import key_hash
from kpc.convert.external_id import folded
from kpc.convert.gzip_csv import GzipTable, csv_bytes
from kpc.convert.key_sum import KeySum
from kpc.errors import Terminal, Transient
from kpc.ledger import Lease
from kpc.ledger.jobs import IN_FLIGHT
from kpc.load.chunk_load import ENCODING_TRAIT, ChunkLoad, ChunkSpec, governor_of, is_learning_encoding, row_of
from kpc.load.chunk_result import (
    CREATED,
    ERROR,
    GZIP_LEVEL,
    SALESFORCE_ID,
    SUCCESS_HEADER,
    ChunkResult,
    Outcome,
    chunk_stem,
    collected,
    failures_of,
    read_columns,
    result_name,
    write_loaded,
    write_outcome,
)
from kpc.load.ingest_job import start_job
from kpc.load.job_polling import ask, follow_job
from kpc.load.record_bodies import upsert_rows
from kpc.salesforce import BulkJobState, JobInfo, ResultKind, failed_job, parse_row_error
from kpc.stages.workspace import Workspace
from kpc.storage.manifests import loaded_folder
from kpc.storage.store import make_private

log = logging.getLogger(__name__)

# What a job says that could not read its CSV: InvalidBatch, ClientInputError, or a field name that does not exist.
_CONTENT_ERROR = re.compile(r"InvalidBatch|ClientInputError|Field name|LineEnding", re.IGNORECASE)
_RETRY_ROUNDS = 2
_SLICE_ROWS = 50_000
_AT_ONCE = threading.BoundedSemaphore(2)  # chunks whose refused rows are in memory at the same time
_CREATED_BEFORE = ".created.csv.gz"
_PART = ".part.csv.gz"


def settle(load: ChunkLoad, job_id: str) -> ChunkResult:
    """Read what the ended job did, send again what failed in passing, and book the chunk as done.

    Raises `JobFailed` when the job ended without its rows, `Terminal` when the results do not add up to what was sent,
    `QuotaExhausted` when rows are left that the day's allowance did not reach.
    """
    outcome = _outcome(load, job_id)
    for number in range(1, _RETRY_ROUNDS + 1):
        again = _retryable(outcome, load)
        if again.is_empty():
            break
        log.info("%s: sending %s rows again", load, f"{again.height:,}")
        is_small = again.height <= load.workspace.settings.salesforce.collection_rows
        outcome = outcome.after(again, (_send_collected if is_small else _send_again)(load, again, number))
    result = _book(load, job_id, _with_sticky_created(load, outcome))
    stop_on_org_errors(load.table, load.workspace, load.lease)
    return result


def _outcome(load: ChunkLoad, job_id: str) -> Outcome:
    """The results of a job; when its content was not understood as gzip, of a second job with plain CSV."""
    info = ask(load, job_id)
    if not info.state.is_final:
        raise Transient(f"Ingest job {job_id} of {load} is still {info.state}.", "Run the load again later.")
    if info.ran_out_of_quota:
        _heed_quota(load, info)
    if info.state is BulkJobState.ABORTED or info.refuses_content:
        return _outcome(load, _job_instead(load, info))
    if (job := row_of(load, job_id)).encoding == "gzip" and is_learning_encoding(load):
        load.workspace.ledger.remember_trait(job.target_id, ENCODING_TRAIT, "gzip")
    # Its slot is free before rows are sent again: with all slots taken by waiting jobs nothing would move.
    load.workspace.ledger.end_job(job.id, state="ended", lease=load.lease)
    return _read(load, info)


def _heed_quota(load: ChunkLoad, info: JobInfo) -> None:
    """The org stopped the job for want of allowance: nobody begins another; a job that did nothing is over."""
    job = row_of(load, info.id)
    if job.state not in IN_FLIGHT:
        return  # heeded when it was news
    exhausted = governor_of(load.workspace).stop(info.error_message)
    if info.processed:
        log.warning("%s: job %s: %s", load, info.id, exhausted)
        return
    load.workspace.ledger.end_job(job.id, state="failed", error=info.error_message, lease=load.lease)
    raise exhausted


def _job_instead(load: ChunkLoad, info: JobInfo) -> str:
    """Another job for the same chunk, if gzip may be why the first one failed; else raises `JobFailed`."""
    ledger, job = load.workspace.ledger, row_of(load, info.id)
    is_about_content = info.refuses_content and _CONTENT_ERROR.search(info.error_message) is not None
    may_be_gzip = is_about_content and job.encoding == "gzip" and is_learning_encoding(load)
    state = "failed" if info.state is BulkJobState.FAILED else "aborted"
    if info.processed:
        with _scratch(load) as scratch:
            _keep_created(load, info.id, _download(load, info, ResultKind.SUCCESSFUL, scratch))
    ledger.end_job(job.id, state=state, error=info.error_message, lease=load.lease)
    if not may_be_gzip:
        raise failed_job(info, str(load))
    log.warning("%s: job %s failed on its content (%s); trying plain CSV", load, info.id, info.error_message)
    ledger.remember_trait(job.target_id, ENCODING_TRAIT, "identity")
    second = start_job(load)
    follow_job(load, second)
    return second


def _read(load: ChunkLoad, info: JobInfo) -> Outcome:
    """The three result files. What was taken passes by in pieces; what was refused is held in memory."""
    rows, answered = load.spec.rows, KeySum()
    unprocessed = pl.DataFrame(schema=dict.fromkeys(load.table.header, pl.String))
    failed = unprocessed.select(pl.lit("").alias(SALESFORCE_ID), pl.lit("").alias(ERROR), pl.all())
    with _scratch(load) as scratch:
        file = _download(load, info, ResultKind.SUCCESSFUL, scratch)
        frames = _summed(read_columns(file, SUCCESS_HEADER), answered)
        loaded = write_loaded(frames, _part(load, info.id))
        with _AT_ONCE:
            if loaded.rows < rows:
                failed = _frame(load, info, ResultKind.FAILED, scratch).select(failed.columns)
            if loaded.rows + failed.height < rows:
                unprocessed = _frame(load, info, ResultKind.UNPROCESSED, scratch).select(unprocessed.columns)
            for frame in (failed, unprocessed):
                answered.add(_hashes(frame))
            return _complete(load, info, Outcome(loaded, failed, unprocessed, (info.id,)), answered)


@contextmanager
def _scratch(load: ChunkLoad) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=make_private(_folder(load)), prefix=".results-") as name:
        yield Path(name)


def _download(load: ChunkLoad, info: JobInfo, kind: ResultKind, scratch: Path) -> Path:
    file = scratch / f"{kind.value}.csv.gz"
    load.salesforce.results(info.id, kind, file)
    return file


def _frame(load: ChunkLoad, info: JobInfo, kind: ResultKind, scratch: Path) -> pl.DataFrame:
    return pl.read_csv(_download(load, info, kind, scratch), infer_schema=False).fill_null("")


def _summed(frames: Iterator[pl.DataFrame], keys: KeySum) -> Iterator[pl.DataFrame]:
    for frame in frames:
        keys.add(_hashes(frame))
        yield frame


def _hashes(frame: pl.DataFrame) -> pl.Series:
    return frame.select(key_hash()).to_series()


def _complete(load: ChunkLoad, info: JobInfo, outcome: Outcome, answered: KeySum) -> Outcome:
    """Every row that was sent is in exactly one result, and nothing else is.

    Salesforce keeps no results of rows beyond the daily allowance: in a job that ran out of it they are unprocessed.
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
        log.warning("%s: job %s ran out of quota and left %s rows without result", load, info.id, f"{missing.height:,}")
        rows = pl.read_csv(sent_file, infer_schema=False).fill_null("").with_columns(key=folded(pl.col(EXTERNAL_ID)))
        unknown = rows.join(missing, on="key", how="semi").select(outcome.unprocessed.columns)
        return replace(outcome, unprocessed=pl.concat([outcome.unprocessed, unknown]))
    for file in outcome.loaded.paths:
        _keep_created(load, info.id, file)
    reason = f"{missing.height:,} rows without result, {foreign.height:,} results of rows that were not sent"
    load.workspace.ledger.end_job(row_of(load, info.id).id, state="failed", error=reason, lease=load.lease)
    raise Terminal(
        f"The results of ingest job {info.id} do not add up: {sent.rows:,} rows were sent, {answered.rows:,} answered; "
        f"{reason}.",
        "Check `kpc status`, then run the load again: the chunk is sent again, and an upsert changes nothing twice. If "
        "it happens again, give the job id to Salesforce.",
    )


def _differences(sent_file: Path, outcome: Outcome) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The keys that were sent and not answered, and those answered and not sent; looked for only when sums differ."""
    sent = pl.concat([_keys(frame) for frame in read_columns(sent_file, (EXTERNAL_ID,))])
    loaded = [_keys(frame) for frame in outcome.loaded.frames()]
    answered = pl.concat([*loaded, _keys(outcome.failed), _keys(outcome.unprocessed)])
    return sent.join(answered, on="key", how="anti"), answered.join(sent, on="key", how="anti")


def _keys(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(folded(pl.col(EXTERNAL_ID)).alias("key"))


def _keep_created(load: ChunkLoad, job_id: str, success_file: Path) -> None:
    """Remember what a job created whose rows will be sent again; the second answer will no longer say so."""
    path = _folder(load) / f"{chunk_stem(load.spec.chunk)}.{job_id}{_CREATED_BEFORE}"
    frames = read_columns(success_file, SUCCESS_HEADER)
    write_loaded((frame.filter(pl.col(CREATED).str.to_lowercase() == "true") for frame in frames), path)
    load.workspace.store.send(path)


def created_before(workspace: Workspace, folder: Path, generation: str, version: str, chunk: str) -> list[Path]:
    """The files of `_keep_created` of a chunk and of its retries, whichever worker wrote them."""
    stem = chunk_stem(chunk)
    retries = [f"{stem}.retry-{number}.csv.gz" for number in range(1, _RETRY_ROUNDS + 1)]
    dead = [
        folder / f"{chunk_stem(name)}.{job.job_id}{_CREATED_BEFORE}"
        for name in (chunk, *retries)
        for job in workspace.ledger.jobs_of_chunk(generation, version, name)
        if job.job_id and job.state in ("failed", "aborted")
    ]
    for path in dead:
        workspace.store.fetch(path)
    return sorted(folder.glob(f"{stem}.*{_CREATED_BEFORE}"))


def _with_sticky_created(load: ChunkLoad, outcome: Outcome) -> Outcome:
    """The outcome, with `created` true also where an earlier job of this chunk made the same record."""
    spec = load.spec
    files = created_before(load.workspace, _folder(load), spec.generation, spec.mapping_version, spec.chunk)
    if not files:
        return outcome
    before = pl.concat([frame for file in files for frame in read_columns(file, SUCCESS_HEADER)])
    before = before.select(EXTERNAL_ID, SALESFORCE_ID, pl.lit("true").alias("before")).unique()
    created = pl.coalesce("before", CREATED).alias(CREATED)
    joined = (
        frame.join(before, on=[EXTERNAL_ID, SALESFORCE_ID], how="left").with_columns(created)
        for frame in outcome.loaded.frames()
    )
    return replace(outcome, loaded=write_loaded(joined, _part(load, "sticky")))


def _retryable(outcome: Outcome, load: ChunkLoad) -> pl.DataFrame:
    """Rows that failed in passing and rows that were never looked at, in an order that keeps a parent's together."""
    codes = outcome.failed[ERROR].unique()
    passing = [text for text in codes if parse_row_error(text).error_class == "transient"]
    failed = outcome.failed.filter(pl.col(ERROR).is_in(passing)).select(load.table.header)
    return in_parent_order(load.table, pl.concat([failed, outcome.unprocessed]))


def in_parent_order(table: Table, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows of one parent one after the other, so that they do not wait for each other's lock."""
    return rows.sort(*(lookup.header for lookup in table.lookups), EXTERNAL_ID)


def _send_collected(load: ChunkLoad, rows: pl.DataFrame, number: int) -> Outcome:
    """The rows through composite collections: at once, without a batch of quota."""
    load.workspace.ledger.require_lease(load.lease)
    load.workspace.ledger.check_pause(load.lease.environment, load.table)
    with governor_of(load.workspace).heeding():
        saved = upsert_rows(load.salesforce, load.table, rows.to_dicts())
    return collected(rows, saved, _part(load, f"collected-{number}"))


def _send_again(load: ChunkLoad, rows: pl.DataFrame, number: int) -> Outcome:
    """The rows as a small job of their own; resumed like any other."""
    name = f"{chunk_stem(load.spec.chunk)}.retry-{number}.csv.gz"
    with GzipTable(_folder(load) / name, load.table.header, GZIP_LEVEL) as table:
        for part in rows.iter_slices(_SLICE_ROWS):
            table.write(csv_bytes(part, null=""), part.height)
        entry = table.close()
    spec = ChunkSpec(
        **load.spec.model_dump(
            exclude={"chunk", "folder", "rows", "bytes", "raw_bytes", "sha256", "key_sum", "purpose"}
        ),
        chunk=name,
        folder=loaded_folder(load.spec.mapping_version),
        rows=entry.rows,
        bytes=entry.bytes,
        raw_bytes=entry.raw_bytes or 0,
        sha256=entry.sha256,
        purpose="retry",
    )
    retry = replace(load, spec=spec)
    job_id = start_job(retry)
    follow_job(retry, job_id)
    outcome = _outcome(retry, job_id)
    load.workspace.ledger.end_job(row_of(retry, job_id).id, state="complete", lease=load.lease)
    return outcome


def stop_on_org_errors(table: Table, workspace: Workspace, lease: Lease) -> None:
    """Pause an object when triggers, permissions or storage refuse more of its rows than the settings allow.

    What they refuse now they will refuse in every further job, and each job costs quota.
    """
    refused = workspace.ledger.failures_of_class(lease.environment, table, "org")
    most = workspace.settings.salesforce.org_error_rows
    if refused > most:
        reason = f"{refused:,} rows were refused by the org itself, more than {most:,}"
        if workspace.ledger.pause(lease.environment, "table", table.name, actor="kpc", reason=reason):
            log.error("%s is paused: %s; see `kpc failed %s`", table.name, reason, table.name)


def _book(load: ChunkLoad, job_id: str, outcome: Outcome) -> ChunkResult:
    """Files first, then the ledger: a crash between them repeats the reading and nothing else."""
    spec, ledger = load.spec, load.workspace.ledger
    ledger.require_lease(load.lease)
    folder = _folder(load)
    result = write_outcome(folder, spec.chunk, spec.rows, outcome)
    load.workspace.store.publish(folder, result, result.files, result_name(spec.chunk))
    failures = failures_of(load.table, outcome)
    ledger.replace_failures(spec.generation, spec.mapping_version, spec.chunk, failures, lease=load.lease)
    ledger.finish_chunk(spec.generation, spec.mapping_version, spec.chunk, outcome.counts, lease=load.lease)
    ledger.end_job(row_of(load, job_id).id, state="complete", lease=load.lease)
    for part in folder.glob(f"{chunk_stem(spec.chunk)}.*{_PART}"):
        part.unlink()
    return result


def _part(load: ChunkLoad, name: str) -> Path:
    return _folder(load) / f"{chunk_stem(load.spec.chunk)}.{name}{_PART}"


def _folder(load: ChunkLoad) -> Path:
    return load.generation_dir / loaded_folder(load.spec.mapping_version)
