"""Rows that Salesforce refused: listed with their values, corrected by people, and sent again without a batch of quota.

transient, unprocessed   sent again, parent by parent
dependency               parked until the parent's partition is loaded and the parent itself is not refused
data                     quarantined until a person has corrected the row
org                      sent again on request: somebody changed a trigger, a permission, the storage
"""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID
from kpc.convert.external_id import folded
from kpc.convert.field_check import wrong_cells
from kpc.errors import ConfigError, RowsRejected
from kpc.ledger import FailedRecord, Lease
from kpc.ledger.quota import Request
from kpc.load.chunk_load import governor_of
from kpc.load.chunk_result import (
    ChunkResult,
    LoadedRows,
    Outcome,
    chunk_stem,
    collected,
    failures_of,
    result_name,
    write_outcome,
)
from kpc.load.corrected_rows import note_repairs
from kpc.load.job_results import in_parent_order, stop_on_org_errors
from kpc.load.partition_load import STAGE, loaded_receipt, missing_parents, publish_load
from kpc.load.plan import staged_and_folder
from kpc.load.record_bodies import upsert_rows
from kpc.partition import Partition
from kpc.salesforce.constants import COLLECTION_RECORDS, NULL_TOKEN
from kpc.stages.result import Made
from kpc.stages.stage_run import Turn, run_stage
from kpc.stages.workspace import Workspace
from kpc.storage.manifests import LoadManifest, StagedManifest
from kpc.storage.store import MANIFEST, Store, atomic_path

PARTITION, CLASS, CODE, MESSAGE = "_partition", "_class", "_code", "_message"
NOTES = (PARTITION, CLASS, CODE, MESSAGE)
_QUARANTINED = "data"
_PARKED = "dependency"
_REMEDY = "Remove the chunk's .json file beside it and run the load again; its results are read again."
_REJECTED = "rejected"  # by staging: such a row has no CSV form to correct

Edits = Mapping[str, Mapping[str, str]]  # by external id in lower case: cells in place of the refused ones


@dataclass(frozen=True, slots=True)
class Repair:
    """What became of a partition's refused rows: `sent` of them again, of which `loaded` were taken."""

    partition: Partition
    sent: int
    loaded: int
    parked: int
    quarantined: int

    def as_json(self) -> dict[str, object]:
        counts = {name: getattr(self, name) for name in ("sent", "loaded", "parked", "quarantined")}
        return {"table": self.partition.table.name, "key": self.partition.key, **counts}


def refused_rows(partition: Partition, workspace: Workspace) -> pl.DataFrame:
    """NOTES and the whole row, as text, of every open failure that has one; personal values included."""
    table = partition.table
    records = _open(partition, workspace)
    empty = pl.DataFrame(schema=dict.fromkeys((*NOTES, *table.header), pl.String))
    if not records:
        return empty
    staged, folder = staged_and_folder(partition, workspace)
    notes = pl.DataFrame(
        [[r.external_id, partition.key, r.error_class, r.error_code, r.message] for r in records.values()],
        schema=dict.fromkeys((EXTERNAL_ID, *NOTES), pl.String),
        orient="row",
    )
    frames = [_refused(folder, result, table, workspace.store) for result in _results(staged, folder, workspace.store)]
    rows = pl.concat([empty.select(table.header), *frames])
    return rows.join(notes, on=EXTERNAL_ID, how="inner").select(*NOTES, *table.header).sort(EXTERNAL_ID)


def export_refused(partitions: Iterable[Partition], workspace: Workspace, file: Path) -> int:
    """Write the refused rows of partitions of one table to a CSV file that only its owner can read; returns how many.

    Lines of one file can be corrected in a spreadsheet and imported again.
    """
    frames = [refused_rows(partition, workspace) for partition in partitions]
    rows = pl.concat(frames) if frames else pl.DataFrame()
    with atomic_path(file.resolve()) as temporary:
        rows.write_csv(temporary)
    return rows.height


def read_edits(file: Path, table: Table) -> dict[str, Edits]:
    """The corrected rows of an exported file, by partition key. Nothing is sent yet.

    Raises `ConfigError` for a file that is not of this table, `RowsRejected` listing every cell that its field does not
    take (by line and field; the values are not repeated).
    """
    edits: dict[str, dict[str, dict[str, str]]] = {}
    wrong: list[str] = []
    for line, row in _read_lines(file, table):
        cells = {name: value for name, value in row.items() if name in table.data_header and name != EXTERNAL_ID}
        wrong += [f"line {line}, {name} {reason}" for name, reason in wrong_cells(table, cells)]
        nulls = {column.field for column in table.sent_columns}
        cells = {name: NULL_TOKEN if value == "" and name in nulls else value for name, value in cells.items()}
        mine = edits.setdefault(row.get(PARTITION, ""), {})
        if mine.setdefault(row[EXTERNAL_ID].lower(), cells) is not cells:
            wrong.append(f"line {line} has the same {EXTERNAL_ID} as a line before it")
    if wrong:
        shown = "\n  ".join(wrong[:20])
        raise RowsRejected(
            f"{len(wrong):,} cells of {file} cannot be loaded:\n  {shown}",
            "Correct them and import the file again; nothing was sent.",
            rows=len(wrong),
            path=file,
        )
    return dict(edits)


def _read_lines(file: Path, table: Table) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.DictReader(text, strict=True, restkey=MESSAGE)
            names = reader.fieldnames or ()
            unknown = [name for name in names if name not in (*NOTES, *table.header)]
            if unknown or EXTERNAL_ID not in names or PARTITION not in names:
                raise ConfigError(
                    f"{file} is no export of {table.name}"
                    f"{': it has the columns ' + ', '.join(unknown) if unknown else ''}.",
                    f"Write one with `kpc failed {table.name} --export FILE` and correct its cells; keep its header.",
                )
            for row in reader:
                yield reader.line_num, {name: value if isinstance(value, str) else "" for name, value in row.items()}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{file} cannot be read as CSV in UTF-8: {error}.", "Save it as CSV UTF-8.") from None


def send_refused(partition: Partition, workspace: Workspace, edits: Edits | None = None) -> Repair:
    """Send a partition's refused rows again through composite collections and book what became of them.

    With `edits`, those rows as they were corrected; otherwise those whose class allows it. Files, counts, the ledger
    and loaded_index are then as if the load had ended so. A kill in between is mended by repeating it, or by the next
    load.
    Raises `ConfigError` for edits of rows that are not refused.
    """
    repairs: list[Repair] = []

    def make(turn: Turn) -> Made:
        repair, manifest = _repair(partition, workspace, turn, edits)
        repairs.append(repair)
        made = loaded_receipt(manifest)
        return Made(
            made.generation, made.rows, made.bytes, made.state, made.mapping_version, {**made.detail, **_facts(repair)}
        )

    run_stage(STAGE, partition, workspace, make)
    if not repairs:  # another run did the work while this one waited for its lease
        return Repair(partition, 0, 0, 0, 0)
    return repairs[0]


def _facts(repair: Repair) -> dict[str, int | str]:
    return {"sent_again": repair.sent, "repaired": repair.loaded}


def _repair(partition: Partition, workspace: Workspace, turn: Turn, edits: Edits | None) -> tuple[Repair, LoadManifest]:
    staged, folder = staged_and_folder(partition, workspace)
    records = _open(partition, workspace)
    if edits is not None:
        _check_known(partition, records, edits)
    work = _Work(partition, workspace, turn, staged, folder, records)
    store = workspace.store
    rows = {
        result.chunk: _refused(folder, result, partition.table, store) for result in _results(staged, folder, store)
    }
    chosen = {chunk: work.choose(frame, edits) for chunk, frame in rows.items() if frame.height}
    chosen = {chunk: frame for chunk, frame in chosen.items() if frame.height}
    work.check_allowed(chosen.values())
    if edits is not None:
        note_repairs(partition, workspace, staged, _changed(chosen, rows, partition.table))
    loaded = sum(work.send(chunk, again) for chunk, again in chosen.items())
    manifest = publish_load(partition, workspace, turn.lease)
    stop_on_org_errors(partition.table, workspace, turn.lease)
    sent = sum(frame.height for frame in chosen.values())
    by_class = [record.error_class for record in _open(partition, workspace).values()]
    return Repair(partition, sent, loaded, by_class.count(_PARKED), by_class.count(_QUARANTINED)), manifest


@dataclass(frozen=True)
class _Work:
    """One partition while its refused rows are sent again; `records` are its open failures by external id."""

    partition: Partition
    workspace: Workspace
    turn: Turn
    staged: StagedManifest
    folder: Path
    records: Mapping[str, FailedRecord]

    @property
    def lease(self) -> Lease:
        return self.turn.lease

    @property
    def table(self) -> Table:
        return self.partition.table

    def choose(self, rows: pl.DataFrame, edits: Edits | None) -> pl.DataFrame:
        """The rows to send now: the corrected ones, or those whose class allows another try."""
        if edits is not None:
            corrected = [{**row, **edits.get(row[EXTERNAL_ID].lower(), {})} for row in rows.to_dicts()]
            corrected = [row for row in corrected if row[EXTERNAL_ID].lower() in edits]
            return pl.DataFrame(corrected, schema=rows.schema)
        key = folded(pl.col(EXTERNAL_ID))
        classes = {external_id: record.error_class for external_id, record in self.records.items()}
        going = [each for each, name in classes.items() if name not in (_QUARANTINED, _PARKED)]
        waiting = [each for each, name in classes.items() if name == _PARKED]
        free = rows.filter(key.is_in(waiting))
        if missing_parents(self.partition, self.workspace):
            free = free.clear()
        for lookup, parent in zip(self.table.lookups, self.partition.parents(), strict=True):
            refused = list(_open(parent, self.workspace))
            free = free.filter(~folded(pl.col(lookup.header)).is_in(refused))
        return pl.concat([rows.filter(key.is_in(going)), free])

    def check_allowed(self, frames: Iterable[pl.DataFrame]) -> None:
        """Raises `Paused`, or `QuotaExhausted` when the org's API calls do not suffice."""
        calls = sum(-(-frame.height // COLLECTION_RECORDS) for frame in frames)
        ledger, target_id = self.workspace.ledger, self.lease.environment.target_id
        ledger.check_pause(self.lease.environment, self.table)
        ledger.check_quota(target_id, Request(0, 0, calls, is_repair=True), governor_of(self.workspace).allowance)

    def send(self, chunk: str, again: pl.DataFrame) -> int:
        """Send rows of one chunk and book it anew; returns how many were taken.

        The accounts are files of another name, so that those before them are whole until the new ones count.
        """
        ledger, folder, staged, store = self.workspace.ledger, self.folder, self.staged, self.workspace.store
        (before,) = (result for result in _results(staged, folder, store) if result.chunk == chunk)
        ledger.require_lease(self.lease)
        store.remove(folder / MANIFEST)  # until it is published again, the next load would do that
        ordered = in_parent_order(self.table, again)
        with governor_of(self.workspace).heeding():
            saved = upsert_rows(self.workspace.salesforce, self.table, ordered.to_dicts())
        part = folder / f"{chunk_stem(chunk)}.repaired.part.csv.gz"
        answered = collected(ordered, saved, part)
        sent = {external_id.lower() for external_id in again[EXTERNAL_ID]}
        for entry in before.files:
            store.file(folder, entry, remedy=_REMEDY)
        whole = _outcome_of(folder, before, self.records, sent).after(again, answered)
        name = f"{chunk_stem(chunk)}.repair-{self.turn.stage_run}.csv.gz"
        result = write_outcome(folder, name, before.rows, whole).model_copy(update={"chunk": chunk})
        store.publish(folder, result, result.files, result_name(chunk))
        failures = failures_of(self.table, whole)
        ledger.replace_failures(staged.generation, staged.mapping_version, chunk, failures, lease=self.lease)
        ledger.finish_chunk(staged.generation, staged.mapping_version, chunk, whole.counts, lease=self.lease)
        part.unlink(missing_ok=True)
        for entry in before.files:
            store.remove(folder / entry.name)
        return answered.loaded.rows


def _outcome_of(
    folder: Path, result: ChunkResult, records: Mapping[str, FailedRecord], sent: Collection[str]
) -> Outcome:
    """The chunk's outcome as its files tell it, with one attempt more for what is `sent`."""
    loaded = LoadedRows(folder, (result.success_file,), result.created)
    failed, unprocessed = (
        pl.read_csv(folder / entry.name, infer_schema=False).fill_null("")
        for entry in (result.failed_file, result.unprocessed_file)
    )
    attempts = {record.external_id: record.attempts + (key in sent) for key, record in records.items()}
    return Outcome(loaded, failed, unprocessed, result.jobs, attempts)


def _refused(folder: Path, result: ChunkResult, table: Table, store: Store) -> pl.DataFrame:
    paths = [store.file(folder, entry, remedy=_REMEDY) for entry in (result.failed_file, result.unprocessed_file)]
    return pl.concat([pl.read_csv(path, infer_schema=False).fill_null("").select(table.header) for path in paths])


def _changed(
    sent: Mapping[str, pl.DataFrame], before: Mapping[str, pl.DataFrame], table: Table
) -> Sequence[dict[str, str]]:
    """The rows that were sent with other values than Oracle's."""
    changed = []
    for chunk, frame in sent.items():
        known = {row[EXTERNAL_ID]: row for row in before[chunk].select(table.data_header).to_dicts()}
        changed += [row for row in frame.select(table.data_header).to_dicts() if row != known[row[EXTERNAL_ID]]]
    return changed


def _check_known(partition: Partition, records: Mapping[str, FailedRecord], edits: Edits) -> None:
    if unknown := [key for key in edits if key not in records]:
        raise ConfigError(
            f"{len(unknown):,} rows of the file are no refused rows of {partition} (any more).",
            f"Export again: `kpc failed {partition.table.name} {partition.key} --export FILE`; nothing was sent.",
        )


def _open(partition: Partition, workspace: Workspace) -> dict[str, FailedRecord]:
    """The refused rows, by external id in lower case."""
    records = workspace.ledger.failed_records(workspace.environment, partition)
    return {record.external_id.lower(): record for record in records if record.error_class != _REJECTED}


def _results(staged: StagedManifest, folder: Path, store: Store) -> list[ChunkResult]:
    results = [store.manifest(folder, ChunkResult, result_name(entry.name)) for entry in staged.chunks]
    return [result for result in results if result is not None]
