"""Level 3: compare record by record, by checksums of canonical text, and find the fields that differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID, PARTITION_FIELD
from kpc.convert.canonical import CHECKSUM, KEY_HASH, canonical_from_salesforce, key_hash, row_checksum
from kpc.errors import UnusableAnswer
from kpc.partition import Partition
from kpc.salesforce import Salesforce
from kpc.salesforce.soql import in_conditions, text_at
from kpc.storage.store import disk_may_fill

LISTED = 100  # keys listed per kind of difference; all are counted


@dataclass(frozen=True, slots=True)
class RecordDifferences:
    """The result of comparing records. Counts are complete; the lists hold the first `LISTED` keys."""

    compared: int
    equal: int
    missing: int  # in Oracle, not in Salesforce
    surplus: int  # in Salesforce, not in Oracle
    changed: int  # in both, with another checksum
    missing_keys: tuple[str, ...] = ()
    surplus_keys: tuple[str, ...] = ()
    changed_fields: tuple[tuple[str, tuple[str, ...]], ...] = ()  # (external id, fields that differ)


def records_query(table: Table, where: str) -> str:
    return f"SELECT {', '.join(table.data_header)} FROM {table.target} WHERE {where}"  # noqa: S608  SOQL from the catalog


def compare_all(
    source: pl.LazyFrame, partition: Partition, salesforce: Salesforce, folder: Path, *, expected_rows: int
) -> RecordDifferences:
    """Compare every record of the partition. `source` holds `table.data_header` in canonical text.

    Salesforce's records are read by a bulk query into files in `folder`, which the caller removes.
    """
    table = partition.table
    target = canonical_from_salesforce(read_partition(partition, salesforce, folder, expected_rows), table)
    try:
        return _compare(source, target, table)
    except (pl.exceptions.ComputeError, pl.exceptions.ColumnNotFoundError, pl.exceptions.NoDataError) as error:
        raise UnusableAnswer(
            f"Salesforce's records of {partition} cannot be read as CSV ({type(error).__name__}).",
            f"Compare again: `kpc reconcile {table.name} {partition.key}`.",
        ) from None


def read_partition(
    partition: Partition, salesforce: Salesforce, folder: Path, expected_rows: int | None = None
) -> pl.LazyFrame:
    """The partition's records as the org's text, by a bulk query into files in `folder`, which the caller removes.

    `expected_rows`, if known, tells when to look for the end of the query.
    """
    query = records_query(partition.table, f"{PARTITION_FIELD} = '{partition.key}'")
    with disk_may_fill(folder / "a page of records"):
        pages = salesforce.bulk_query(query, folder, rows=expected_rows)
    return _scan_text(pages.files, partition.table)


def compare_sample(
    source: pl.LazyFrame, partition: Partition, salesforce: Salesforce, sample_rows: int, always: pl.Series
) -> RecordDifferences:
    """The records with the smallest key hashes: the same records each time, spread over the whole partition.

    Those with the key hashes `always` are compared too.
    """
    table = partition.table
    hashed = source.with_columns(key_hash())
    smallest = hashed.select(KEY_HASH).bottom_k(sample_rows, by=KEY_HASH).collect()[KEY_HASH]
    wanted = pl.concat([smallest, always]).unique().to_frame(KEY_HASH)
    sample = hashed.join(wanted.lazy(), on=KEY_HASH, how="semi").select(table.data_header).collect().lazy()
    keys = sample.select(EXTERNAL_ID).collect()[EXTERNAL_ID]
    found = [
        canonical_records(salesforce.query(records_query(table, where)), table)
        for where in in_conditions(EXTERNAL_ID, keys.to_list())
    ]
    target = pl.concat(found) if found else canonical_records([], table)
    return _compare(sample, target.lazy(), table)


def canonical_records(records: Iterable[dict[str, object]], table: Table) -> pl.DataFrame:
    rows = [{name: text_at(record, name) for name in table.data_header} for record in records]
    schema = dict.fromkeys(table.data_header, pl.String)
    return canonical_from_salesforce(pl.DataFrame(rows, schema=schema), table).collect()


def _scan_text(files: Sequence[Path], table: Table) -> pl.LazyFrame:
    if not files:
        return pl.LazyFrame(schema=dict.fromkeys(table.data_header, pl.String))
    return pl.scan_csv(list(files), infer_schema=False)


def _compare(source: pl.LazyFrame, target: pl.LazyFrame, table: Table) -> RecordDifferences:
    ours, theirs = (
        side.select(EXTERNAL_ID, key_hash(), row_checksum(table)).collect(engine="streaming")
        for side in (source, target)
    )
    both = ours.join(theirs, on=KEY_HASH, how="inner", suffix="_target")
    changed = both.filter(pl.col(CHECKSUM) != pl.col(f"{CHECKSUM}_target"))
    missing = ours.join(theirs, on=KEY_HASH, how="anti")
    surplus = theirs.join(ours, on=KEY_HASH, how="anti")
    return RecordDifferences(
        compared=ours.height,
        equal=both.height - changed.height,
        missing=missing.height,
        surplus=surplus.height,
        changed=changed.height,
        missing_keys=_first_keys(missing),
        surplus_keys=_first_keys(surplus),
        changed_fields=_drill_down(source, target, changed, table),
    )


def _first_keys(frame: pl.DataFrame) -> tuple[str, ...]:
    return tuple(key or "" for key in frame.sort(EXTERNAL_ID)[EXTERNAL_ID].head(LISTED))


def _drill_down(
    source: pl.LazyFrame, target: pl.LazyFrame, changed: pl.DataFrame, table: Table
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Read only the differing records again and name their differing fields; values are not kept."""
    if changed.is_empty():
        return ()
    wanted = changed.sort(EXTERNAL_ID).head(LISTED).lazy().select(KEY_HASH)
    frames = [
        side.with_columns(key_hash()).join(wanted, on=KEY_HASH, how="semi").collect(engine="streaming")
        for side in (source, target)
    ]
    pairs = frames[0].join(frames[1], on=KEY_HASH, suffix=":target").sort(EXTERNAL_ID)
    found = []
    for pair in pairs.to_dicts():
        fields = tuple(
            name for name in table.data_header if name != EXTERNAL_ID and pair[name] != pair[f"{name}:target"]
        )
        if pair[EXTERNAL_ID] != pair[f"{EXTERNAL_ID}:target"]:
            fields = (EXTERNAL_ID, *fields)
        found.append((pair[EXTERNAL_ID], fields))
    return tuple(found)
