"""Keys of an object's records that this migration did not write: only those can need a pre-image.

A load may not ask the org for every key of a large chunk, nor for a range of keys, which no index serves. Instead the
records of others are counted, and their external ids are read by one bulk query without LIMIT, which Salesforce divides
into ranges of ids. In an object that is too large to be read for each chunk, they are read once a day:

<table>/foreign-records.parquet: external_id, key_hash, ascending by key_hash; foreign-records.json is its manifest.
"""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
from pydantic import BaseModel, ConfigDict

from kpc.catalog.types import EXTERNAL_ID, GENERATION_FIELD
from kpc.convert.canonical import KEY_HASH, key_hash
from kpc.errors import ConfigError
from kpc.load.chunk_load import ChunkLoad
from kpc.load.chunk_result import read_columns
from kpc.private_files import make_private
from kpc.salesforce.soql import text_literal
from kpc.storage.store import FileEntry, describe_file

log = logging.getLogger(__name__)

_FILE, _MANIFEST = "foreign-records.parquet", "foreign-records.json"
_FRESH = timedelta(hours=24)
_ONE_READER = threading.Lock()  # chunks of one process share a reading; two processes may each make one
_SCHEMA: dict[str, pl.DataType] = {"external_id": pl.String(), KEY_HASH: pl.UInt64()}
_REMEDY = "Move it away; it is read again from the org."


class ForeignRecords(BaseModel):
    """The manifest of one reading."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: FileEntry
    read_utc: datetime


def foreign_keys(load: ChunkLoad) -> pl.DataFrame:
    """external_id and key_hash of the object's records that no generation of this ledger wrote.

    Raises `ConfigError` if there are more than KPC__LOAD__PRE_IMAGE_ROWS of them, `QuotaExhausted`.
    """
    context, settings = load.context, load.settings
    object_rows = context.salesforce.record_counts([load.table.target]).get(load.table.target, 0)
    if object_rows <= settings.scanned_rows:
        return _read(load, "")
    folder, store = context.paths.folder.parent, context.store
    with _ONE_READER:
        known = store.manifest(folder, ForeignRecords, _MANIFEST)
        if known is None or context.clock() - known.read_utc > _FRESH:
            written = context.ledger.jobs.processed_rows(context.environment.target_id, load.table.target)
            _refuse_too_many(load, max(0, object_rows - written))
            known = _keep(load, folder, _of_others(load))
        return pl.read_parquet(store.file(folder, known.file, remedy=_REMEDY))


def _of_others(load: ChunkLoad) -> str:
    """A SOQL condition for records of others; it is no index's work, but keeps the result small."""
    context = load.context
    generations = context.ledger.generations.of_table(context.environment, load.table.name)
    ours = ", ".join(map(text_literal, generations))
    return f"({GENERATION_FIELD} = null OR {GENERATION_FIELD} NOT IN ({ours}))" if ours else ""


def _keep(load: ChunkLoad, folder: Path, condition: str) -> ForeignRecords:
    context = load.context
    read_utc = context.clock()
    keys = _read(load, condition)
    path = make_private(folder) / f"{_FILE}.{context.run_id}"
    keys.sort(KEY_HASH).write_parquet(path)
    final = path.rename(folder / _FILE)
    manifest = ForeignRecords(file=describe_file(final, rows=keys.height), read_utc=read_utc)
    context.store.publish(folder, manifest, (manifest.file,), _MANIFEST)
    log.info("%s holds %s records that this migration did not write", load.table.target, f"{keys.height:,}")
    return manifest


def _read(load: ChunkLoad, condition: str) -> pl.DataFrame:
    """The keys of others' records, by a bulk query over the object."""
    context, names = load.context, (EXTERNAL_ID, GENERATION_FIELD)
    where = f"{EXTERNAL_ID} != null{f' AND {condition}' if condition else ''}"
    soql = f"SELECT {', '.join(names)} FROM {load.table.target} WHERE {where}"  # noqa: S608  from the catalog
    folder = make_private(load.paths.pre_image(load.spec.mapping_version))
    found = [pl.DataFrame(schema=_SCHEMA)]
    rows = 0
    with tempfile.TemporaryDirectory(dir=folder, prefix=".query-") as scratch:
        pages = load.governor.bulk_query(context.salesforce, soql, Path(scratch))
        for frame in (frame for file in pages.files for frame in read_columns(file, names)):
            for others in _not_ours(frame, load):
                rows += others.height
                _refuse_too_many(load, rows)
                found.append(others)
    return pl.concat(found)


def _not_ours(frame: pl.DataFrame, load: ChunkLoad) -> Iterator[pl.DataFrame]:
    marks = set(frame[GENERATION_FIELD].drop_nulls()) - {""}
    ours = load.ledger.generations.known(marks) if marks else set()
    others = frame.filter(~pl.col(GENERATION_FIELD).is_in(ours))
    if others.height:
        yield others.select(pl.col(EXTERNAL_ID).alias("external_id"), key_hash())


def _refuse_too_many(load: ChunkLoad, rows: int) -> None:
    most = load.context.settings.load.pre_image_rows
    if rows > most:
        raise ConfigError(
            f"{load.table.target} holds {rows:,} or more records that this ledger did not load; keeping their "
            f"pre-images is limited to {most:,}.",
            "Ask the Salesforce administrator whose they are. To keep them all, raise KPC__LOAD__PRE_IMAGE_ROWS; to "
            "load without pre-images, set KPC__LOAD__PRE_IMAGE=off: a rollback then cannot set such records back.",
        )
