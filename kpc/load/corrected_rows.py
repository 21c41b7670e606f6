"""Rows that people corrected before they were sent: the org correctly differs from Oracle in these.

repairs.parquet of a partition: key (external id in lower case), source_checksum, generation, accepted, and the row as
it was sent, in the canonical form used for checksums. A correction counts once Salesforce has accepted it, until
Oracle's own row changes or a later load sends the row. A key has at most one accepted correction, and at most one that
is not accepted yet.
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

KEY, SOURCE_CHECKSUM, GENERATION, ACCEPTED = "key", "source_checksum", "generation", "accepted"


def note_corrections(context: PartitionContext, staged: StagedManifest, rows: Sequence[dict[str, str]]) -> None:
    """Save corrected rows, before they are sent, with the checksum of Oracle's row."""
    if not rows:
        return
    table = context.table
    folder = context.paths.generation(staged.generation).staged(staged.mapping_version)
    index = context.store.file(folder, staged.index_file, remedy="Stage the partition again.")
    frame = pl.DataFrame(rows, schema=dict.fromkeys(table.data_header, pl.String))
    frame = canonical_from_salesforce(
        frame.with_columns(pl.all().replace({NULL_TOKEN: None, "": None})), table
    ).collect()
    frame = frame.with_columns(
        folded(pl.col(EXTERNAL_ID)).alias(KEY),
        pl.lit(staged.generation).alias(GENERATION),
        pl.lit(value=False).alias(ACCEPTED),
    )
    sums = (
        pl.scan_parquet(index)
        .select(folded(pl.col("external_id")).alias(KEY), pl.col(CHECKSUM).alias(SOURCE_CHECKSUM))
        .filter(pl.col(KEY).is_in(frame[KEY].to_list()))
        .collect()
    )
    known = sent_corrections(context)
    fresh = frame.join(sums, on=KEY, how="inner").select(known.columns)
    _write(context, pl.concat([known.join(fresh, on=[KEY, ACCEPTED], how="anti"), fresh]))


def accept_corrections(context: PartitionContext, generation: str, loaded: Iterable[pl.DataFrame]) -> None:
    """Mark the corrections that `generation` has loaded, and remove those that it replaced by Oracle's values."""
    known = sent_corrections(context)
    if known.is_empty():
        return
    of_generation = known.filter(pl.col(GENERATION) == generation)
    older = known.filter(pl.col(GENERATION) != generation, pl.col(ACCEPTED))
    for frame in loaded:
        keys = frame.select(folded(pl.col(EXTERNAL_ID)).alias(KEY))
        is_loaded = pl.col(KEY).is_in(keys[KEY].implode())
        of_generation = of_generation.with_columns(pl.col(ACCEPTED) | is_loaded)
        older = older.filter(~is_loaded)
    _write(context, pl.concat([older, of_generation]))


def _write(context: PartitionContext, corrections: pl.DataFrame) -> None:
    path = context.paths.corrected_rows
    with atomic_path(path) as temporary:
        corrections.sort(KEY).write_parquet(temporary)
    context.store.send(path)


def read_corrections(context: PartitionContext) -> pl.DataFrame:
    """The accepted corrections of a partition; none if they were written under a mapping with other columns."""
    return sent_corrections(context).filter(ACCEPTED)


def hashes_of_corrections(context: PartitionContext) -> tuple[int, ...]:
    """A hash of each accepted correction, ascending: they tell one set of corrections from another."""
    return tuple(read_corrections(context).hash_rows(7).sort())


def sent_corrections(context: PartitionContext) -> pl.DataFrame:
    """The accepted corrections, and those that may have been sent without being accepted."""
    path = context.paths.corrected_rows
    schema = {
        KEY: pl.String(),
        SOURCE_CHECKSUM: pl.UInt64(),
        GENERATION: pl.String(),
        ACCEPTED: pl.Boolean(),
        **dict.fromkeys(context.table.data_header, pl.String()),
    }
    if context.store.fetch(path):
        found = pl.read_parquet(path)
        if ACCEPTED not in found.columns:  # a file of an older version
            found = found.with_columns(pl.lit(value=True).alias(ACCEPTED))
        if set(found.columns) == set(schema):
            return found.select(*schema)
    return pl.DataFrame(schema=schema)


def with_corrections(rows: pl.LazyFrame, table: Table, corrections: pl.DataFrame) -> tuple[pl.LazyFrame, int]:
    """`rows` (Oracle's columns and the canonical ones) with accepted corrections applied, and how many were corrected.

    A measured Oracle column is corrected too, so that sums match what the target must hold.
    """
    if corrections.is_empty():
        return rows, 0
    joined = _beside_corrections(rows, table, corrections)
    corrected = pl.col("is_corrected").fill_null(value=False)
    schema = rows.collect_schema()
    changes = [
        pl.when(corrected).then(pl.col(given(name))).otherwise(pl.col(name)).alias(name)
        for name in table.data_header
        if name != EXTERNAL_ID
    ]
    changes += [
        pl.when(corrected)
        .then(pl.col(given(column.field or "")).cast(schema[column.name]))
        .otherwise(pl.col(column.name))
        .alias(column.name)
        for column in table.measured_columns
    ]
    count = int(joined.select(corrected.sum()).collect(engine="streaming").item())
    return joined.with_columns(changes).select(*schema), count


def replaced_rows(rows: pl.LazyFrame, table: Table, corrections: pl.DataFrame) -> pl.LazyFrame:
    """Those of `rows` (canonical) that an accepted correction replaces: as they are, and as `given` by a person."""
    return _beside_corrections(rows, table, corrections).filter("is_corrected").select(*both_sides(table))


def both_sides(table: Table) -> dict[str, pl.DataType]:
    """The columns of `replaced_rows`."""
    return dict.fromkeys((*table.data_header, *map(given, table.data_header)), pl.String())


def given(name: str) -> str:
    """The column of `replaced_rows` with the value that a person gave."""
    return f"repaired:{name}"


def _beside_corrections(rows: pl.LazyFrame, table: Table, corrections: pl.DataFrame) -> pl.LazyFrame:
    """All of `rows`, and `is_corrected` with the given values where a correction is of this key and these values."""
    named = corrections.rename({name: given(name) for name in table.data_header})
    keyed = rows.with_columns(folded(pl.col(EXTERNAL_ID)).alias(KEY + ":"), row_checksum(table).alias(CHECKSUM + ":"))
    return keyed.join(
        named.lazy().with_columns(is_corrected=pl.lit(value=True)),
        left_on=[KEY + ":", CHECKSUM + ":"],
        right_on=[KEY, SOURCE_CHECKSUM],
        how="left",
    )
