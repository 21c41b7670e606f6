"""Shapes of a text date: its digits as 9, counted over a sample, against the declared format and calendar."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from kpc.campaign.system_check import CheckSubject, SystemCheck
from kpc.catalog.types import Calendar, Column, DateFormat

_SHOWN_SHAPES = 5
_MOST_SHARE = 0.01  # of other values; staging stops a partition with more rejected rows
_BUDDHIST_FROM = 2300  # from this year on, a year is Buddhist or centuries ahead
_SHAPES = {
    DateFormat.ISO: "9999-99-99",
    DateFormat.ISO_TIME: "9999-99-99 99:99:99",
    DateFormat.DMY: "99/99/9999",
    DateFormat.DMY_TIME: "99/99/9999 99:99:99",
}


def shapes_of(values: pl.Series) -> pl.DataFrame:
    """The columns `shape` (digits as 9, other letters as A, no blanks at its end) and `count`, most frequent first."""
    shape = values.drop_nulls().str.strip_chars_end().str.replace_all(r"\p{Nd}", "9").str.replace_all(r"\p{L}", "A")
    return shape.alias("shape").value_counts(sort=True)


def date_column(about: CheckSubject, column: Column, values: pl.Series) -> Iterator[SystemCheck]:
    """Whether the sampled values have the declared format, and their years the declared calendar."""
    assert column.date_format is not None  # noqa: S101  guaranteed by the caller
    counts = shapes_of(values)
    total = int(counts["count"].sum())
    listed = ", ".join(f"{shape!r} {count:,}" for shape, count in counts.head(_SHOWN_SHAPES).iter_rows()) or "no value"
    others = total - int(counts.filter(pl.col("shape") == _SHAPES[column.date_format])["count"].sum())
    if others:
        message = f"{others:,} of {total:,} sampled values are not {column.date_format}: {listed}."
        remedy = f"Correct date_format of {column.name} in kpc/catalog, or have them corrected; such rows are rejected."
        yield _wrong(about, "date shape", others / total, message, remedy)
    else:
        yield about.ok("date shape", listed)
    strange = _of_other_calendar(column, values)
    if strange:
        message = (
            f"{strange:,} of {total:,} sampled years are not {column.calendar}: {_BUDDHIST_FROM} and later count as "
            "Buddhist, 543 years ahead."
        )
        remedy = f"Correct calendar of {column.name} in kpc/catalog, or have the values corrected."
        yield _wrong(about, "date calendar", strange / total, message, remedy)
    else:
        yield about.ok("date calendar", str(column.calendar))


def _of_other_calendar(column: Column, values: pl.Series) -> int:
    start = 6 if column.date_format is not None and column.date_format.is_day_first else 0
    years = values.drop_nulls().str.slice(start, 4).cast(pl.Int32, strict=False).drop_nulls()
    is_buddhist = (years >= _BUDDHIST_FROM) & (years < 9000)  # 9999-12-31 means "never" in either calendar
    wrong = is_buddhist if column.calendar is Calendar.GREGORIAN else years < _BUDDHIST_FROM
    return int(wrong.sum())


def _wrong(about: CheckSubject, name: str, share: float, message: str, remedy: str) -> SystemCheck:
    return (about.failed if share > _MOST_SHARE else about.warning)(name, message, remedy)
