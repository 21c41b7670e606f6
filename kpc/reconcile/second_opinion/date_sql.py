"""Days and moments in Oracle's SQL by docs/values.md; nothing here raises an error, whatever the column holds.

A text date is checked by its letters and never read by TO_DATE before it is known to be a date: the session's binary
order makes digits compare as numbers.
"""

from __future__ import annotations

from kpc.catalog.types import Column, DateFormat, FieldKind, OracleKind

_OFFSET = "INTERVAL '7' HOUR"  # local time is always UTC+7
_FIRST_YEAR, _LAST_YEAR = 1700, 4000
_TO_SECOND = "YYYY-MM-DD HH24:MI:SS"
_ISO_UTC = 'YYYY-MM-DD"T"HH24:MI:SS".000Z"'


def utc_text(local: str) -> str:
    """A local DATE or TIMESTAMP as UTC; TO_CHAR drops the fraction of a second."""
    return f"TO_CHAR({local}-{_OFFSET},'{_ISO_UTC}')"


def as_date(moment: str) -> str:
    """The DATE of a valid text `YYYY-MM-DD HH:MM:SS`."""
    return f"TO_DATE({moment},'{_TO_SECOND}')"


class TextDate:
    """A date in a text column. `text` is SQL of its trimmed text; conditions hold for text that is not NULL."""

    def __init__(self, column: Column, text: str) -> None:
        self._format = column.date_format or DateFormat.ISO
        self._offset = column.calendar.year_offset
        self._text = text
        starts = (7, 4, 1) if self._format.is_day_first else (1, 6, 9)
        self._year, self._month, self._day = (
            f"SUBSTR({text},{start},{size})" for start, size in zip(starts, (4, 2, 2), strict=True)
        )
        self._time = f"SUBSTR({text},12,8)"

    @property
    def is_unreadable(self) -> str:
        """Not exactly the format, not a day of the calendar, or not a time of day."""
        shape = self._format.value.replace("HH24", "HH").translate(str.maketrans("YMDHIS", "000000"))
        digits = f"TRANSLATE({self._text},N'123456789',N'000000000')"
        wrong = [f"{digits}<>N'{shape}'", f"{self._month} NOT BETWEEN N'01' AND N'12'"]
        wrong.append(f"{self._day} NOT BETWEEN N'01' AND {self._last_day}")
        if self._offset:
            wrong.append(f"{self._year}<N'{self._offset + 1:04d}'")
        if self._format.has_time:
            wrong += [
                f"SUBSTR({self._text},12,2)>N'23'",
                f"SUBSTR({self._text},15,2)>N'59'",
                f"SUBSTR({self._text},18,2)>N'59'",
            ]
        return f"CASE WHEN {' THEN 1 WHEN '.join(wrong)} THEN 1 ELSE 0 END=1"

    @property
    def _last_day(self) -> str:
        year = f"TO_NUMBER({self._year})-{self._offset}" if self._offset else f"TO_NUMBER({self._year})"
        is_leap = f"MOD({year},4)=0 AND (MOD({year},100)<>0 OR MOD({year},400)=0)"
        february = f"CASE WHEN {self._day}<N'29' THEN N'28' WHEN {is_leap} THEN N'29' ELSE N'28' END"
        thirty = "".join(f" WHEN N'{month}' THEN N'30'" for month in ("04", "06", "09", "11"))
        return f"CASE {self._month} WHEN N'02' THEN {february}{thirty} ELSE N'31' END"

    def is_out_of_range(self, kind: FieldKind) -> str:
        """For a readable date: the day, or the UTC moment, is outside of what Salesforce accepts."""
        first, last = _FIRST_YEAR + self._offset, _LAST_YEAR + self._offset
        if kind is FieldKind.DATE:
            return f"{self._year} NOT BETWEEN N'{first}' AND N'{last}'"
        local = f"{self._year}||'-'||{self._month}||'-'||{self._day}||' '||{self._time}"
        return f"{local} NOT BETWEEN N'{first}-01-01 07:00:00' AND N'{last + 1}-01-01 06:59:59'"

    @property
    def day(self) -> str:
        """`YYYY-MM-DD`, Gregorian."""
        year = f"TO_CHAR(TO_NUMBER({self._year})-{self._offset},'FM0000')" if self._offset else self._year
        return f"{year}||'-'||{self._month}||'-'||{self._day}"

    @property
    def moment(self) -> str:
        """`YYYY-MM-DD HH:MM:SS`, local and Gregorian."""
        return f"{self.day}||' '||{self._time}"

    @property
    def key_part(self) -> str:
        """Its text in an external id."""
        return self.moment if self._format.has_time else self.day


class StoredMoment:
    """A DATE or TIMESTAMP column; conditions hold for values that are not NULL."""

    def __init__(self, column: Column) -> None:
        name = f'"{column.name}"'
        self._kind = column.type.kind if column.type else None
        self._has_zone = column.source.kind is OracleKind.TIMESTAMP_TZ
        self._value = f"SYS_EXTRACT_UTC({name})" if self._has_zone else name  # in UTC, or local

    def is_out_of_range(self) -> str:
        """The day, or the UTC moment, is out of range; compared as stored, so that no result leaves Oracle's years."""
        is_day = self._kind is FieldKind.DATE
        hours = ("-7" if is_day else "") if self._has_zone else ("" if is_day else "+7")
        bounds = [_shifted(bound, hours) for bound in (f"{_FIRST_YEAR}-01-01", f"{_LAST_YEAR + 1}-01-01")]
        return f"({self._value}<{bounds[0]} OR {self._value}>={bounds[1]})"

    @property
    def _local(self) -> str:
        return f"({self._value}+{_OFFSET})" if self._has_zone else self._value

    @property
    def day(self) -> str:
        return f"TO_CHAR({self._local},'YYYY-MM-DD')"

    @property
    def utc(self) -> str:
        if self._has_zone:
            return f"TO_CHAR({self._value},'{_ISO_UTC}')"
        return utc_text(self._value)

    @property
    def key_part(self) -> str:
        """Its text in an external id: a day if it becomes a day, otherwise the local moment."""
        return self.day if self._kind is FieldKind.DATE else f"TO_CHAR({self._local},'{_TO_SECOND}')"


def _shifted(day: str, hours: str) -> str:
    if not hours:
        return f"TIMESTAMP '{day} 00:00:00'"
    if hours == "+7":
        return f"TIMESTAMP '{day} 07:00:00'"
    return f"(TIMESTAMP '{day} 00:00:00'-{_OFFSET})"
