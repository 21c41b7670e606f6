"""The object as a whole: it may hold only what the table's partitions account for.

A reconciliation of a partition sees the records that carry its markers. Records with an empty, foreign or misspelled
marker are found here: all records are counted, and those without a marker of a reconciled partition are listed.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID, PARTITION_FIELD
from kpc.convert.buckets import markers
from kpc.errors import ConfigError
from kpc.ledger import ObjectFinding, StageRun, Vouched
from kpc.ledger.states import StageState
from kpc.load.chunk_result import read_columns
from kpc.partition import Partition
from kpc.private_files import make_private
from kpc.reconcile.target_records import LISTED
from kpc.salesforce.id_ranges import count_by_ids
from kpc.salesforce.soql import text_literal
from kpc.stages.names import RECONCILED, SF_LOADED
from kpc.stages.workspace import Workspace

_FIELDS = ("Id", EXTERNAL_ID, PARTITION_FIELD, "CreatedById", "CreatedDate")


def check_object(workspace: Workspace, table: Table) -> ObjectFinding:
    """Count the object, list the records of unknown origin, and record the finding.

    Raises `ConfigError` if a partition was loaded and not reconciled since, and `QuotaExhausted`.
    """
    expected = _expected(workspace, table)
    keys = [partition.key for partition in expected]
    records = _count(workspace, table)
    unknown = _read(workspace, table, _of_no_partition(keys))
    for key in keys:
        if records == sum(expected.values()) + unknown.height:
            break
        # A marker may name a partition and a bucket that does not exist, such as 2024-01/999.
        unknown = pl.concat([unknown, _read(workspace, table, _of_no_bucket(key))])
    ids = unknown["Id"].sort()
    finding = ObjectFinding(
        table_name=table.name,
        records=records,
        expected=sum(expected.values()),
        unknown=unknown.height,
        detail={
            "partitions": len(expected),
            "ids_sha256": hashlib.sha256("\n".join(ids).encode()).hexdigest(),
            "first": unknown.sort("Id").head(LISTED).to_dicts(),
        },
    )
    _record(workspace, finding)
    return finding


def _record(workspace: Workspace, finding: ObjectFinding) -> None:
    who: dict[str, Any] = {"run_id": workspace.run_id, "actor": workspace.actor}
    with workspace.ledger.together():
        number = workspace.ledger.object_checks.record(workspace.environment, finding, **who)
        workspace.ledger.audit.append(
            "object counted",
            environment=workspace.environment,
            detail={
                "table": finding.table_name,
                "records": finding.records,
                "expected": finding.expected,
                "unknown": finding.unknown,
                "ids_sha256": finding.detail["ids_sha256"],
            },
            vouched=Vouched((("object_check", str(number)),)),
            **who,
        )


def _expected(workspace: Workspace, table: Table) -> dict[Partition, int]:
    """How many records each partition had when it was last reconciled."""
    runs = [run for run in workspace.ledger.stages.newest(workspace.environment) if run.table_name == table.name]
    by_stage: dict[str, dict[str, StageRun]] = {RECONCILED: {}, SF_LOADED: {}}
    for run in runs:
        if run.stage in by_stage:
            by_stage[run.stage][run.partition_key] = run
    loaded = {key: run for key, run in by_stage[SF_LOADED].items() if run.state != StageState.ROLLED_BACK}
    proven = {key: run for key, run in by_stage[RECONCILED].items() if "target_rows" in (run.detail or {})}
    late = sorted(key for key, run in loaded.items() if key not in proven or proven[key].id < run.id)
    if late:
        raise ConfigError(
            f"{len(late)} partitions of {table.name} were loaded but not compared since: {', '.join(late[:5])}.",
            f"Compare them first: `kpc reconcile {table.name} {late[0]}`.",
        )
    return {Partition(table, key): int((proven[key].detail or {})["target_rows"]) for key in sorted(loaded)}


def _count(workspace: Workspace, table: Table) -> int:
    settings = workspace.settings.salesforce
    about = workspace.salesforce.record_counts([table.target]).get(table.target, 0)
    if about <= settings.scanned_rows:
        return workspace.salesforce.count(table.target)
    return count_by_ids(workspace.salesforce, table.target, settings.indexed_rows * 3 // 4).records


def _of_no_partition(keys: Sequence[str]) -> str:
    """The SOQL condition for records whose marker names none of these partitions."""
    of_partition = " OR ".join(f"{PARTITION_FIELD} LIKE {text_literal(f'{key}/___')}" for key in keys)
    return f"{PARTITION_FIELD} = null OR (NOT ({of_partition}))" if keys else ""


def _of_no_bucket(key: str) -> str:
    known = ", ".join(map(text_literal, markers(key)))
    return f"{PARTITION_FIELD} LIKE {text_literal(f'{key}/___')} AND {PARTITION_FIELD} NOT IN ({known})"


def _read(workspace: Workspace, table: Table, condition: str) -> pl.DataFrame:
    """The records that meet a condition, by one bulk query, which Salesforce splits into ranges of ids."""
    soql = f"SELECT {', '.join(_FIELDS)} FROM {table.target}{f' WHERE {condition}' if condition else ''}"  # noqa: S608
    folder = make_private(workspace.store.root)
    found = [pl.DataFrame(schema=dict.fromkeys(_FIELDS, pl.String))]
    with tempfile.TemporaryDirectory(dir=folder, prefix=".query-") as scratch:
        pages = workspace.governor.bulk_query(workspace.salesforce, soql, Path(scratch))
        found += [frame for file in pages.files for frame in read_columns(file, _FIELDS)]
    return pl.concat(found)
