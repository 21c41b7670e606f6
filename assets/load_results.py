"""What became of a chunk's rows: Salesforce's three result files, joined by external id and added up."""

from __future__ import annotations

import logging
import re
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict

from assets.load_job import (
    ENCODING_TRAIT,
    ChunkLoad,
    ChunkSpec,
    ask,
    follow_job,
    is_learning_encoding,
    row_of,
    start_job,
)
from kpc.catalog.table import EXTERNAL_ID
from kpc.convert.gzip_csv import GzipTable, csv_bytes
from kpc.errors import Terminal, Transient
from kpc.ledger import ChunkCounts, Failure
from kpc.manifests import loaded_folder
from kpc.salesforce import JobInfo, Results, State, failed_job, parse_row_error
from kpc.store import FileEntry, make_private

log = logging.getLogger(__name__)

SALESFORCE_ID, CREATED, ERROR = "sf__Id", "sf__Created", "sf__Error"
SUCCESS_HEADER = (EXTERNAL_ID, SALESFORCE_ID, CREATED)

# What a job says that could not read its CSV: InvalidBatch, ClientInputError, or a field name that does not exist.
_CONTENT_ERROR = re.compile(r"InvalidBatch|ClientInputError|Field name|LineEnding", re.IGNORECASE)
_RETRY_ROUNDS = 2
_SLICE_ROWS = 50_000
_AT_ONCE = threading.BoundedSemaphore(2)  # results in memory at the same time: some 300 MB each at 500,000 rows
_GZIP_LEVEL = 1


class ChunkResult(BaseModel):
    """The accounts of one chunk; the files lie beside it. `rows` = `loaded` + `failed` + `unprocessed`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chunk: str
    rows: int
    loaded: int
    created: int
    failed: int
    unprocessed: int
    jobs: tuple[str, ...]
    success_file: FileEntry
    failed_file: FileEntry
    unprocessed_file: FileEntry

    @property
    def files(self) -> tuple[FileEntry, FileEntry, FileEntry]:
        return self.success_file, self.failed_file, self.unprocessed_file


@dataclass(frozen=True)
class Outcome:
    """Three frames of text: loaded (SUCCESS_HEADER), failed (sf__Id, sf__Error and the row), unprocessed (the row)."""

    loaded: pl.DataFrame
    failed: pl.DataFrame
    unprocessed: pl.DataFrame
    jobs: tuple[str, ...]

    @property
    def counts(self) -> ChunkCounts:
        created = int(self.loaded[CREATED].str.to_lowercase().eq("true").sum() or 0)
        return ChunkCounts(self.loaded.height, created, self.failed.height, self.unprocessed.height)


def result_name(chunk: str) -> str:
    """`chunk-00001.csv.gz` -> `chunk-00001.json`."""
    return f"{_stem(chunk)}.json"


def settle(load: ChunkLoad, job_id: str) -> ChunkResult:
    """Read what the ended job did, send again what failed in passing, and book the chunk as done.

    Raises `JobFailed` when the job ended without its rows, `Terminal` when the results do not add up to what was sent.
    """
    outcome = _outcome(load, job_id)
    for number in range(1, _RETRY_ROUNDS + 1):
        again = _retryable(outcome, load)
        if again.is_empty():
            break
        log.info("%s: sending %s rows again", load, f"{again.height:,}")
        outcome = _merged(outcome, again, _send_again(load, again, number))
    return _book(load, job_id, outcome)


def _outcome(load: ChunkLoad, job_id: str) -> Outcome:
    """The results of a job; when its content was not understood as gzip, of a second job with plain CSV."""
    info = ask(load, job_id)
    if not info.state.is_final:
        raise Transient(f"Ingest job {job_id} of {load} is still {info.state}.", "Run the load again later.")
    if info.state is State.ABORTED or info.refuses_content:
        return _outcome(load, _job_instead(load, info))
    if (job := row_of(load, job_id)).encoding == "gzip" and is_learning_encoding(load):
        load.workspace.ledger.remember_trait(job.target_id, ENCODING_TRAIT, "gzip")
    # Its slot is free before rows are sent again: with all slots taken by waiting jobs nothing would move.
    load.workspace.ledger.end_job(row_of(load, job_id).id, state="ended", lease=load.lease)
    with _AT_ONCE:
        return _read(load, info)


def _job_instead(load: ChunkLoad, info: JobInfo) -> str:
    """Another job for the same chunk, if gzip may be why the first one failed; else raises `JobFailed`."""
    ledger, job = load.workspace.ledger, row_of(load, info.id)
    is_about_content = info.refuses_content and _CONTENT_ERROR.search(info.error_message) is not None
    may_be_gzip = is_about_content and job.encoding == "gzip" and is_learning_encoding(load)
    state = "failed" if info.state is State.FAILED else "aborted"
    ledger.end_job(job.id, state=state, error=info.error_message, lease=load.lease)
    if not may_be_gzip:
        raise failed_job(info, str(load))
    log.warning("%s: job %s failed on its content (%s); trying plain CSV", load, info.id, info.error_message)
    ledger.remember_trait(job.target_id, ENCODING_TRAIT, "identity")
    second = start_job(load)
    follow_job(load, second)
    return second


def _read(load: ChunkLoad, info: JobInfo) -> Outcome:
    rows = load.spec.rows
    with tempfile.TemporaryDirectory(dir=make_private(_folder(load)), prefix=".results-") as name:
        scratch = Path(name)
        empty = pl.DataFrame(schema=dict.fromkeys(load.table.header, pl.String))
        loaded = _results(load, info, Results.SUCCESSFUL, scratch).select(SUCCESS_HEADER)
        failed = empty.with_columns(pl.lit("").alias(SALESFORCE_ID), pl.lit("").alias(ERROR))
        failed = failed.select(SALESFORCE_ID, ERROR, *load.table.header)
        unprocessed = empty
        if loaded.height < rows:
            failed = _results(load, info, Results.FAILED, scratch).select(failed.columns)
        if loaded.height + failed.height < rows:
            unprocessed = _results(load, info, Results.UNPROCESSED, scratch).select(unprocessed.columns)
    outcome = Outcome(loaded, failed, unprocessed, (info.id,))
    _check_sum(load, outcome)
    return outcome


def _results(load: ChunkLoad, info: JobInfo, kind: Results, scratch: Path) -> pl.DataFrame:
    file = scratch / f"{kind.value}.csv.gz"
    load.salesforce.results(info.id, kind, file)
    columns = list(SUCCESS_HEADER) if kind is Results.SUCCESSFUL else None
    return pl.read_csv(file, columns=columns, infer_schema=False).fill_null("")


def _check_sum(load: ChunkLoad, outcome: Outcome) -> None:
    """Every row that was sent is in exactly one result, and nothing else is (Salesforce compares without case)."""
    sent = _keys(pl.read_csv(load.chunk_file(), columns=[EXTERNAL_ID], infer_schema=False))
    answered = pl.concat([_keys(outcome.loaded), _keys(outcome.failed), _keys(outcome.unprocessed)])
    missing = sent.join(answered, on="key", how="anti").height
    foreign = answered.join(sent, on="key", how="anti").height
    if missing or foreign or answered.height != sent.height:
        job = row_of(load, outcome.jobs[0])
        reason = f"{missing:,} rows without result, {foreign:,} results of rows that were not sent"
        load.workspace.ledger.end_job(job.id, state="failed", error=reason, lease=load.lease)
        raise Terminal(
            f"The results of ingest job {job.job_id} do not add up: {sent.height:,} rows were sent, "
            f"{answered.height:,} answered; {reason}.",
            "Salesforce keeps no results of batches beyond the daily allowance. Check `kpc status`, then run the load "
            "again: the chunk is sent again, and an upsert changes nothing twice.",
        )


def _keys(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(pl.col(EXTERNAL_ID).str.to_lowercase().alias("key"))


def _retryable(outcome: Outcome, load: ChunkLoad) -> pl.DataFrame:
    """Rows that failed in passing and rows that were never looked at, in an order that keeps a parent's together."""
    codes = outcome.failed[ERROR].unique()
    passing = [text for text in codes if parse_row_error(text).error_class == "transient"]
    failed = outcome.failed.filter(pl.col(ERROR).is_in(passing)).select(load.table.header)
    parents = [lookup.header for lookup in load.table.lookups]
    return pl.concat([failed, outcome.unprocessed]).sort(*parents, EXTERNAL_ID)


def _send_again(load: ChunkLoad, rows: pl.DataFrame, number: int) -> Outcome:
    """The rows as a small job of their own; resumed like any other."""
    name = f"{_stem(load.spec.chunk)}.retry-{number}.csv.gz"
    with GzipTable(_folder(load) / name, load.table.header, _GZIP_LEVEL) as table:
        for part in rows.iter_slices(_SLICE_ROWS):
            table.write(csv_bytes(part, null=""), part.height)
        entry = table.close()
    spec = ChunkSpec(
        **load.spec.model_dump(exclude={"chunk", "folder", "rows", "bytes", "raw_bytes", "sha256", "purpose"}),
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


def _merged(before: Outcome, again: pl.DataFrame, after: Outcome) -> Outcome:
    return Outcome(
        loaded=pl.concat([before.loaded, after.loaded]),
        failed=pl.concat([before.failed.join(again, on=EXTERNAL_ID, how="anti"), after.failed]),
        unprocessed=after.unprocessed,
        jobs=(*before.jobs, *after.jobs),
    )


def _book(load: ChunkLoad, job_id: str, outcome: Outcome) -> ChunkResult:
    """Files first, then the ledger: a crash between them repeats the reading and nothing else."""
    spec, ledger, counts = load.spec, load.workspace.ledger, outcome.counts
    ledger.require_lease(load.lease)
    result = ChunkResult(
        chunk=spec.chunk,
        rows=spec.rows,
        loaded=counts.loaded,
        created=counts.created,
        failed=counts.failed,
        unprocessed=counts.unprocessed,
        jobs=outcome.jobs,
        success_file=_write(load, "success", outcome.loaded),
        failed_file=_write(load, "failed", outcome.failed),
        unprocessed_file=_write(load, "unprocessed", outcome.unprocessed),
    )
    load.workspace.store.publish(_folder(load), result, result.files, result_name(spec.chunk))
    failures = _failures(load, outcome)
    ledger.replace_failures(spec.generation, spec.mapping_version, spec.chunk, failures, lease=load.lease)
    ledger.finish_chunk(spec.generation, spec.mapping_version, spec.chunk, counts, lease=load.lease)
    ledger.end_job(row_of(load, job_id).id, state="complete", lease=load.lease)
    return result


def _write(load: ChunkLoad, kind: str, rows: pl.DataFrame) -> FileEntry:
    file = _folder(load) / f"{_stem(load.spec.chunk)}.{kind}.csv.gz"
    with GzipTable(file, tuple(rows.columns), _GZIP_LEVEL) as table:
        for part in rows.sort(EXTERNAL_ID).iter_slices(_SLICE_ROWS):
            table.write(csv_bytes(part, null=""), part.height)
        return table.close()


def _failures(load: ChunkLoad, outcome: Outcome) -> Iterator[Failure]:
    """For migration_failed_records: why, in words without personal values."""
    personal = [column.field for column in load.table.sent_columns if column.pii is not None]
    tries = len(outcome.jobs)
    for row in outcome.failed.select(EXTERNAL_ID, ERROR, *personal).iter_rows():
        error = parse_row_error(row[1], [value for value in row[2:] if value])
        yield Failure(row[0], error.code, error.error_class, error.message, error.fields, tries, outcome.jobs[-1])
    for key in outcome.unprocessed[EXTERNAL_ID]:
        message = "Salesforce ended the job before it came to this row"
        yield Failure(key, "UNPROCESSED", "unprocessed", message, (), tries, outcome.jobs[-1])


def _folder(load: ChunkLoad) -> Path:
    return load.generation_dir / loaded_folder(load.spec.mapping_version)


def _stem(chunk: str) -> str:
    return chunk.removesuffix(".csv.gz")
