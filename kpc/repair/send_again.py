"""Records that a reconciliation found wrong, to be sent again without sending the rest of the partition.

A staging leaves out the rows whose checksum the loaded index has. For the named keys the index is told that Salesforce
holds something else, so that the next run stages and loads exactly them, and what changed in Oracle.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import polars as pl

from kpc.catalog.types import EXTERNAL_ID
from kpc.convert.canonical import CHECKSUM, KEY_HASH, key_hash
from kpc.errors import ConfigError
from kpc.load.loaded_index import SCHEMA, read_loaded_index
from kpc.reconcile.causes import read_keys
from kpc.reconcile.report import last_report
from kpc.stages.context import PartitionContext
from kpc.stages.names import SF_LOADED
from kpc.stages.stage_run import leased
from kpc.storage.parquet_file import ParquetTable

ACTION = "records to be sent again"


def mark_to_send_again(context: PartitionContext, file: Path) -> int:
    """Mark the keys of `file` (see `read_keys`), which may name rows that were never loaded; returns their number.

    Repeating it changes nothing more. Raises `ConfigError` if the file names no key, or none of this partition.
    """
    file = _from_store(context, file)
    remedy = f"Give the differences file that `kpc reconcile {context.table.name} {context.key}` names."
    try:
        keys = read_keys(file)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ConfigError(f"{file} cannot be read: {reason}.", remedy) from None
    if not keys:
        raise ConfigError(f"{file} names no record that sending again could mend.", remedy)
    with leased(context, SF_LOADED, gives_back=True) as held:
        held.store.fetch(held.paths.loaded_index)
        marked = _mark(held, keys)
        if marked:
            held.store.send(held.paths.loaded_index)
        held.ledger.audit.append(
            ACTION,
            actor=held.actor,
            run_id=held.run_id,
            environment=held.environment,
            partition=held.partition,
            stage=SF_LOADED,
            detail={"keys": len(keys), "loaded_before": marked},
        )
    return len(keys)


def _from_store(context: PartitionContext, file: Path) -> Path:
    """A file of the newest report, fetched if it lies in an object store; any other as it is."""
    if file.exists():
        return file
    with suppress(ConfigError):
        report = last_report(context)
        entry = report.records.file if report.records else None
        if entry is not None and file.name == entry.name:
            folder = context.paths.generation(report.generation).reconciled
            return context.store.file(folder, entry, remedy="Compare again; the file is written anew.")
    return file


def _mark(context: PartitionContext, keys: Sequence[str]) -> int:
    """Give the index entries of these keys a checksum that no row has. Returns how many there are."""
    if not context.paths.loaded_index.is_file():
        return 0
    wanted = pl.DataFrame({EXTERNAL_ID: keys}).select(key_hash()).unique()
    marked = 0
    with ParquetTable(context.paths.loaded_index, SCHEMA) as index:
        for frame in read_loaded_index(context.paths.folder):
            is_wanted = pl.col(KEY_HASH).is_in(wanted[KEY_HASH].implode())
            marked += frame.select(is_wanted.sum()).item()
            unknown = pl.lit(0, pl.UInt64)
            index.write(frame.with_columns(pl.when(is_wanted).then(unknown).otherwise(CHECKSUM).alias(CHECKSUM)))
        index.close()
    return marked
