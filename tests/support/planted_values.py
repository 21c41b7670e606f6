"""Values that occur nowhere else, one for each personal column and for each way in which it comes into the system."""

from __future__ import annotations

import html
import json
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from kpc.catalog import TABLES
from kpc.catalog.table import Table
from kpc.catalog.types import Column, DateFormat, FieldKind, Pii


class Origin(IntEnum):
    """How a planted value comes in."""

    SOURCE = 0  # Oracle holds it in an accepted row
    REJECTED = 1  # Oracle holds it in a row that breaks a rule
    TYPED = 2  # a person typed it into the export of refused rows
    EDITED = 3  # somebody wrote it into the record in Salesforce


@dataclass(frozen=True, slots=True)
class PlantedValue:
    table: Table
    column: Column
    origin: Origin
    text: str  # as it is written
    traces: tuple[str, ...]  # any of these in a file means that the file holds it

    @property
    def is_sent_as_it_is(self) -> bool:
        return self.column.pii is Pii.AS_IS

    def is_in(self, content: str) -> bool:
        """`content` is in lower case."""
        return any(trace in content for trace in self.traces)


def personal_columns() -> list[tuple[Table, Column]]:
    return [(table, column) for table in TABLES.values() for column in table.columns if column.pii is not None]


def planted_values(origin: Origin) -> Iterator[PlantedValue]:
    """One for each personal column; none where the column cannot carry a recognisable value of this origin."""
    for number, (table, column) in enumerate(personal_columns()):
        assert column.type is not None
        kind = column.type.kind
        if origin is Origin.REJECTED and column.pii is Pii.LEAVE_OUT:
            continue  # it is not checked
        if column.date_format is not None and origin is not Origin.REJECTED:
            yield _planted(table, column, origin, _day(number * len(Origin) + origin, column))
        elif kind is FieldKind.PICKLIST and origin is not Origin.REJECTED:
            continue  # its few labels stand in the catalog; an unknown code is recognisable
        elif kind is FieldKind.EMAIL and origin is not Origin.REJECTED:
            yield _planted(table, column, origin, (f"zq{number:02d}{origin.name.lower()}@example.org",) * 2)
        else:
            yield _planted(table, column, origin, _text(number * len(Origin) + origin, column, origin))


def _text(number: int, column: Column, origin: Origin) -> tuple[str, str]:
    """Two of a rare letter, and words behind them where there is room; a rejected one ends with a bell."""
    size = column.source.size or 0
    mark = chr(0xA000 + number) * 2
    words = f"{mark} somebody"[: size - 1]
    return (f"{words}\a" if origin is Origin.REJECTED else words), mark


def _day(number: int, column: Column) -> tuple[str, str]:
    """A day of the eighteenth century as the column spells it, and as an ISO day."""
    year, day = 1701 + number // 28, number % 28 + 1
    spelled = year + (543 if column.calendar == "buddhist" else 0)
    text = f"{day:02d}/02/{spelled}" if column.date_format is DateFormat.DMY else f"{spelled}-02-{day:02d}"
    return text, f"{year}-02-{day:02d}"


def _planted(table: Table, column: Column, origin: Origin, planted: tuple[str, str]) -> PlantedValue:
    """The second text is what to look for, in every spelling in which files may hold it."""
    text, mark = planted
    spelled = {mark, text if column.date_format is not None else mark}
    for one in tuple(spelled):
        spelled |= {json.dumps(one)[1:-1], html.escape(one), urllib.parse.quote(one), one.encode("utf-8").hex()}
        spelled |= {one.encode("ascii", "xmlcharrefreplace").decode(), repr(one.encode("utf-8"))[2:-1]}
    return PlantedValue(table, column, origin, text, tuple(sorted(each.lower() for each in spelled)))
