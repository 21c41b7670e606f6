"""Sending refused rows again, unchanged or corrected, without using a batch of quota.

transient, unprocessed   sent again, grouped by parent
dependency               parked until the parent's partition is loaded and the parent itself is not refused
data                     quarantined until a person has corrected the row
org                      sent again on request, after somebody has changed a trigger, a permission or the storage
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID
from kpc.convert.external_id import folded
from kpc.errors import ConfigError
from kpc.ledger import FailedRecord
from kpc.ledger.quota import QuotaRequest
from kpc.ledger.states import FailureClass
from kpc.load.chunk_result import (
    ChunkOutcome,
    ChunkResult,
    LoadedRows,
    collected,
    failures_of,
    part_file,
    write_outcome,
)
from kpc.load.corrected_rows import note_corrections
from kpc.load.finalize_chunk import in_parent_order, stop_on_org_errors
from kpc.load.plan import missing_parents
from kpc.load.publish import publish
from kpc.load.record_bodies import upsert_rows
from kpc.partition import Partition
from kpc.repair.correction_log import log_corrections
from kpc.repair.corrections import Correction, Corrections
from kpc.repair.refused_rows import RESULT_REMEDY, chunk_results, open_failures, rows_not_loaded
from kpc.salesforce.constants import COLLECTION_RECORDS
from kpc.stages.context import PartitionContext, StageContext
from kpc.stages.current_manifests import staged_manifest
from kpc.stages.names import SF_LOADED
from kpc.stages.stage_run import run_stage
from kpc.storage.layout import chunk_stem, result_name
from kpc.storage.manifests import LoadManifest, StagedManifest, StageOutput
from kpc.storage.store import MANIFEST

_QUARANTINED = FailureClass.DATA
_PARKED = FailureClass.DEPENDENCY


@dataclass(frozen=True, slots=True)
class RepairResult:
    """The outcome of a repair: of the partition's refused rows `sent` were sent again, and `loaded` of these accepted.

    `load` is the newly published load; None if nothing was sent.
    """

    partition: Partition
    sent: int
    loaded: int
    parked: int
    quarantined: int
    load: LoadManifest | None = None

    def output(self) -> StageOutput:
        """What the stage run records of it: the load as it is now, and the repair's counts."""
        assert self.load is not None  # noqa: S101  every repair that ran has published its load
        output = self.load.output()
        return replace(output, detail={**output.detail, "sent_again": self.sent, "repaired": self.loaded})

    def as_json(self) -> dict[str, object]:
        counts = {name: getattr(self, name) for name in ("sent", "loaded", "parked", "quarantined")}
        return {"table": self.partition.table.name, "key": self.partition.key, **counts}


def send_refused(context: PartitionContext, corrections: Corrections | None = None) -> RepairResult:
    """Send a partition's refused rows again through composite collections and record the results.

    With `corrections`, sends the corrected rows; otherwise those whose class allows another attempt. Files, counts,
    ledger and loaded index are then as if the load itself had ended this way. After a kill, repeating this or the next
    load completes it. Raises `ConfigError` for corrections of rows that are not, or no longer, refused as exported.
    """
    finished = run_stage(context, SF_LOADED, lambda running: _repair(running, corrections))
    # No result: another run did the work while this one waited for the lease.
    return finished.made or RepairResult(context.partition, 0, 0, 0, 0)


def _repair(context: StageContext, corrections: Corrections | None) -> RepairResult:
    staged, records = staged_manifest(context), open_failures(context)
    if corrections is not None:
        _check_known(context, records, corrections)
    work = _Repair(context, staged, records)
    rows = {result.chunk: rows_not_loaded(context, staged, result) for result in chunk_results(context, staged)}
    chosen = {chunk: work.choose(frame, corrections) for chunk, frame in rows.items() if frame.height}
    chosen = {chunk: frame for chunk, frame in chosen.items() if frame.height}
    work.check_allowed(chosen.values())
    if corrections is not None:
        log_corrections(context, staged, corrections)
        note_corrections(context, staged, _changed(chosen, rows, context.table))
    loaded = sum(work.send(chunk, again) for chunk, again in chosen.items())
    manifest = publish(context, staged)
    stop_on_org_errors(context)
    by_class = [record.error_class for record in open_failures(context).values()]
    return RepairResult(
        context.partition,
        sent=sum(frame.height for frame in chosen.values()),
        loaded=loaded,
        parked=by_class.count(_PARKED),
        quarantined=by_class.count(_QUARANTINED),
        load=manifest,
    )


@dataclass(frozen=True)
class _Repair:
    """One partition while its refused rows are sent again; `records` are its open failures by external id."""

    context: StageContext
    staged: StagedManifest
    records: Mapping[str, FailedRecord]

    def choose(self, rows: pl.DataFrame, corrections: Corrections | None) -> pl.DataFrame:
        """The rows to send now: the corrected ones, or those whose class allows another attempt."""
        if corrections is not None:
            mine = [row for row in rows.to_dicts() if row[EXTERNAL_ID].lower() in corrections]
            corrected = [self._corrected(row, corrections[row[EXTERNAL_ID].lower()]) for row in mine]
            return pl.DataFrame(corrected, schema=rows.schema)
        key = folded(pl.col(EXTERNAL_ID))
        classes = {external_id: record.error_class for external_id, record in self.records.items()}
        retryable = [each for each, name in classes.items() if name not in (_QUARANTINED, _PARKED)]
        parked = [each for each, name in classes.items() if name == _PARKED]
        unblocked = rows.filter(key.is_in(parked))
        if missing_parents(self.context):
            unblocked = unblocked.clear()
        for lookup, parent in zip(self.context.table.lookups, self.context.partition.parents(), strict=True):
            refused = list(open_failures(self.context.of(parent)))
            unblocked = unblocked.filter(~folded(pl.col(lookup.header)).is_in(refused))
        return pl.concat([rows.filter(key.is_in(retryable)), unblocked])

    def _corrected(self, row: dict[str, str], correction: Correction) -> dict[str, str]:
        if any(row[field] != value for field, value in correction.before.items()):
            raise ConfigError(
                f"A refused row of {self.context} is no longer as it was exported.",
                f"Export again: `kpc failed {self.context.table.name} {self.context.key} --export FILE`; "
                "nothing was sent.",
            )
        return {**row, **correction.after}

    def check_allowed(self, frames: Iterable[pl.DataFrame]) -> None:
        """Raises `Paused`, or `QuotaExhausted` when too few API calls remain."""
        calls = sum(-(-frame.height // COLLECTION_RECORDS) for frame in frames)
        context = self.context
        context.ledger.pauses.check(context.environment, context.table)
        request = QuotaRequest(0, 0, calls, is_repair=True)
        context.ledger.quota.check(context.environment.target_id, request, context.governor.allowance)

    def send(self, chunk: str, again: pl.DataFrame) -> int:
        """Send rows of one chunk and record its new result; returns how many were accepted.

        The new result files have other names, so that the previous ones stay intact until the new result is published.
        """
        context, folder = self.context, self._folder
        (before,) = (result for result in chunk_results(context, self.staged) if result.chunk == chunk)
        context.ledger.leases.require(context.lease)
        context.store.remove(folder / MANIFEST)  # so that the next load publishes again if this run is killed
        ordered = in_parent_order(context.table, again)
        with context.governor.translate_quota_errors():
            saved = upsert_rows(context.salesforce, context.table, ordered.to_dicts())
        part = part_file(folder, chunk, "repaired")
        answered = collected(ordered, saved, part)
        sent = {external_id.lower() for external_id in again[EXTERNAL_ID]}
        for entry in before.files:
            context.store.file(folder, entry, remedy=RESULT_REMEDY)
        outcome = _outcome_of(folder, before, self.records, sent).after(again, answered)
        self._record_result(chunk, before, outcome)
        part.unlink(missing_ok=True)
        for entry in before.files:
            context.store.remove(folder / entry.name)
        return answered.loaded.rows

    def _record_result(self, chunk: str, before: ChunkResult, outcome: ChunkOutcome) -> None:
        context, staged, folder = self.context, self.staged, self._folder
        name = f"{chunk_stem(chunk)}.repair-{context.stage_run}.csv.gz"
        result = write_outcome(folder, name, before.rows, outcome).model_copy(update={"chunk": chunk})
        context.store.publish(folder, result, result.files, result_name(chunk))
        context.ledger.failures.replace(
            staged.generation,
            staged.mapping_version,
            chunk,
            failures_of(context.table, outcome),
            lease=context.lease,
        )
        context.ledger.chunks.finish(
            staged.generation, staged.mapping_version, chunk, outcome.counts, lease=context.lease
        )

    @property
    def _folder(self) -> Path:
        return self.context.paths.generation(self.staged.generation).loaded(self.staged.mapping_version)


def _outcome_of(
    folder: Path, result: ChunkResult, records: Mapping[str, FailedRecord], sent: Collection[str]
) -> ChunkOutcome:
    """The chunk's outcome from its files, with one more attempt for the rows `sent`."""
    loaded = LoadedRows(folder, (result.success_file,), result.created)
    failed, unprocessed = (
        pl.read_csv(folder / entry.name, infer_schema=False).fill_null("")
        for entry in (result.failed_file, result.unprocessed_file)
    )
    attempts = {record.external_id: record.attempts + (key in sent) for key, record in records.items()}
    return ChunkOutcome(loaded, failed, unprocessed, result.jobs, attempts)


def _changed(
    sent: Mapping[str, pl.DataFrame], before: Mapping[str, pl.DataFrame], table: Table
) -> Sequence[dict[str, str]]:
    """The rows sent with values that differ from Oracle's."""
    changed = []
    for chunk, frame in sent.items():
        known = {row[EXTERNAL_ID]: row for row in before[chunk].select(table.data_header).to_dicts()}
        changed += [row for row in frame.select(table.data_header).to_dicts() if row != known[row[EXTERNAL_ID]]]
    return changed


def _check_known(context: PartitionContext, records: Mapping[str, FailedRecord], corrections: Corrections) -> None:
    if unknown := [key for key in corrections if key not in records]:
        raise ConfigError(
            f"{len(unknown):,} rows of the file are not, or no longer, refused rows of {context}.",
            f"Export again: `kpc failed {context.table.name} {context.key} --export FILE`; nothing was sent.",
        )
