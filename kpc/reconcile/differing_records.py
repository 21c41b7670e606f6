"""Which records differ, by external id, and in which fields; values are never kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from kpc.catalog.types import EXTERNAL_ID, PARTITION_FIELD
from kpc.convert.buckets import BUCKET
from kpc.convert.canonical import CHECKSUM, KEY_HASH
from kpc.reconcile.comparison_hash import number_fields
from kpc.reconcile.differences import DifferenceKind, DifferingRecord
from kpc.reconcile.double_numbers import same_as_doubles
from kpc.reconcile.expected_rows import ExpectedRows, rows_with_hashes
from kpc.reconcile.group_comparison import HELD_ROWS, GroupComparison
from kpc.stages.context import PartitionContext


@dataclass(frozen=True, slots=True)
class FoundDifferences:
    """Complete counts, and the records of up to `HELD_ROWS` of each kind, by kind and external id.

    `rows`: external id and checksum of the listed records' rows in the extract.
    """

    missing: int
    changed: int
    surplus: int
    as_doubles: int
    listed: tuple[DifferingRecord, ...]
    rows: pl.DataFrame


def differing_records(
    groups: Sequence[GroupComparison], expected: ExpectedRows, context: PartitionContext
) -> FoundDifferences:
    """Name what differs in all groups of buckets; the extract is read once more if anything does.

    A record with the marker of another bucket is surplus there and missing where it belongs: it counts as changed. One
    whose numbers are equal as doubles, which is all that the API can show, counts as equal.
    """
    missing = pl.concat([pl.Series(KEY_HASH, dtype=pl.UInt64), *(group.missing for group in groups)]).to_frame()
    changed, surplus = (pl.concat(frames) for frames in zip(*((g.changed, g.surplus) for g in groups), strict=True))
    misplaced = surplus.join(missing, on=KEY_HASH, how="semi")
    missing = missing.join(misplaced, on=KEY_HASH, how="anti")
    surplus = surplus.join(misplaced, on=KEY_HASH, how="anti")
    changed = pl.concat([changed, misplaced]).head(HELD_ROWS)
    rows = _rows(expected, [missing[KEY_HASH].head(HELD_ROWS), changed[KEY_HASH]])
    pairs = rows.join(changed, on=KEY_HASH, suffix=":target").sort(EXTERNAL_ID)
    numbers = set(number_fields(context.table))
    named = [_named(pair, context.table.data_header, numbers) for pair in pairs.iter_rows(named=True)]
    as_doubles = sum(not one.fields for one in named)
    unnamed = changed.join(rows, on=KEY_HASH, how="anti")  # the extract was purged: only checksums are known
    lost = rows.join(missing, on=KEY_HASH, how="semi")
    return FoundDifferences(
        missing=missing.height,
        changed=sum(group.changed_rows for group in groups) + misplaced.height - as_doubles,
        surplus=sum(group.surplus_rows for group in groups) - misplaced.height,
        as_doubles=as_doubles,
        listed=(
            *_keys(lost, DifferenceKind.MISSING),
            *(one for one in named if one.fields),
            *_keys(unnamed, DifferenceKind.CHANGED),
            *_keys(surplus, DifferenceKind.SURPLUS),
        ),
        rows=rows.select(EXTERNAL_ID, CHECKSUM),
    )


def _rows(expected: ExpectedRows, hashes: Sequence[pl.Series]) -> pl.DataFrame:
    wanted = pl.concat(hashes)
    found = [] if wanted.is_empty() else list(rows_with_hashes(expected, wanted))
    return expected.sample.clear().vstack(pl.concat(found)) if found else expected.sample.clear()


def _keys(records: pl.DataFrame, kind: DifferenceKind) -> Iterator[DifferingRecord]:
    for identifier in records[EXTERNAL_ID].sort():
        yield DifferingRecord(identifier or "", kind)


def _named(pair: dict[str, object], header: Sequence[str], numbers: set[str]) -> DifferingRecord:
    names = [
        name
        for name in header
        if pair[name] != pair[f"{name}:target"]
        and not (name in numbers and same_as_doubles(pair[name], pair[f"{name}:target"]))
    ]
    if pair[BUCKET] != pair[f"{BUCKET}:target"]:
        names.append(PARTITION_FIELD)
    return DifferingRecord(str(pair[EXTERNAL_ID]), DifferenceKind.CHANGED, tuple(names))
