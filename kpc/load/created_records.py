"""Which records a chunk's jobs created, including jobs whose rows were sent again.

When a row is sent again, its second result says `created` = false, so the first result is kept beside the others.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl

from kpc.catalog.types import EXTERNAL_ID, GENERATION_FIELD
from kpc.ledger import JobRow
from kpc.load.chunk_load import ChunkLoad
from kpc.load.chunk_result import (
    CREATED,
    SALESFORCE_ID,
    SUCCESS_HEADER,
    ChunkOutcome,
    part_file,
    read_columns,
    write_loaded,
)
from kpc.salesforce.soql import in_conditions
from kpc.stages.context import PartitionContext
from kpc.storage.layout import chunk_stem

log = logging.getLogger(__name__)

_CLOCK_SKEW = timedelta(minutes=2)
RETRY_ROUNDS = 2  # how often a chunk's failed rows are sent again
_ACCEPTED = ".accepted.csv.gz"


def keep_accepted(load: ChunkLoad, job_id: str, success_file: Path) -> None:
    """Save which records a job wrote, before its rows are sent again or its load is given up."""
    path = accepted_file(load, job_id)
    write_loaded(read_columns(success_file, SUCCESS_HEADER), path)
    load.store.send(path)


def keep_found(load: ChunkLoad, job: JobRow) -> None:
    """The same for a job that the org no longer knows: its chunk's records are asked for by their external ids.

    Those that bear the load's marker were written by it, and were created by it if this user made them since the job
    was planned. About 400 ids a call.
    """
    path = accepted_file(load, str(job.job_id))
    if path.exists() or job.operation != "upsert":
        return
    ids = [each for frame in read_columns(load.chunk_file(), (EXTERNAL_ID,)) for each in frame[EXTERNAL_ID]]
    log.warning("%s: looking for the records that job %s wrote, because its results are gone", load, job.job_id)
    write_loaded(_found(load, ids, job.intent_utc - _CLOCK_SKEW), path)
    load.store.send(path)


def _found(load: ChunkLoad, ids: list[str], since: datetime) -> Iterator[pl.DataFrame]:
    """SUCCESS_HEADER of the records with these external ids and the load's marker."""
    names = f"Id, {EXTERNAL_ID}, {GENERATION_FIELD}, CreatedById, CreatedDate"
    for condition in in_conditions(EXTERNAL_ID, ids):
        rows = []
        for found in load.salesforce.query(f"SELECT {names} FROM {load.table.target} WHERE {condition}"):  # noqa: S608
            made = datetime.fromisoformat(str(found["CreatedDate"]))
            is_created = found["CreatedById"] == load.salesforce.user_id and made >= since
            if found.get(GENERATION_FIELD) == load.spec.generation:
                rows.append((str(found[EXTERNAL_ID]), str(found["Id"]), str(is_created).lower()))
        yield pl.DataFrame(rows, schema=dict.fromkeys(SUCCESS_HEADER, pl.String), orient="row")


def accepted_file(load: ChunkLoad, job_id: str) -> Path:
    """Where `keep_accepted` writes."""
    return load.results / f"{chunk_stem(load.spec.chunk)}.{job_id}{_ACCEPTED}"


def accepted_before(context: PartitionContext, generation: str, version: str, chunk: str) -> list[Path]:
    """The files that `keep_accepted` wrote for a chunk and its retries, on any worker: SUCCESS_HEADER."""
    folder, stem = context.paths.generation(generation).loaded(version), chunk_stem(chunk)
    retries = [f"{stem}.retry-{number}.csv.gz" for number in range(1, RETRY_ROUNDS + 1)]
    possible = [
        folder / f"{chunk_stem(name)}.{job.job_id}{_ACCEPTED}"
        for name in (chunk, *retries)
        for job in context.ledger.jobs.of_chunk(generation, version, name)
        if job.job_id
    ]
    for path in possible:
        context.store.fetch(path)
    return sorted(folder.glob(f"{stem}.*{_ACCEPTED}"))


def with_created_before(load: ChunkLoad, outcome: ChunkOutcome) -> ChunkOutcome:
    """The outcome, with `created` also true for records that an earlier job of this chunk created."""
    spec = load.spec
    files = accepted_before(load.context, spec.generation, spec.mapping_version, spec.chunk)
    frames = [frame for file in files for frame in read_columns(file, SUCCESS_HEADER)]
    if not frames:
        return outcome
    before = pl.concat(frames)
    before = before.filter(pl.col(CREATED).str.to_lowercase() == "true")
    before = before.select(EXTERNAL_ID, SALESFORCE_ID, pl.lit("true").alias("before")).unique()
    created = pl.coalesce("before", CREATED).alias(CREATED)
    joined = (
        frame.join(before, on=[EXTERNAL_ID, SALESFORCE_ID], how="left").with_columns(created)
        for frame in outcome.loaded.frames()
    )
    return replace(outcome, loaded=write_loaded(joined, part_file(load.results, spec.chunk, "sticky")))
