"""Composite collections: up to 200 records in one synchronous request, with typed errors and without a bulk batch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, TypeVar

from pydantic import Field

from kpc.errors import UnusableAnswer
from kpc.retry_policy import retried
from kpc.salesforce.constants import COLLECTION_RECORDS
from kpc.salesforce.rest import Rest
from kpc.salesforce.shapes import RecordId, Shape

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


class _RecordProblem(Shape):
    statusCode: str = "UNKNOWN_EXCEPTION"  # noqa: N815  Salesforce's name
    message: str | None = ""
    fields: list[str] | None = None


class _RecordAnswer(Shape):
    success: bool
    id: RecordId | None = None
    created: bool = False
    errors: list[_RecordProblem] = Field(default=[])


_Answers = Annotated[list[_RecordAnswer], Field(max_length=COLLECTION_RECORDS)]


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
            answers += self._collect(len(block), "DELETE", "/composite/sobjects", params=params)
        return answers

    def _write(self, path: str, object_name: str, records: Sequence[RecordBody]) -> list[SavedRecord]:
        answers: list[SavedRecord] = []
        for block in _blocks(records):
            body = request_body(object_name, block)
            answers += self._collect(len(block), "PATCH", path, body=body)
        return answers

    def _collect(
        self, records: int, method: str, path: str, *, body: bytes | None = None, params: dict[str, str] | None = None
    ) -> list[SavedRecord]:
        """The results of one request; they belong to its records by their order."""
        blocks = (lambda: iter([body])) if body is not None else None
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))} if body is not None else {}

        def send() -> list[SavedRecord]:
            answers = self.send_safely(_Answers, method, path, params=params, headers=headers, blocks=blocks)
            if len(answers) != records:
                raise UnusableAnswer(
                    f"Salesforce's answer to {method} {path} has {len(answers)} results for {records} records.",
                    "Repeat.",
                )
            return [_saved(one) for one in answers]

        return retried(send)


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


def _saved(answer: _RecordAnswer) -> SavedRecord:
    if answer.success:
        return SavedRecord(answer.id or "", answer.created, "")
    error = answer.errors[0] if answer.errors else _RecordProblem()
    text = f"{error.statusCode}:{error.message or ''}:{','.join(error.fields or ())} --"
    return SavedRecord(answer.id or "", created=False, error=text)
