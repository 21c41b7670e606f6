"""Rows that people corrected before they were sent: the org correctly differs from Oracle in these.

repairs.parquet of a partition: key (external id in lower case), source_checksum, generation, and the row as it was
sent, in the canonical form used for checksums. A correction applies until Oracle's own row changes or a later load
sends the row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID
from kpc.convert.canonical import CHECKSUM, canonical_from_salesforce, row_checksum
from kpc.convert.external_id import folded
from kpc.salesforce.constants import NULL_TOKEN
from kpc.stages.context import PartitionContext
from kpc.storage.manifests import StagedManifest
from kpc.storage.store import atomic_path

KEY, SOURCE_CHECKSUM, GENERATION = "key", "source_checksum", "generation"
_PREFIX = "repaired:"


def note_corrections(context: PartitionContext, staged: StagedManifest, rows: Sequence[dict[str, str]]) -> None:
    """Save corrected rows with the checksum of Oracle's row."""
    if not rows:
        return
    table = context.table
    folder = context.paths.generation(staged.generation).staged(staged.mapping_version)
    index = context.store.file(folder, staged.index_file, remedy="Stage the partition again.")
    frame = pl.DataFrame(rows, schema=dict.fromkeys(table.data_header, pl.String))
    frame = canonical_from_salesforce(
        frame.with_columns(pl.all().replace({NULL_TOKEN: None, "": None})), table
    ).collect()
    frame = frame.with_columns(folded(pl.col(EXTERNAL_ID)).alias(KEY), pl.lit(staged.generation).alias(GENERATION))
    sums = (
        pl.scan_parquet(index)
        .select(folded(pl.col("external_id")).alias(KEY), pl.col(CHECKSUM).alias(SOURCE_CHECKSUM))
        .filter(pl.col(KEY).is_in(frame[KEY].to_list()))
        .collect()
    )
    known = read_corrections(context)
    fresh = frame.join(sums, on=KEY, how="inner").select(known.columns)
    _write(context, pl.concat([known.join(fresh, on=KEY, how="anti"), fresh]))


def forget_corrections(context: PartitionContext, generation: str, loaded: Iterable[pl.DataFrame]) -> None:
    """Remove corrections of other generations for rows that `generation` has loaded with Oracle's values."""
    known = read_corrections(context)
    old = known.filter(pl.col(GENERATION) != generation)
    if old.is_empty():
        return
    for frame in loaded:
        old = old.join(frame.select(folded(pl.col(EXTERNAL_ID)).alias(KEY)), on=KEY, how="anti")
    _write(context, pl.concat([known.filter(pl.col(GENERATION) == generation), old]))


def _write(context: PartitionContext, corrections: pl.DataFrame) -> None:
    path = context.paths.corrected_rows
    with atomic_path(path) as temporary:
        corrections.sort(KEY).write_parquet(temporary)
    context.store.send(path)


def read_corrections(context: PartitionContext) -> pl.DataFrame:
    """The corrected rows of a partition; none if they were written under a mapping with other columns."""
    path = context.paths.corrected_rows
    header = context.table.data_header
    schema = {
        KEY: pl.String(),
        SOURCE_CHECKSUM: pl.UInt64(),
        GENERATION: pl.String(),
        **dict.fromkeys(header, pl.String()),
    }
    if context.store.fetch(path):
        found = pl.read_parquet(path)
        if set(found.columns) == set(schema):
            return found.select(*schema)
    return pl.DataFrame(schema=schema)


def with_corrections(rows: pl.LazyFrame, table: Table, corrections: pl.DataFrame) -> tuple[pl.LazyFrame, int]:
    """`rows` (Oracle's columns and the canonical ones) with corrections applied, and how many rows were corrected.

    A measured Oracle column is corrected too, so that sums match what the target must hold.
    """
    if corrections.is_empty():
        return rows, 0
    given = corrections.rename({name: _PREFIX + name for name in table.data_header})
    keyed = rows.with_columns(folded(pl.col(EXTERNAL_ID)).alias(KEY + ":"), row_checksum(table).alias(CHECKSUM + ":"))
    joined = keyed.join(
        given.lazy().with_columns(is_corrected=pl.lit(value=True)),
        left_on=[KEY + ":", CHECKSUM + ":"],
        right_on=[KEY, SOURCE_CHECKSUM],
        how="left",
    )
    corrected = pl.col("is_corrected").fill_null(value=False)
    schema = rows.collect_schema()
    changes = [
        pl.when(corrected).then(pl.col(_PREFIX + name)).otherwise(pl.col(name)).alias(name)
        for name in table.data_header
        if name != EXTERNAL_ID
    ]
    changes += [
        pl.when(corrected)
        .then(pl.col(_PREFIX + (column.field or "")).cast(schema[column.name]))
        .otherwise(pl.col(column.name))
        .alias(column.name)
        for column in table.measured_columns
    ]
    count = int(joined.select(corrected.sum()).collect(engine="streaming").item())
    return joined.with_columns(changes).select(*schema), count
