"""Writing JSON records through the same checks as CSV rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from kpc.emulators.salesforce.errors import ApiError, DataError, RowRefusal, bad_json
from kpc.emulators.salesforce.org.org import Org
from kpc.emulators.salesforce.org.schema import SObject, SObjectField
from kpc.emulators.salesforce.org.storage import StorageSession
from kpc.emulators.salesforce.writing.columns import plan_columns
from kpc.emulators.salesforce.writing.dml import write_rows
from kpc.emulators.salesforce.writing.org_refusals import refuse_all
from kpc.emulators.salesforce.writing.values import SET_NULL
from kpc.emulators.salesforce.writing.write import Write

Record = dict[str, object]


@dataclass(frozen=True, slots=True)
class WrittenRecord:
    """The result for one record."""

    id: str | None
    created: bool
    error: RowRefusal | None

    def as_json(self, *, with_created: bool) -> dict[str, object]:
        result: dict[str, object] = {"id": self.id} if self.id and not self.error else {}
        result |= {"success": self.error is None, "errors": [self.error.json] if self.error else []}
        return result | {"created": self.created} if with_created and not self.error else result


class RolledBack(Exception):
    """Rolls back a transaction."""


_NOT_SAVED = RowRefusal(
    "ALL_OR_NONE_OPERATION_ROLLED_BACK",
    "Record rolled back because not all records were valid and the request was using AllOrNone header",
)


def save(
    org: Org,
    operation: str,
    records: Sequence[tuple[SObject, Record]],
    user_id: str,
    *,
    key: SObjectField | None = None,
    all_or_none: bool = False,
    source: str = "REST",
) -> list[WrittenRecord]:
    """Write records, of one object or several, in one transaction; answers one result each, in their order.

    `source` is what the history of writes names.
    """
    results: list[WrittenRecord] = []
    try:
        with org.storage.writing() as session:
            results = save_within(org, session, operation, records, user_id, key=key, source=source)
            if all_or_none:
                demand_all(results)
    except RolledBack:
        return [WrittenRecord(None, created=False, error=result.error or _NOT_SAVED) for result in results]
    return results


def save_within(
    org: Org,
    session: StorageSession,
    operation: str,
    records: Sequence[tuple[SObject, Record]],
    user_id: str,
    *,
    key: SObjectField | None = None,
    source: str = "REST",
) -> list[WrittenRecord]:
    """Write records in a transaction that the caller ends; answers one result each, in their order."""
    results: dict[int, WrittenRecord] = {}
    by_object: dict[str, list[int]] = {}
    for position, (sobject, _) in enumerate(records):
        by_object.setdefault(sobject.name, []).append(position)
    for positions in by_object.values():
        sobject = records[positions[0]][0]
        write = Write(operation, org.schema, sobject, key, user_id, org.clock.now(), source, org.seed, org.key_indexes)
        saved = _save_alike(org, session, write, [records[each][1] for each in positions])
        results |= zip(positions, saved, strict=True)
    return [results[position] for position in range(len(records))]


def demand_all(results: Sequence[WrittenRecord]) -> None:
    """Raise `RolledBack`, which ends the transaction without a trace, unless all went well."""
    if any(result.error for result in results):
        raise RolledBack


def _save_alike(org: Org, session: StorageSession, write: Write, records: Sequence[Record]) -> list[WrittenRecord]:
    flat = [_flat(record) for record in records]
    header: list[str] = []
    for record in flat:
        header += [name for name in record if name.lower() not in {each.lower() for each in header}]
    try:
        columns = plan_columns(org.schema, write.sobject, header)
    except DataError as error:
        name = str(error).rpartition(" : ")[2]
        message = f"No such column '{name}' on sobject of type {write.sobject.name}"
        raise ApiError(400, "INVALID_FIELD", message) from error
    lowered = [{name.lower(): value for name, value in record.items()} for record in flat]
    cells = pl.DataFrame(
        {f"c{n}": [record.get(name.lower()) for record in lowered] for n, name in enumerate(header)},
        schema={f"c{n}": pl.String for n in range(len(header))},
    )
    if not header:
        cells = pl.DataFrame({"none": pl.Series([None] * len(records), dtype=pl.String)})
    outcome = write_rows(session, write, columns, cells, refuse_all(org.switches, cells.height))
    accounts = enumerate(outcome.accounts().iter_rows())
    return [WrittenRecord(record_id, created, outcome.errors.get(row)) for row, (record_id, created) in accounts]


def _flat(record: Record) -> dict[str, str | None]:
    """The record's values as cells; a parent given as an object becomes a relationship column."""
    flat: dict[str, str | None] = {}
    for name, value in record.items():
        if name.lower() == "attributes":
            continue
        if isinstance(value, dict):
            inner = {each: known for each, known in value.items() if each.lower() not in ("attributes", "type")}
            if len(inner) != 1:
                raise bad_json(f"{name}: a parent is named by exactly one external id field")
            key, known = next(iter(inner.items()))
            flat[f"{name}.{key}"] = _cell(name, known)
        else:
            flat[name] = _cell(name, value)
    return flat


def _cell(name: str, value: object) -> str:
    if value is None:
        return SET_NULL
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | Decimal):
        return str(value)
    if isinstance(value, str):
        return value.strip() or SET_NULL
    raise bad_json(f"Cannot deserialize the value of field {name}")
