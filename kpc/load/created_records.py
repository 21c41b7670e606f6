"""Which records a chunk's jobs created, including jobs whose rows were sent again.

When a row is sent again, its second result says `created` = false, so the first result is kept beside the others.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from kpc.catalog.types import EXTERNAL_ID
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
from kpc.stages.context import PartitionContext
from kpc.storage.layout import chunk_stem

RETRY_ROUNDS = 2  # how often a chunk's failed rows are sent again
_ACCEPTED = ".accepted.csv.gz"


def keep_accepted(load: ChunkLoad, job_id: str, success_file: Path) -> None:
    """Save which records a job wrote, before its rows are sent again or its load is given up."""
    path = accepted_file(load, job_id)
    write_loaded(read_columns(success_file, SUCCESS_HEADER), path)
    load.store.send(path)


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
    if not files:
        return outcome
    before = pl.concat([frame for file in files for frame in read_columns(file, SUCCESS_HEADER)])
    before = before.filter(pl.col(CREATED).str.to_lowercase() == "true")
    before = before.select(EXTERNAL_ID, SALESFORCE_ID, pl.lit("true").alias("before")).unique()
    created = pl.coalesce("before", CREATED).alias(CREATED)
    joined = (
        frame.join(before, on=[EXTERNAL_ID, SALESFORCE_ID], how="left").with_columns(created)
        for frame in outcome.loaded.frames()
    )
    return replace(outcome, loaded=write_loaded(joined, part_file(load.results, spec.chunk, "sticky")))
