"""Records whose update was refused: the org holds their former values, which the loaded index knows by checksum.

A row that was loaded once, changed in Oracle, and was then refused by Salesforce or rejected by staging leaves a record
behind. Such a record is read back. If its checksum is that of the row as last accepted, it is a listed exception
with known values, and the control totals expect these values. Any other record (changed by somebody, or gone) is
compared with Oracle's row like every other, and so is reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID, Column
from kpc.convert.buckets import BUCKET
from kpc.convert.canonical import CHECKSUM, KEY_HASH, key_hash, row_checksum
from kpc.convert.external_id import folded
from kpc.load.corrected_rows import KEY, SOURCE_CHECKSUM, read_corrections
from kpc.load.loaded_index import read_loaded_index
from kpc.reconcile.target_records import IS_OLD, LISTED, records_by_id
from kpc.stages.context import PartitionContext

_FORMER = "former"  # the checksum that a record must have if it still holds its former values


@dataclass(frozen=True, slots=True)
class ChangedMeasure:
    """A measured field of a record that keeps its former value; both values as canonical text."""

    field: str
    former: str | None
    oracle: str | None


@dataclass(frozen=True, slots=True)
class KeptRecord:
    """A record that keeps its former values: which fields differ from Oracle's, and the values of the measured ones.

    `fields` is empty for a row that staging rejected, because its new values cannot be converted.
    """

    key: str
    former_checksum: str  # 16 hexadecimal digits, as in the loaded index
    fields: tuple[str, ...]
    measures: tuple[ChangedMeasure, ...]


@dataclass(frozen=True)
class RefusedUpdates:
    """The records of a partition whose update was refused.

    `known` holds `data_header` in canonical text of those with known values, as read from the org. `others` are the
    external ids, in lower case, of those that hold neither their former nor Oracle's current values, or are gone.
    `kept` counts those with their former values; `examples` are the first of them.
    """

    known: pl.DataFrame
    others: pl.Series
    kept: int = 0
    examples: tuple[KeptRecord, ...] = ()


def find_refused_updates(context: PartitionContext, listed: pl.DataFrame, is_refused: pl.Expr) -> RefusedUpdates:
    """Find and read the records that rows of `listed` (`data_header` in canonical text) should have updated.

    `is_refused` is true for rows that Salesforce refused, false for rows that staging rejected: those have no new
    values.
    """
    table = context.table
    rows = listed.with_columns(is_refused.alias("is_refused"), key_hash()).filter(pl.col(EXTERNAL_ID).is_not_null())
    rows = rows.unique(KEY_HASH)
    wanted = _with_former(context, rows.select(EXTERNAL_ID, KEY_HASH, row_checksum(table), "is_refused"))
    if wanted.is_empty():
        nothing = pl.DataFrame(schema=dict.fromkeys(table.data_header, pl.String()))
        return RefusedUpdates(nothing, pl.Series(dtype=pl.String))
    records = _read(context, wanted).with_columns(key_hash(), row_checksum(table).alias("held"))
    joined = records.join(wanted, on=KEY_HASH, how="inner", suffix=":oracle")
    is_former, is_new = pl.col("held") == pl.col(_FORMER), pl.col("is_refused") & (pl.col("held") == pl.col(CHECKSUM))
    found = joined.with_columns(is_former=is_former).filter(is_former | is_new)
    others = wanted.join(found, on=KEY_HASH, how="anti")
    kept = found.filter("is_former").select(KEY_HASH)
    return RefusedUpdates(
        known=found.select(table.data_header),
        others=others.select(folded(pl.col(EXTERNAL_ID))).to_series(),
        kept=kept.height,
        examples=tuple(_examples(table, found, rows, kept)),
    )


def _with_former(context: PartitionContext, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows that the loaded index holds, with `former`, the checksum of what Salesforce last accepted."""
    context.store.fetch(context.paths.loaded_index)
    identifier = folded(pl.col(EXTERNAL_ID))
    known = [
        frame.select(KEY_HASH, "external_id", pl.col(CHECKSUM).alias(_FORMER))
        .join(rows, on=KEY_HASH, how="inner")
        .filter(folded(pl.col("external_id")) == identifier)
        for frame in read_loaded_index(context.paths.folder)
    ]
    schema = {**rows.schema, _FORMER: pl.UInt64()}
    wanted = pl.concat([pl.DataFrame(schema=schema), *(frame.select(*schema) for frame in known)])
    return _after_corrections(context, wanted)


def _after_corrections(context: PartitionContext, wanted: pl.DataFrame) -> pl.DataFrame:
    """Use the checksum of the corrected row if a person had corrected it: the index has that of Oracle's row."""
    corrected = read_corrections(context).select(
        KEY, pl.col(SOURCE_CHECKSUM).alias(_FORMER), row_checksum(context.table).alias("corrected")
    )
    joined = wanted.with_columns(folded(pl.col(EXTERNAL_ID)).alias(KEY)).join(corrected, on=[KEY, _FORMER], how="left")
    return joined.with_columns(pl.coalesce("corrected", _FORMER).alias(_FORMER)).select(wanted.columns)


def _read(context: PartitionContext, wanted: pl.DataFrame) -> pl.DataFrame:
    """The wanted records in canonical text; those of another partition are not found."""
    records = records_by_id(context, wanted[EXTERNAL_ID].to_list())
    return records.filter(pl.col(BUCKET).is_not_null() | pl.col(IS_OLD)).select(context.table.data_header)


def _examples(table: Table, found: pl.DataFrame, rows: pl.DataFrame, kept: pl.DataFrame) -> Iterator[KeptRecord]:
    """The first `LISTED` kept records by key hash, compared with Oracle's rows."""
    first = kept.sort(KEY_HASH).head(LISTED)
    former, oracle = (side.join(first, on=KEY_HASH, how="semi") for side in (found, rows))
    pairs = former.drop("is_refused").join(oracle, on=KEY_HASH, suffix=":new").sort(EXTERNAL_ID)
    for pair in pairs.to_dicts():
        fields: tuple[str, ...] = ()
        if pair["is_refused"]:
            fields = tuple(name for name in table.data_header if pair[name] != pair[f"{name}:new"])
        measured = (column for column in table.measured_columns if column.field in fields)
        yield KeptRecord(pair[EXTERNAL_ID], f"{pair['held']:016x}", fields, tuple(_measures(pair, measured)))


def _measures(pair: dict[str, str | None], columns: Iterator[Column]) -> Iterator[ChangedMeasure]:
    for column in columns:
        name = column.field or ""
        yield ChangedMeasure(name, pair[name], pair[f"{name}:new"])
