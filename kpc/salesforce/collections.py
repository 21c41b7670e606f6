"""Composite collections: up to 200 records in one synchronous request, with typed errors and without a bulk batch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Annotated, TypeVar

from pydantic import Field

from kpc.errors import SalesforceDown, UnusableAnswer
from kpc.retry_policy import retried
from kpc.salesforce.constants import COLLECTION_RECORDS
from kpc.salesforce.query import QueryApi
from kpc.salesforce.shapes import RecordId, Shape
from kpc.salesforce.soql import in_conditions

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


class CollectionsApi(QueryApi):
    def upsert_records(
        self, object_name: str, external_id_field: str, records: Sequence[RecordBody], *, mark_field: str = ""
    ) -> list[SavedRecord]:
        """Upsert records by external id, 200 at a time, in order; one result per record.

        A request whose response is lost is repeated, because an upsert is idempotent; but first the org is asked which
        records it created: the repeated request reports them as updated. They are those that bear the value of
        `mark_field` that was sent and were not changed since their creation. Without `mark_field` none is looked for.
        """
        path = f"/composite/sobjects/{object_name}/{external_id_field}"
        answers: list[SavedRecord] = []
        for block in _blocks(records):
            look = partial(self._created_ids, object_name, external_id_field, mark_field, block) if mark_field else None
            answers += self._collect(len(block), "PATCH", path, body=request_body(object_name, block), look=look)
        return answers

    def _created_ids(self, object_name: str, key_field: str, mark_field: str, sent: Sequence[RecordBody]) -> set[str]:
        """The ids of those records that a lost request has created."""
        marks = {str(record.get(key_field)): record.get(mark_field) for record in sent}
        names = f"Id, {key_field}, {mark_field}, CreatedDate, LastModifiedDate"
        created = set()
        for condition in in_conditions(key_field, list(marks)):
            for found in self.query(f"SELECT {names} FROM {object_name} WHERE {condition}"):  # noqa: S608  our own names
                is_ours = found.get(mark_field) == marks.get(str(found.get(key_field)))
                if is_ours and found.get("CreatedDate") == found.get("LastModifiedDate"):
                    created.add(str(found.get("Id")))
        return created

    def update_records(self, object_name: str, records: Sequence[RecordBody]) -> list[SavedRecord]:
        """Update existing records by their `Id`, otherwise as `upsert_records`; none is ever created."""
        answers: list[SavedRecord] = []
        for block in _blocks(records):
            answers += self._collect(len(block), "PATCH", "/composite/sobjects", body=request_body(object_name, block))
        return answers

    def delete_records(self, ids: Sequence[str]) -> list[SavedRecord]:
        """Delete records by id, 200 at a time; one result per id."""
        answers: list[SavedRecord] = []
        for block in _blocks(ids):
            params = {"ids": ",".join(block), "allOrNone": "false"}
            answers += self._collect(len(block), "DELETE", "/composite/sobjects", params=params)
        return answers

    def _collect(
        self,
        records: int,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        params: dict[str, str] | None = None,
        look: Callable[[], set[str]] | None = None,
    ) -> list[SavedRecord]:
        """The results of one request; they belong to its records by their order.

        `look` tells after a lost response which records the request had created.
        """
        blocks = (lambda: iter([body])) if body is not None else None
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))} if body is not None else {}
        created: set[str] = set()

        def send() -> list[SavedRecord]:
            try:
                answers = self.send_safely(_Answers, method, path, params=params, headers=headers, blocks=blocks)
                _check_count(len(answers), records, f"{method} {path}")
            except (SalesforceDown, UnusableAnswer):
                created.update(look() if look else ())
                raise
            return [_saved(one, is_created=one.created or one.id in created) for one in answers]

        return retried(send)


def _check_count(found: int, records: int, request: str) -> None:
    if found != records:
        raise UnusableAnswer(f"Salesforce's answer to {request} has {found} results for {records} records.", "Repeat.")


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


def _saved(answer: _RecordAnswer, *, is_created: bool) -> SavedRecord:
    if answer.success:
        return SavedRecord(answer.id or "", is_created, "")
    error = answer.errors[0] if answer.errors else _RecordProblem()
    text = f"{error.statusCode}:{error.message or ''}:{','.join(error.fields or ())} --"
    return SavedRecord(answer.id or "", created=False, error=text)
