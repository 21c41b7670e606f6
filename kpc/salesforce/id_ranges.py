"""Count all records of an object that is too large for one COUNT(): by ranges of record ids, which have an index.

An id is 15 characters that compare as ASCII: three of the object, then twelve that are read here as a number of base
62. The numbers have gaps, and records of one object come from several pods, whose numbers lie far apart: after each
range the next existing id is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

from kpc.errors import UnusableAnswer
from kpc.salesforce.query import QueryApi, QueryTooLong

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PREFIX, _WIDTH = 3, 12
_END = 62**_WIDTH
RANGE_ROWS = 250_000  # above it the next range is half as wide
_SPARSE = 4  # below this part of it the next range is twice as wide


@dataclass(frozen=True, slots=True)
class CountedObject:
    """All records of an object, and in how many ranges they were counted."""

    records: int
    ranges: int


def count_by_ids(salesforce: QueryApi, object_name: str, range_rows: int = RANGE_ROWS) -> CountedObject:
    """Count an object's records in ranges of about `range_rows`, with two queries for each.

    A range that takes too long is halved. Raises `QueryTooLong` if even a single id takes too long.
    """
    records = ranges = 0
    width = range_rows
    low = _first_from(salesforce, object_name, "")
    while low is not None:
        high = min(_number(low) + width, _END)
        where = f"Id >= '{low}'" if high == _END else f"Id >= '{low}' AND Id < '{_id(low[:_PREFIX], high)}'"
        try:
            found = salesforce.count(object_name, where)
        except QueryTooLong:
            if width == 1:
                raise
            width = max(1, width // 2)
            continue
        records, ranges = records + found, ranges + 1
        if found > range_rows:
            width = max(1, width // 2)
        elif found < range_rows // _SPARSE:
            width *= 2
        low = None if high == _END else _first_from(salesforce, object_name, _id(low[:_PREFIX], high))
    return CountedObject(records, ranges)


def _first_from(salesforce: QueryApi, object_name: str, low: str) -> str | None:
    """The smallest id that is not below `low`, as 15 characters; None if there is none."""
    where = f" WHERE Id >= '{low}'" if low else ""
    soql = f"SELECT Id FROM {object_name}{where} ORDER BY Id LIMIT 1"  # noqa: S608  from the catalog and the org
    found = next(iter(salesforce.query(soql)), None)
    if found is None:
        return None
    record_id = str(found.get("Id", ""))[: _PREFIX + _WIDTH]
    if len(record_id) != _PREFIX + _WIDTH or not set(record_id) <= set(_DIGITS) or record_id < low:
        raise UnusableAnswer(f"Salesforce's answer names no record of {object_name} in the order of ids.", "Repeat.")
    return record_id


def _number(record_id: str) -> int:
    number = 0
    for character in record_id[_PREFIX:]:
        number = number * 62 + _DIGITS.index(character)
    return number


def _id(prefix: str, number: int) -> str:
    characters = []
    for _ in range(_WIDTH):
        number, digit = divmod(number, 62)
        characters.append(_DIGITS[digit])
    return prefix + "".join(reversed(characters))
