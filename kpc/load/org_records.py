"""The org's current records by external id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import CURRENCY_FIELD, EXTERNAL_ID, GENERATION_FIELD, PARTITION_FIELD
from kpc.convert.canonical import canonical_from_salesforce, key_hash
from kpc.ledger.quota import QuotaRequest
from kpc.salesforce import Salesforce
from kpc.salesforce.soql import in_conditions, text_at
from kpc.stages.quota_governor import Governor
from kpc.storage.prefetch import map_in_parallel

ID = "Id"
_ROWS_AT_ONCE = 2_000
_QUERIES_AT_ONCE = 4


def image_header(table: Table) -> tuple[str, ...]:
    """All fields that this migration writes. A parent is given by its id, because it may not be one of ours."""
    lookups = (lookup.field for lookup in table.lookups)
    fields = (column.field or "" for column in table.sent_columns)
    currency = (CURRENCY_FIELD,) if table.currency else ()
    return (ID, EXTERNAL_ID, *lookups, *fields, *currency, PARTITION_FIELD, GENERATION_FIELD)


def records_of(
    table: Table, external_ids: Sequence[str], governor: Governor, salesforce: Salesforce
) -> Iterator[pl.DataFrame]:
    """The records with these external ids, piece by piece: key_hash, `image_header`, and `data_header` of the table.

    All but the hash are canonical text. They are asked for by their ids, some hundred in each REST query. Raises
    `QuotaExhausted` before the first call when too few API calls remain.
    """
    conditions = list(in_conditions(EXTERNAL_ID, external_ids))
    if not conditions:
        return
    request = QuotaRequest(0, 0, len(conditions), is_repair=True)
    governor.ledger.quota.check(governor.target_id, request, governor.allowance)
    with governor.translate_quota_errors():
        answers = map_in_parallel(lambda condition: _answer(table, condition, salesforce), conditions, _QUERIES_AT_ONCE)
        for frame in gathered(answers, _ROWS_AT_ONCE):
            yield _canonical(frame, table).with_columns(key_hash())


def _names(table: Table) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*image_header(table), *table.data_header)))


def _query(table: Table, condition: str) -> str:
    return f"SELECT {', '.join(_names(table))} FROM {table.target} WHERE {condition}"  # noqa: S608  from the catalog


def _answer(table: Table, condition: str, salesforce: Salesforce) -> pl.DataFrame:
    return _frame(table, salesforce.query(_query(table, condition)))


def _frame(table: Table, records: Iterable[dict[str, object]]) -> pl.DataFrame:
    names = _names(table)
    rows = [{name: text_at(record, name) for name in names} for record in records]
    return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String))


def gathered(frames: Iterator[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """Combine frames into fewer of at least `rows` rows: each frame has a fixed processing cost.

    A column that is text in one of them and numbers in another becomes text.
    """
    waiting: list[pl.DataFrame] = []
    for frame in frames:
        waiting.append(frame)
        if sum(one.height for one in waiting) >= rows:
            yield pl.concat(waiting, how="vertical_relaxed")
            waiting = []
    if waiting:
        yield pl.concat(waiting, how="vertical_relaxed")


def _canonical(frame: pl.DataFrame, table: Table) -> pl.DataFrame:
    """Numbers and times in canonical form, for REST and bulk results alike; an empty text becomes null."""
    given = frame.with_columns(pl.all().replace("", None))
    spelled = canonical_from_salesforce(given, table).collect()
    others = [name for name in given.columns if name not in spelled.columns]
    return pl.concat([given.select(others), spelled], how="horizontal").select(frame.columns)
