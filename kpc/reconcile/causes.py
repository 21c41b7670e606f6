"""Why records differ, as far as the org and the loaded index can tell, and the file that lists them."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import polars as pl

from kpc.catalog.types import EXTERNAL_ID
from kpc.convert.canonical import KEY_HASH, key_hash
from kpc.load.loaded_index import read_loaded_index
from kpc.reconcile.differences import DifferenceKind, DifferingRecord
from kpc.reconcile.present_rows import SinceExtract
from kpc.salesforce.soql import in_conditions, text_at
from kpc.stages.context import PartitionContext
from kpc.storage.prefetch import map_in_parallel
from kpc.storage.store import FileEntry, atomic_path, describe_file

HEADER = (EXTERNAL_ID, "kind", "cause", "fields", "changed_by", "changed_utc", "oracle_now")
_LOOKED_UP = 2_000  # records for which the org is asked who changed them
_QUERIES_AT_ONCE = 4
_ASKED = (EXTERNAL_ID, "CreatedById", "CreatedDate", "LastModifiedById", "LastModifiedDate")


class DifferenceCause(StrEnum):
    """Why a record differs, in words for the report."""

    LOST = "loaded once, gone since"
    NEVER_LOADED = "never confirmed by Salesforce"
    MOVED = "its marker names another partition"
    EDITED = "edited in Salesforce by somebody else"
    DAMAGED = "holds other values than Oracle"
    VANISHED = "loaded once, no longer in Oracle"
    INVENTED = "not from Oracle"


HEALED = frozenset(
    {
        DifferenceCause.LOST,
        DifferenceCause.NEVER_LOADED,
        DifferenceCause.MOVED,
        DifferenceCause.EDITED,
        DifferenceCause.DAMAGED,
    }
)  # by sending it again


@dataclass(frozen=True, slots=True)
class ExplainedDifference:
    """A differing record with its cause; `by` is a Salesforce user id, `when` UTC, both empty if unknown."""

    record: DifferingRecord
    cause: DifferenceCause
    by: str = ""
    when: str = ""


@dataclass(frozen=True, slots=True)
class _InOrg:
    created: tuple[str, str]
    modified: tuple[str, str]


def explained(records: Sequence[DifferingRecord], context: PartitionContext) -> tuple[ExplainedDifference, ...]:
    """The cause of each record; who and when for the first two thousand, by external id, ignoring case."""
    if not records:
        return ()
    in_org = _ask([one.external_id for one in records[:_LOOKED_UP]], context)
    loaded = _loaded(records, context)
    facts = ((one, in_org.get(one.external_id.lower()), one.external_id in loaded) for one in records)
    return tuple(_explained(*fact, context) for fact in facts)


def _explained(
    record: DifferingRecord, held: _InOrg | None, is_loaded: bool, context: PartitionContext
) -> ExplainedDifference:
    own = context.salesforce.user_id
    match record.kind:
        case DifferenceKind.MISSING if held is not None:
            return ExplainedDifference(record, DifferenceCause.MOVED, *held.modified)
        case DifferenceKind.MISSING:
            return ExplainedDifference(record, DifferenceCause.LOST if is_loaded else DifferenceCause.NEVER_LOADED)
        case DifferenceKind.CHANGED if held is not None and held.modified[0] != own:
            return ExplainedDifference(record, DifferenceCause.EDITED, *held.modified)
        case DifferenceKind.CHANGED:
            return ExplainedDifference(record, DifferenceCause.DAMAGED, *(held.modified if held else ()))
        case _:
            return ExplainedDifference(
                record,
                DifferenceCause.VANISHED if is_loaded else DifferenceCause.INVENTED,
                *(held.created if held else ()),
            )


def _ask(external_ids: Sequence[str], context: PartitionContext) -> dict[str, _InOrg]:
    table = context.table

    def read(condition: str) -> list[dict[str, object]]:
        soql = f"SELECT {', '.join(_ASKED)} FROM {table.target} WHERE {condition}"  # noqa: S608  from the catalog
        return list(context.salesforce.query(soql))

    answers = map_in_parallel(read, in_conditions(EXTERNAL_ID, external_ids), _QUERIES_AT_ONCE)
    found: dict[str, _InOrg] = {}
    for record in (record for answer in answers for record in answer):
        text: Mapping[str, str] = {name: text_at(record, name) or "" for name in _ASKED}
        found[text[EXTERNAL_ID].lower()] = _InOrg(
            (text["CreatedById"], text["CreatedDate"]),
            (text["LastModifiedById"], text["LastModifiedDate"]),
        )
    return found


def _loaded(records: Sequence[DifferingRecord], context: PartitionContext) -> set[str]:
    """The external ids that Salesforce has confirmed as loaded by this migration."""
    context.store.fetch(context.paths.loaded_index)
    wanted = pl.DataFrame({EXTERNAL_ID: [one.external_id for one in records]}).with_columns(key_hash())
    found: set[str] = set()
    for frame in read_loaded_index(context.paths.folder):
        found.update(wanted.join(frame.select(KEY_HASH), on=KEY_HASH, how="semi")[EXTERNAL_ID])
    return found


def counted(explanations: Iterable[ExplainedDifference]) -> dict[str, int]:
    """How many records have each cause, the most frequent first."""
    return dict(Counter(str(one.cause) for one in explanations).most_common())


def write_differences(
    path: Path, explanations: Sequence[ExplainedDifference], since: Mapping[str, SinceExtract]
) -> FileEntry:
    """A CSV file that only its owner can read: one line per record, keys and names of fields, no values.

    `since`: what Oracle holds now, by external id, if it was asked.
    """
    with atomic_path(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(HEADER)
        for one in explanations:
            record = one.record
            now = since.get(record.external_id, "")
            lines.writerow([record.external_id, record.kind, one.cause, " ".join(record.fields), one.by, one.when, now])
    return describe_file(path, rows=len(explanations))


def read_keys(path: Path) -> tuple[str, ...]:
    """The external ids of a file of `write_differences`, or of one with an external id per line."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.reader(file) if row and row[0].strip()]
    if rows and rows[0][0] == EXTERNAL_ID:
        place = rows[0].index("cause") if "cause" in rows[0] else None
        rows = [row for row in rows[1:] if place is None or row[place] in HEALED]
    return tuple(dict.fromkeys(row[0].strip() for row in rows))
