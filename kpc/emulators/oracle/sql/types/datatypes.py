"""Oracle's data types as they travel through an expression: what a client is told, and what DuckDB holds.

NUMBER is held in one of two ways. Where the digits are bounded by declaration it is DuckDB's exact DECIMAL (BIGINT up
to 18 whole digits). Otherwise (quotients, huge or tiny values, FLOAT) it is *wide*: Oracle's own variable-length number
format in a BLOB, which sorts and compares correctly as bytes; `decimals` computes with it.
DATE and TIMESTAMP(0..6) are DuckDB's TIMESTAMP, TIMESTAMP(7..9) its TIMESTAMP_NS, intervals are BIGINT microseconds,
ROWID is a BIGINT position, and text is VARCHAR (CHAR already blank-padded).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import pyarrow as pa

from kpc.emulators.oracle.interface import OraColumn, OraType
from kpc.emulators.oracle.sql.messages import ora, unsupported

BYTES_PER_CHARACTER = 4  # AL32UTF8
MAX_TEXT = 4000
MAX_DIGITS = 38
FREE_PLACES = 10  # decimal places of an unconstrained NUMBER column until a value needs more
PLAIN_SCALE = -127

TEXT_TYPES = frozenset({OraType.VARCHAR2, OraType.CHAR, OraType.LONG, OraType.CLOB})
TIME_TYPES = frozenset({OraType.DATE, OraType.TIMESTAMP, OraType.TIMESTAMP_TZ, OraType.TIMESTAMP_LTZ})
NUMBER_TYPES = frozenset({OraType.NUMBER, OraType.BINARY_DOUBLE, OraType.BINARY_FLOAT})


@dataclass(frozen=True, slots=True)
class SqlType:
    """An Oracle type, and for NUMBER how DuckDB holds it: `digits` in all (0: wide), `places` after the point.

    `precision`, `scale`, `size` (bytes) and `chars` are what describe reports. `declared` is the text of a column's
    type.
    """

    ora: OraType
    precision: int = 0
    scale: int = 0
    size: int = 0
    chars: int = 0
    national: bool = False
    digits: int = 0
    places: int = 0
    by_chars: bool = False  # the declared length counts characters, not bytes
    is_null: bool = False  # the NULL literal: takes any type
    is_float: bool = False
    is_coarse: bool = False  # a TIMESTAMP(7..9) whose values have six digits at most, held as TIMESTAMP

    @property
    def is_text(self) -> bool:
        return self.ora in TEXT_TYPES

    @property
    def is_number(self) -> bool:
        return self.ora is OraType.NUMBER

    @property
    def is_numeric(self) -> bool:
        return self.ora in NUMBER_TYPES

    @property
    def is_time(self) -> bool:
        return self.ora in TIME_TYPES

    @property
    def is_rowid(self) -> bool:
        return self.ora in (OraType.ROWID, OraType.UROWID)

    @property
    def is_wide(self) -> bool:
        return self.ora is OraType.NUMBER and self.digits == 0

    @property
    def duckdb(self) -> str:
        """The DuckDB type that holds it."""
        if self.ora is OraType.NUMBER:
            if self.digits == 0:
                return "BLOB"
            if self.places == 0 and self.digits <= 18:
                return "BIGINT"
            return f"DECIMAL({self.digits},{self.places})"
        if self.is_time:
            is_fine = self.ora is not OraType.DATE and self.scale > 6 and not self.is_coarse
            return "TIMESTAMP_NS" if is_fine else "TIMESTAMP"
        return _DUCKDB[self.ora]

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow type of what DuckDB holds."""
        return _ARROW[self.duckdb] if self.duckdb in _ARROW else pa.decimal128(self.digits, self.places)

    @property
    def word(self) -> str:
        """The type's name in ORA-00932."""
        return _WORDS.get(self.ora, self.ora.name)

    def column(self, name: str, *, nullable: bool = True) -> OraColumn:
        return OraColumn(name, self.ora, self.precision, self.scale, self.size, self.chars, nullable, self.national)


_DUCKDB = {
    OraType.VARCHAR2: "VARCHAR",
    OraType.CHAR: "VARCHAR",
    OraType.LONG: "VARCHAR",
    OraType.CLOB: "VARCHAR",
    OraType.RAW: "BLOB",
    OraType.LONG_RAW: "BLOB",
    OraType.BLOB: "BLOB",
    OraType.BINARY_DOUBLE: "DOUBLE",
    OraType.BINARY_FLOAT: "FLOAT",
    OraType.ROWID: "BIGINT",
    OraType.UROWID: "BIGINT",
    OraType.INTERVAL_DS: "BIGINT",
    OraType.BOOLEAN: "BOOLEAN",
}

_ARROW = {
    "VARCHAR": pa.string(),
    "BLOB": pa.binary(),
    "DOUBLE": pa.float64(),
    "FLOAT": pa.float32(),
    "BIGINT": pa.int64(),
    "BOOLEAN": pa.bool_(),
    "TIMESTAMP": pa.timestamp("us"),
    "TIMESTAMP_NS": pa.timestamp("ns"),
}

_WORDS = {OraType.INTERVAL_DS: "INTERVAL DAY TO SECOND", OraType.TIMESTAMP_TZ: "TIMESTAMP WITH TIME ZONE"}


def number(precision: int, scale: int) -> SqlType:
    """A NUMBER(precision, scale) column; a negative scale rounds left of the point."""
    places = max(scale, 0)
    digits = max(precision, places) if scale >= 0 else precision - scale
    if digits > MAX_DIGITS:
        return SqlType(OraType.NUMBER, precision, scale)
    return SqlType(OraType.NUMBER, precision, scale, digits=digits, places=places)


def free_number(digits: int = MAX_DIGITS, places: int = FREE_PLACES) -> SqlType:
    """A NUMBER without declared precision, held as DECIMAL(digits, places)."""
    return SqlType(OraType.NUMBER, 0, PLAIN_SCALE, digits=digits, places=places)


WIDE = SqlType(OraType.NUMBER, 0, PLAIN_SCALE)
INTEGER = free_number(18, 0)
DATE = SqlType(OraType.DATE)
TIMESTAMP = SqlType(OraType.TIMESTAMP, scale=6)
INTERVAL = SqlType(OraType.INTERVAL_DS, precision=9, scale=9)
ROWID = SqlType(OraType.ROWID, size=18)
UROWID = SqlType(OraType.UROWID, size=4000)
CLOB = SqlType(OraType.CLOB)
BLOB = SqlType(OraType.BLOB)
BINARY_DOUBLE = SqlType(OraType.BINARY_DOUBLE)
BINARY_FLOAT = SqlType(OraType.BINARY_FLOAT)
NULL = SqlType(OraType.VARCHAR2, is_null=True)


def varchar2(chars: int, *, size: int | None = None, national: bool = False) -> SqlType:
    """VARCHAR2 of at most `chars` characters, `size` bytes (default: as many as the characters can take)."""
    chars = min(chars, 32_767)
    return SqlType(OraType.VARCHAR2, size=min(size or chars, 32_767), chars=chars, national=national)


def text_of(value: str) -> SqlType:
    """The type of a text literal: CHAR of its own length."""
    size = len(value.encode())
    if size > 2000:  # a CHAR ends there
        return varchar2(len(value), size=size)
    return SqlType(OraType.CHAR, size=size, chars=len(value))


def raw(size: int) -> SqlType:
    return SqlType(OraType.RAW, size=size)


_TYPE = re.compile(
    r"^(?P<name>[A-Z_0-9]+(?: RAW| VARYING)?)\s*"
    r"(?:\(\s*(?P<a>\*|\d+)\s*(?:,\s*(?P<b>-? ?\d+))?\s*(?P<unit>BYTE|CHAR)?\s*\))?"
    r"(?P<rest>.*)$"
)
_OTHER_TYPES = frozenset({"XMLTYPE", "JSON", "BFILE", "ANYDATA", "SDO_GEOMETRY", "URITYPE"})
_INTEGERS = frozenset({"INTEGER", "INT", "SMALLINT"})


def parse_type(text: str) -> SqlType:
    """A type as SQL spells it, e.g. `NUMBER(5,-2)`, `VARCHAR2(60 CHAR)`, `TIMESTAMP(3) WITH TIME ZONE`."""
    words = " ".join(text.upper().split())
    match = _TYPE.match(words)
    if not match:
        raise ora(902)
    name, rest = match["name"], match["rest"].strip()
    first = None if match["a"] in (None, "*") else int(match["a"])
    second = None if match["b"] is None else int(match["b"].replace(" ", ""))
    if name == "TIMESTAMP":
        return _timestamp(6 if first is None else first, rest)
    if name == "INTERVAL":
        span = re.fullmatch(r"DAY\s*(?:\((\d)\))?\s*TO SECOND\s*(?:\((\d)\))?", rest)
        if span:
            return replace(INTERVAL, precision=int(span[1] or 2), scale=int(span[2] or 6))
        raise unsupported(f"type {words}")
    if rest:
        raise ora(907) if rest.startswith(("(", ",")) else unsupported(f"type {words}")
    if name in ("NUMBER", "NUMERIC", "DECIMAL", "DEC"):
        return _number(name, first, second, star=match["a"] == "*")
    if name in _INTEGERS:
        return number(38, 0)
    if name in ("FLOAT", "REAL", "DOUBLE"):
        return SqlType(OraType.NUMBER, first or (63 if name == "REAL" else 126), PLAIN_SCALE, is_float=True)
    return _sized(name, first, match["unit"], words)


def _number(name: str, precision: int | None, scale: int | None, *, star: bool) -> SqlType:
    if precision is None and not star:
        return free_number() if name == "NUMBER" else number(38, 0)
    precision = 38 if precision is None else precision
    scale = 0 if scale is None else scale
    if not 1 <= precision <= 38:
        raise ora(1727)
    if not -84 <= scale <= 127:
        raise ora(1728)
    return number(precision, scale)


def _timestamp(digits: int, rest: str) -> SqlType:
    if digits > 9:
        raise ora(902)
    kinds = {
        "": OraType.TIMESTAMP,
        "WITH TIME ZONE": OraType.TIMESTAMP_TZ,
        "WITH LOCAL TIME ZONE": OraType.TIMESTAMP_LTZ,
    }
    if rest not in kinds:
        raise ora(902)
    return SqlType(kinds[rest], scale=digits)


def _sized(name: str, length: int | None, unit: str | None, words: str) -> SqlType:
    if name in ("VARCHAR2", "VARCHAR", "NVARCHAR2", "CHAR", "NCHAR", "CHARACTER", "CHAR VARYING"):
        return _character(name, length, unit)
    if name == "UROWID":
        return replace(UROWID, size=length or UROWID.size)
    if name == "RAW":
        if length is None:
            raise ora(906)
        return raw(length)
    plain = {
        "DATE": DATE,
        "CLOB": CLOB,
        "NCLOB": replace(CLOB, national=True),
        "BLOB": BLOB,
        "LONG": SqlType(OraType.LONG),
        "LONG RAW": SqlType(OraType.LONG_RAW),
        "BINARY_DOUBLE": BINARY_DOUBLE,
        "BINARY_FLOAT": BINARY_FLOAT,
        "ROWID": ROWID,
    }
    if name not in plain:
        raise unsupported(f"type {words}") if name in _OTHER_TYPES else ora(902)
    return plain[name]


def _character(name: str, length: int | None, unit: str | None) -> SqlType:
    is_fixed = name in ("CHAR", "NCHAR", "CHARACTER")
    if length is None:
        if not is_fixed:
            raise ora(906)
        length = 1
    if length == 0:
        raise ora(1723)
    national = name.startswith("N")
    by_chars = unit == "CHAR" or national
    limit = (2000 if is_fixed else MAX_TEXT) // (2 if national else 1)
    if length > limit:
        raise ora(910)
    size = length * (2 if national else BYTES_PER_CHARACTER) if by_chars else length
    kind = OraType.CHAR if is_fixed else OraType.VARCHAR2
    return SqlType(
        kind, size=min(size, 2000 if is_fixed else MAX_TEXT), chars=length, national=national, by_chars=by_chars
    )
