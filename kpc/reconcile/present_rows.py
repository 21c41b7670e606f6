"""What happened in Oracle, since the extract's SCN, to the rows whose records differ.

A difference remains a difference whatever is found here: the partition is compared as of its SCN. What Oracle holds
now only shows whether the row has changed since, and whether the record has the new values.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import islice

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID, KEY_SEPARATOR, Calendar, Column, DateFormat, OracleKind
from kpc.convert.canonical import CHECKSUM
from kpc.errors import KpcError
from kpc.extract.live_schema import arrow_schema
from kpc.extract.statements import DATE_TEXT, Selection, quoted, rows_of_chunk
from kpc.extract.text_reading import TextReading
from kpc.extract.window import refuse_outside
from kpc.oracle.statement import BindValues, Statement
from kpc.reconcile.differences import DifferenceKind, DifferingRecord
from kpc.reconcile.source_rows import SourceRows
from kpc.reconcile.target_records import records_by_id
from kpc.stages.context import PartitionContext
from kpc.stages.current_manifests import sealed_extract
from kpc.storage.manifests import ControlTotals, NumberTotal

log = logging.getLogger(__name__)

ASKED = 100  # of each kind of difference, the first by external id
_KEYS_AT_ONCE = 50


class SinceExtract(StrEnum):
    """What Oracle holds now for a row, compared with the extract's SCN; in words for the report."""

    UNCHANGED = "unchanged in Oracle"
    CHANGED = "changed in Oracle since the extract"
    FOLLOWED = "changed in Oracle since the extract, and Salesforce holds the present values"
    DELETED = "deleted in Oracle since the extract"
    INSERTED = "inserted in Oracle since the extract"
    ABSENT = "not in Oracle"


MOVED_ON = frozenset(SinceExtract) - {SinceExtract.UNCHANGED, SinceExtract.ABSENT}


def since_extract(
    records: Sequence[DifferingRecord], rows: pl.DataFrame, context: PartitionContext
) -> dict[str, SinceExtract]:
    """What Oracle holds now, by external id, for the first of each kind; empty if Oracle cannot be asked now.

    `rows` are those of the extract, with external id and checksum. Never raises because of Oracle.
    """
    asked = [one for kind in DifferenceKind for one in islice((each for each in records if each.kind is kind), ASKED)]
    if not asked or not _can_ask(context.table):
        return {}
    try:
        refuse_outside(context.settings.oracle.window, context.clock())
        now = _checksums(_present(context, [one.external_id for one in asked]))
    except KpcError as error:
        log.info("%s: what happened to the differing rows in Oracle is not known: %s", context, error.what)
        return {}
    changed = [one.external_id for one in asked if one.kind is DifferenceKind.CHANGED]
    held = _checksums([records_by_id(context, changed)]) if changed else {}
    then = _checksums([rows])
    return {one.external_id: _became(one, then, now, held) for one in asked}


def counted_since(found: Mapping[str, SinceExtract]) -> dict[str, int]:
    """How many of the rows asked for have each answer, the most frequent first."""
    return dict(Counter(str(one) for one in found.values() if one in MOVED_ON).most_common())


def _became(
    record: DifferingRecord, then: Mapping[str, int], now: Mapping[str, int], held: Mapping[str, int]
) -> SinceExtract:
    key = record.external_id.lower()
    present = now.get(key)
    if record.kind is DifferenceKind.SURPLUS:
        return SinceExtract.ABSENT if present is None else SinceExtract.INSERTED
    if present is None:
        return SinceExtract.DELETED
    if present == then.get(key):
        return SinceExtract.UNCHANGED
    return SinceExtract.FOLLOWED if present == held.get(key) else SinceExtract.CHANGED


def _checksums(frames: Iterable[pl.DataFrame]) -> dict[str, int]:
    """Each row's checksum, by its external id in lower case."""
    return {
        str(key).lower(): checksum
        for frame in frames
        for key, checksum in frame.select(EXTERNAL_ID, CHECKSUM).iter_rows()
    }


def _present(context: PartitionContext, external_ids: Sequence[str]) -> list[pl.DataFrame]:
    """The rows that Oracle holds now, as Salesforce must hold them. Raises what `Oracle.session` raises."""
    table, oracle = context.table, context.oracle
    keys = [parts for one in external_ids if (parts := _parts(one, table)) is not None]
    rows = Selection(context.partition, oracle.current_scn())
    text = TextReading(table, f"{context} now", arrow_schema(table))
    source = SourceRows(context, sealed_extract(context), 0, with_measures=False)
    found = []
    with oracle.session(f"differences {context}", table.name, is_repeated=False) as session:
        for first in range(0, len(keys), _KEYS_AT_ONCE):
            wanted = _with_keys(table, keys[first : first + _KEYS_AT_ONCE])
            statement = rows_of_chunk(oracle.owner, rows, wanted, _any_numbers(table))
            for batch in session.arrow_batches(statement, text.fetched, _KEYS_AT_ONCE):
                frame = pl.DataFrame(text.decoded(batch))
                found.append(source.converted(frame).select(EXTERNAL_ID, CHECKSUM))
    return found


def _any_numbers(table: Table) -> ControlTotals:
    """Control totals for which every NUMBER is read in the way that cannot fail."""
    numbers = (column.name for column in table.extracted_columns if column.source.kind is OracleKind.NUMBER)
    return ControlTotals(rows=0, numbers=tuple(NumberTotal(column=name, rounded=1, unreadable=1) for name in numbers))


def _can_ask(table: Table) -> bool:
    """Whether the parts of an external id are the values of the key in Oracle."""
    return all(_is_plain(column) for column in table.key_columns)


def _is_plain(column: Column) -> bool:
    if column.source.kind not in (OracleKind.CHAR, OracleKind.VARCHAR2, OracleKind.NUMBER, OracleKind.DATE):
        return False
    is_iso = column.date_format in (None, DateFormat.ISO) and column.calendar is Calendar.GREGORIAN
    return is_iso and column.stored_as is None


def _parts(external_id: str, table: Table) -> list[str] | None:
    """The values of the key columns; None for an id that no row can have."""
    parts = external_id.split(KEY_SEPARATOR)
    if len(parts) != len(table.key):
        return None
    is_number = [column.source.kind is OracleKind.NUMBER for column in table.key_columns]
    return parts if all(part.isdecimal() for part, wanted in zip(parts, is_number, strict=True) if wanted) else None


def _with_keys(table: Table, keys: Sequence[Sequence[str]]) -> Statement:
    """The condition for rows with these keys. A CHAR is padded as Oracle stores it, so that an index can be used."""
    binds: BindValues = {}
    lists = []
    for number, parts in enumerate(keys):
        names = []
        for place, (column, part) in enumerate(zip(table.key_columns, parts, strict=True)):
            name = f"key_{number}_{place}"
            binds[name] = _bound(column, part)
            is_date = column.source.kind is OracleKind.DATE
            names.append(f"TO_DATE(:{name}, '{DATE_TEXT}')" if is_date else f":{name}")
        lists.append(f"({', '.join(names)})")
    columns = ", ".join(quoted(name) for name in table.key)
    return Statement(f"({columns}) IN ({', '.join(lists)})", binds)


def _bound(column: Column, part: str) -> str | int:
    if column.source.kind is OracleKind.NUMBER:
        return int(part)
    return part.ljust(column.source.size or 0) if column.source.kind is OracleKind.CHAR else part
