"""Running SOQL: records as JSON in pages, or rows as text for CSV."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Context, Decimal

import duckdb
import polars as pl
import pyarrow as pa

from kpc.emulators.salesforce.doubles import doubles_as_text
from kpc.emulators.salesforce.errors import ApiError
from kpc.emulators.salesforce.optimizer.optimizer import Optimizer
from kpc.emulators.salesforce.org.clock import iso_offset
from kpc.emulators.salesforce.org.ids import make_id, to_18
from kpc.emulators.salesforce.org.org import Org
from kpc.emulators.salesforce.org.storage import StorageSession
from kpc.emulators.salesforce.soql.compiled import Child, Compiled, SoqlColumn
from kpc.emulators.salesforce.soql.compiler import compile_query
from kpc.emulators.salesforce.soql.filter import Value
from kpc.emulators.salesforce.soql.parser import parse
from kpc.emulators.salesforce.soql.tree import SoqlQuery

PAGE_ROWS = 2000
_MOST_GROUPS = 2000
_MOST_CURSORS = 30
_CURSOR_PREFIX = "01g"
_AVERAGE = Context(prec=34)
_DOUBLE_TYPES = ("double", "currency", "percent")


@dataclass(frozen=True, slots=True)
class _Cursor:
    compiled: Compiled
    table: pa.Table
    page_rows: int


class Queries:
    """The REST queries of one org, and the cursors that clients still page through."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self.optimizer = Optimizer(org)
        self._lock = threading.Lock()
        self._cursors: OrderedDict[str, _Cursor] = OrderedDict()
        self._next = 1

    def first_page(self, soql: str, version: str, *, deleted: bool, page_rows: int) -> dict[str, object]:
        """The answer to /query. Raises `ApiError` for a query that is wrong or takes too long."""
        compiled = self.compiled(soql, deleted=deleted)
        with self.optimizer.timed("rest", compiled, soql), self._org.storage.reading() as session:
            table = _run(session, compiled)
        if compiled.is_count:
            return {"totalSize": table.column(0)[0].as_py(), "done": True, "records": []}
        if compiled.is_grouped and table.num_rows > _MOST_GROUPS:
            raise ApiError(
                400,
                "EXCEEDED_ID_LIMIT",
                f"Aggregate query has too many rows for direct assignment; over {_MOST_GROUPS} groups, use LIMIT",
            )
        with self._lock:
            cursor_id = make_id(_CURSOR_PREFIX, self._next)
            self._next += 1
            if table.num_rows > page_rows:
                self._cursors[cursor_id] = _Cursor(compiled, table, page_rows)
                while len(self._cursors) > _MOST_CURSORS:
                    self._cursors.popitem(last=False)
        return self._page(_Cursor(compiled, table, page_rows), cursor_id, 0, version)

    def explain(self, soql: str, *, deleted: bool) -> dict[str, object]:
        """The answer to /query?explain=. Raises `ApiError` for a query that is wrong; none is run."""
        return self.optimizer.explain(self.compiled(soql, deleted=deleted), soql)

    def next_page(self, locator: str, version: str) -> dict[str, object]:
        """The answer to /query/LOCATOR."""
        match = re.fullmatch(r"([0-9A-Za-z]{15,18})-(\d{1,12})", locator)
        cursor = self._cursors.get(to_18(match[1]) or "") if match else None
        if match is None or cursor is None or int(match[2]) > cursor.table.num_rows:
            raise ApiError(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._page(cursor, match[1], int(match[2]), version)

    def compiled(self, soql: str, *, deleted: bool = False) -> Compiled:
        return compile_in(self._org, parse(soql), deleted=deleted)

    def _page(self, cursor: _Cursor, cursor_id: str, offset: int, version: str) -> dict[str, object]:
        rows = cursor.table.slice(offset, cursor.page_rows)
        end = offset + rows.num_rows
        done = end >= cursor.table.num_rows
        page: dict[str, object] = {"totalSize": cursor.table.num_rows, "done": done}
        if not done:
            page["nextRecordsUrl"] = f"/services/data/v{version}/query/{cursor_id}-{end}"
        page["records"] = self._with_children(cursor.compiled, rows, version)
        return page

    def _with_children(self, compiled: Compiled, table: pa.Table, version: str) -> list[dict[str, object]]:
        """The records, each with what its queries of children find; null where they find nothing."""
        made = records(compiled, table, version)
        if not compiled.children or not made:
            return made
        ids: list[str] = table.column(len(compiled.outputs)).to_pylist()
        for child in compiled.children:
            found = self._children(child, ids, version)
            for record, parent_id in zip(made, ids, strict=True):
                own = found.get(parent_id)
                record[child.name] = own and {"totalSize": len(own), "done": True, "records": own}
        return made

    def _children(self, child: Child, parent_ids: list[str], version: str) -> dict[str, list[dict[str, object]]]:
        """The children of each parent that has some."""
        compiled = compile_in(self._org, child.of(parent_ids), deleted=child.deleted)
        place = next(n for n, output in enumerate(compiled.outputs) if output.path == (child.reference.name,))
        with self._org.storage.reading() as session:
            table = _run(session, compiled)
        found: dict[str, list[dict[str, object]]] = {}
        children = self._with_children(compiled, table, version)
        for parent_id, record in zip(table.column(place).to_pylist(), children, strict=True):
            if child.hidden:
                del record[child.hidden]
            found.setdefault(parent_id, []).append(record)
        start, limit = child.query.offset, child.query.limit
        cut = {each: own[start : None if limit is None else start + limit] for each, own in found.items()}
        return {each: own for each, own in cut.items() if own}


def compile_in(org: Org, query: SoqlQuery, *, deleted: bool = False) -> Compiled:
    """The query as this org answers it now. Raises `ApiError` for what is not allowed."""
    has_doubles = org.switches.numbers == "doubles"
    return compile_query(query, org.schema, org.clock.now(), deleted=deleted, has_doubles=has_doubles)


def _run(session: StorageSession, compiled: Compiled) -> pa.Table:
    try:
        return session.table(compiled.sql, compiled.parameters)
    except duckdb.Error as error:
        raise ApiError(400, "MALFORMED_QUERY", f"The query cannot be run: {error}") from error


def records(compiled: Compiled, table: pa.Table, version: str) -> list[dict[str, object]]:
    """Rows of a query's result as JSON records, parents nested."""
    columns = [
        [_json_value(output.value, each, compiled) for each in table.column(n).to_pylist()]
        for n, output in enumerate(compiled.outputs)
    ]
    if compiled.is_aggregate:
        names = [output.path[0] for output in compiled.outputs]
        head: dict[str, object] = {"attributes": {"type": "AggregateResult"}}
        return [head | dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
    ids = [table.column(len(columns) + n).to_pylist() for n in range(1 + len(compiled.parents))]
    places = [(tuple(name.lower() for name in output.path[:-1]), output.path) for output in compiled.outputs]
    made: list[dict[str, object]] = []
    for row in range(table.num_rows):
        record: dict[str, object] = {"attributes": _attributes(compiled.sobject.name, ids[0][row], version)}
        nested: dict[tuple[str, ...], dict[str, object] | None] = {(): record}
        for position, (parents, sobject) in enumerate(compiled.parents, 1):
            found = ids[position][row]
            nested[parents] = {"attributes": _attributes(sobject.name, found, version)} if found else None
        for (where, path), column in zip(places, columns, strict=True):
            _place(nested, where, path)
            target = nested[where]
            if target is not None:
                target[path[-1]] = column[row]
        made.append(record)
    return made


def _place(
    nested: dict[tuple[str, ...], dict[str, object] | None], where: tuple[str, ...], path: tuple[str, ...]
) -> None:
    """Nest the parents of a path in their children, null where there is none."""
    for depth in range(1, len(where) + 1):
        child = nested[where[: depth - 1]]
        if child is not None:
            child[path[depth - 1]] = nested[where[:depth]]


def _attributes(kind: str, record_id: str, version: str) -> dict[str, object]:
    return {"type": kind, "url": f"/services/data/v{version}/sobjects/{kind}/{record_id}"}


def _json_value(kind: Value, value: object, compiled: Compiled) -> object:
    if isinstance(value, dict):
        return _AVERAGE.divide(value["sum"], Decimal(value["count"])) if value["count"] else None
    if isinstance(value, Decimal):
        return int(value) if kind.type == "int" else float(value) if compiled.has_doubles else value
    if isinstance(value, datetime):
        return iso_offset(value)
    if isinstance(value, date):
        return value.isoformat()
    return value


def csv_header(outputs: list[SoqlColumn]) -> list[str]:
    return [".".join(output.path) for output in outputs]


def text_rows(session: StorageSession, compiled: Compiled, rows: int) -> Iterator[pa.RecordBatch]:
    """The result with every value as the text that a CSV file has."""
    outputs = compiled.outputs
    doubles = {n for n, output in enumerate(outputs) if compiled.has_doubles and output.value.type in _DOUBLE_TYPES}
    columns = [
        f"{f'CAST(c{n} AS DOUBLE)' if n in doubles else _text_sql(output.value)(f'c{n}')} AS c{n}"
        for n, output in enumerate(outputs)
    ]
    for batch in session.batches(f"SELECT {', '.join(columns)} FROM ({compiled.sql})", compiled.parameters, rows):
        made = [
            doubles_as_text(pl.Series(column)).to_arrow() if n in doubles else column
            for n, column in enumerate(batch.columns)
        ]
        yield pa.RecordBatch.from_arrays(made, names=batch.schema.names) if doubles else batch


def _text_sql(value: Value) -> Callable[[str], str]:
    if value.type in _DOUBLE_TYPES:
        if value.scale == 0:
            return lambda column: f"CAST({column} AS VARCHAR) || '.0'"
        return lambda column: rf"regexp_replace(CAST({column} AS VARCHAR), '(\.\d+?)0*$', '\1')"
    if value.type == "datetime":
        return lambda column: f"strftime({column}, '%Y-%m-%dT%H:%M:%S.%gZ')"
    return lambda column: f"CAST({column} AS VARCHAR)"
