"""Composite collections: up to 200 records in one synchronous request, with typed errors and without a bulk batch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from kpc.salesforce.constants import COLLECTION_RECORDS
from kpc.salesforce.rest import Rest, decode, retried

T = TypeVar("T")
# A field's value: a number is sent with exactly its digits; a mapping is a parent, given by its external id.
FieldValue = str | Decimal | bool | None | Mapping[str, str]
RecordBody = Mapping[str, FieldValue]


@dataclass(frozen=True, slots=True)
class SavedRecord:
    """The result for one record: its id and whether it is new, or an error in the format of a bulk job's sf__Error."""

    salesforce_id: str
    created: bool
    error: str


class CollectionsApi(Rest):
    def upsert_records(
        self, object_name: str, external_id_field: str, records: Sequence[RecordBody]
    ) -> list[SavedRecord]:
        """Upsert records by external id, 200 at a time, in order; one result per record.

        A request whose response is lost is repeated: an upsert is idempotent, but the record is then not reported as
        created.
        """
        return self._write(f"/composite/sobjects/{object_name}/{external_id_field}", object_name, records)

    def update_records(self, object_name: str, records: Sequence[RecordBody]) -> list[SavedRecord]:
        """Update existing records by their `Id`, otherwise as `upsert_records`; none is ever created."""
        return self._write("/composite/sobjects", object_name, records)

    def delete_records(self, ids: Sequence[str]) -> list[SavedRecord]:
        """Delete records by id, 200 at a time; one result per id."""
        answers: list[SavedRecord] = []
        for block in _blocks(ids):
            params = {"ids": ",".join(block), "allOrNone": "false"}
            answers += [_saved(one) for one in self._collect("DELETE", "/composite/sobjects", params=params)]
        return answers

    def _write(self, path: str, object_name: str, records: Sequence[RecordBody]) -> list[SavedRecord]:
        answers: list[SavedRecord] = []
        for block in _blocks(records):
            body = request_body(object_name, block)
            answers += [_saved(one) for one in self._collect("PATCH", path, body=body)]
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


def request_body(object_name: str, records: Sequence[RecordBody]) -> bytes:
    """The records as the JSON of one request."""
    attributes = f'"attributes":{{"type":{json.dumps(object_name)}}}'
    spelled = (",".join([attributes, *_fields(record)]) for record in records)
    return ('{"allOrNone":false,"records":[' + ",".join(f"{{{record}}}" for record in spelled) + "]}").encode()


def _fields(record: RecordBody) -> Iterator[str]:
    for name, value in record.items():
        # json has no exact decimals: it would send a binary float.
        spelled = format(value, "f") if isinstance(value, Decimal) else json.dumps(value)
        yield f"{json.dumps(name)}:{spelled}"


def _blocks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), COLLECTION_RECORDS):
        yield items[start : start + COLLECTION_RECORDS]


def _saved(answer: dict[str, Any]) -> SavedRecord:
    if answer.get("success"):
        return SavedRecord(str(answer.get("id") or ""), bool(answer.get("created")), "")
    error = (answer.get("errors") or [{}])[0]
    fields = ",".join(error.get("fields") or ())
    text = f"{error.get('statusCode', 'UNKNOWN_EXCEPTION')}:{error.get('message', '')}:{fields} --"
    return SavedRecord(str(answer.get("id") or ""), created=False, error=text)
