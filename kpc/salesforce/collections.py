"""Composite collections: up to 200 records in one request, at once and with typed errors; they cost no bulk batch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID
from kpc.salesforce.rest import Rest, decode, retried

MOST_RECORDS = 200
NULL_TOKEN = "#N/A"  # noqa: S105  how a CSV cell says null
_NUMBER = re.compile(r"-?\d+(\.\d+)?")


@dataclass(frozen=True, slots=True)
class Saved:
    """What became of one record: its id and whether it is new, or an error spelled as in a bulk job's sf__Error."""

    salesforce_id: str
    created: bool
    error: str


class Collections(Rest):
    def upsert_rows(self, table: Table, rows: Sequence[Mapping[str, str]]) -> list[Saved]:
        """Upsert CSV rows (header cell to text) by external id, 200 at a time, in order; one answer per row.

        A lost reply is repeated: an upsert changes nothing twice, but the record then no longer counts as new.
        """
        path = f"/composite/sobjects/{table.target}/{EXTERNAL_ID}"
        return self._write(table, rows, path)

    def update_rows(self, table: Table, rows: Sequence[Mapping[str, str]]) -> list[Saved]:
        """Update existing records by their `Id`, otherwise as `upsert_rows`; none is ever created."""
        return self._write(table, rows, "/composite/sobjects")

    def _write(self, table: Table, rows: Sequence[Mapping[str, str]], path: str) -> list[Saved]:
        answers: list[Saved] = []
        for block in _blocks(rows):
            answers += [_saved(one) for one in self._collect("PATCH", path, body=_body(table, block))]
        return answers

    def delete_records(self, ids: Sequence[str]) -> list[Saved]:
        """Delete records by id, 200 at a time; one answer per id."""
        answers: list[Saved] = []
        for start in range(0, len(ids), MOST_RECORDS):
            params = {"ids": ",".join(ids[start : start + MOST_RECORDS]), "allOrNone": "false"}
            answers += [_saved(one) for one in self._collect("DELETE", "/composite/sobjects", params=params)]
        return answers

    def _collect(
        self, method: str, path: str, *, body: bytes | None = None, params: dict[str, str] | None = None
    ) -> list[dict[str, Any]]:
        blocks = (lambda: iter([body])) if body is not None else None
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))} if body is not None else {}
        answer: list[dict[str, Any]] = retried(
            lambda: decode(
                self._send(method, path, params=params, headers=headers, blocks=blocks, has_effect=False),
            )
        )
        return answer


def _blocks(rows: Sequence[Mapping[str, str]]) -> Iterator[Sequence[Mapping[str, str]]]:
    for start in range(0, len(rows), MOST_RECORDS):
        yield rows[start : start + MOST_RECORDS]


def _body(table: Table, rows: Sequence[Mapping[str, str]]) -> bytes:
    numbers = {c.field for c in table.sent_columns if c.type is not None and c.type.is_number}
    flags = {c.field for c in table.sent_columns if c.type is not None and c.type.kind == "boolean"}
    references = {lookup.header: lookup for lookup in table.lookups}
    records = []
    for row in rows:
        cells = [f'"attributes":{{"type":{json.dumps(table.target)}}}']
        for name, text in row.items():
            if text == "":
                continue  # an empty cell leaves the field as it is
            if (lookup := references.get(name)) is not None:
                parent = {lookup.relationship: {EXTERNAL_ID: text}}
                cell = {lookup.field: None} if text == NULL_TOKEN else parent
                cells.append(json.dumps(cell)[1:-1])
            elif text == NULL_TOKEN:
                cells.append(f"{json.dumps(name)}:null")
            else:
                is_bare = (name in numbers and _NUMBER.fullmatch(text)) or (name in flags and text in ("true", "false"))
                cells.append(f"{json.dumps(name)}:{text if is_bare else json.dumps(text)}")
        records.append("{" + ",".join(cells) + "}")
    return ('{"allOrNone":false,"records":[' + ",".join(records) + "]}").encode()


def _saved(answer: dict[str, Any]) -> Saved:
    if answer.get("success"):
        return Saved(str(answer.get("id") or ""), bool(answer.get("created")), "")
    error = (answer.get("errors") or [{}])[0]
    fields = ",".join(error.get("fields") or ())
    text = f"{error.get('statusCode', 'UNKNOWN_EXCEPTION')}:{error.get('message', '')}:{fields} --"
    return Saved(str(answer.get("id") or ""), created=False, error=text)
