"""An extracted column, cleaned: fields, keys and lookups all use the same cleaned value.

A frame is converted in named passes; each pass uses the columns of the one before:

    NAME          as extracted
    NAME:part     text without trailing white space, as keys are compared
    NAME:clean    trimmed text, exact decimal, or the local time of a DATE or TIMESTAMP
    NAME:local    a text date, parsed to a day or local time
    NAME:value    the target's typed value, before null rules
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from kpc.catalog.types import KEY_SEPARATOR, Calendar, Column, DateFormat, FieldKind, OracleKind
from kpc.convert import dates, numbers, text


@dataclass(frozen=True, slots=True)
class Source:
    """One Oracle column as the extract delivers it: its declaration and its Parquet type.

    `is_plain`: no text of this frame has an unusual character (`text.has_unusual_character`).
    """

    column: Column
    dtype: pl.DataType
    is_plain: bool = False

    @property
    def name(self) -> str:
        return self.column.name

    @property
    def is_text(self) -> bool:
        return self.column.source.is_text or self.is_raw

    @property
    def is_raw(self) -> bool:
        return self.column.source.kind is OracleKind.RAW

    @property
    def is_number(self) -> bool:
        return self.column.source.kind is OracleKind.NUMBER

    @property
    def is_date(self) -> bool:
        return not self.is_text and not self.is_number

    @property
    def raw(self) -> pl.Expr:
        """The value as extracted; bytes as hexadecimal text, like Oracle's RAWTOHEX."""
        extracted = pl.col(self.name)
        return extracted.cast(pl.Binary).bin.encode("hex").str.to_uppercase() if self.is_raw else extracted

    @property
    def part(self) -> pl.Expr:
        return pl.col(f"{self.name}:part")

    @property
    def clean(self) -> pl.Expr:
        return pl.col(f"{self.name}:clean")

    @property
    def local(self) -> pl.Expr:
        """The calendar day or local time of a date column, whatever type it is stored as."""
        return pl.col(f"{self.name}:local") if self.is_text else self.clean

    @property
    def value(self) -> pl.Expr:
        return pl.col(f"{self.name}:value")

    @property
    def scale(self) -> int:
        return numbers.scale_of(self.dtype)

    def part_pass(self) -> list[pl.Expr]:
        if not self.is_text:
            return []
        given = self.raw if self.dtype == pl.String or self.is_raw else self.raw.cast(pl.String)
        part = text.null_if_empty(given) if self.is_plain else text.right_trimmed(given)
        return [part.alias(f"{self.name}:part")]

    def clean_pass(self) -> pl.Expr:
        if self.is_text:
            cleaned = self.part if self.is_plain else text.left_trimmed(self.part)
        elif self.is_number:
            cleaned = numbers.exact(self.raw, self.dtype, self.name)
        else:
            cleaned = self.raw.cast(pl.Datetime("us")) if self.dtype == pl.Null else self.raw
            if self.column.source.kind is OracleKind.TIMESTAMP_TZ:  # extracted in UTC
                cleaned = dates.to_local(cleaned)
        return cleaned.alias(f"{self.name}:clean")

    def local_pass(self) -> list[pl.Expr]:
        if not self.is_text or self.column.date_format is None:
            return []
        local = dates.parsed(self.clean, self.column.date_format, self.column.calendar)
        return [local.alias(f"{self.name}:local")]

    def as_text(self) -> pl.Expr:
        """The value as text for a text field: a number without trailing zeros, a DATE as a local time."""
        if self.is_text:
            return self.clean
        if self.is_number:
            return numbers.plain(self.clean, self.scale)
        return dates.spelled_local(self.clean)

    def as_key_part(self) -> pl.Expr:
        """The value as part of an external id; null for NULL.

        Parent and child may store a key part differently (DATE and CHAR, NUMBER of another scale): equal values give
        the same text.
        """
        date_format = self.column.date_format
        if self.is_text and date_format is None:
            return self.part
        if self.is_text and date_format is not None and not date_format.has_time:
            return self.spelled_day(self.local)
        if self.is_number:
            return numbers.plain(self.clean, self.scale)
        target = self.column.type
        is_day = not self.is_text and target is not None and target.kind is FieldKind.DATE
        return dates.spelled_day(self.local) if is_day else dates.spelled_local(self.local)

    def spelled_day(self, day: pl.Expr) -> pl.Expr:
        """A day of this column as text; if the column already has this format, reusing its text is fastest."""
        column = self.column
        if column.date_format is DateFormat.ISO and column.calendar is Calendar.GREGORIAN:
            return pl.when(day.is_not_null()).then(self.clean)
        return dates.spelled_day(day)

    def shown(self) -> pl.Expr:
        """The value as shown in the reject file: as extracted, but masked if it is personal."""
        seen = self.raw.cast(pl.String) if self.is_text else self.as_text()
        return text.masked(seen) if self.column.pii is not None else seen

    def may_contain_separator(self) -> pl.Expr:
        """True for the rows whose key part contains the separator, which would make the external id ambiguous."""
        if not self.is_text or self.is_plain or self.column.date_format is not None:
            return pl.lit(False)
        return self.clean.str.contains(KEY_SEPARATOR, literal=True)
