"""The DuckDB functions and macros that the translation relies on, beside the arithmetic of `decimals`."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import duckdb
import pyarrow as pa

from kpc.emulators.oracle.sql.functions import decimal_functions
from kpc.emulators.oracle.sql.functions.unicode_escapes import unistr
from kpc.emulators.oracle.sql.messages import error_sql, ora, unsupported
from kpc.emulators.oracle.sql.storage.character_set import CharacterSet, raw_to_text
from kpc.emulators.oracle.sql.types import decimals, mask_reading, pictures, positions
from kpc.emulators.oracle.sql.types.datatypes import MAX_TEXT
from kpc.emulators.oracle.sql.types.values import once

_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001  Oracle's DATE has no zone

_MOST_RAW_IN_SQL = 2_000  # with MAX_STRING_SIZE = STANDARD

# Bodies of `once`, which calls the argument x.
_SHORT = f"CASE WHEN octet_length(x) > {_MOST_RAW_IN_SQL} THEN {error_sql(6502)} ELSE x END"
_PICTURE = "CASE WHEN strpos(x || '.', '.') - 1 - starts_with(x, '-')::INT > digits THEN too_many ELSE x END"
_UNHEX = f"""CASE WHEN regexp_full_match(x, '[0-9A-Fa-f]*') THEN unhex(repeat('0', strlen(x) % 2) || x)
             WHEN x IS NOT NULL THEN {error_sql(1465)} END"""

# Where a macro can do it, no Python function does: each of its calls, one for 2,048 rows, waits for the interpreter.
_MACROS = (
    # Whole quotients of HUGEINTs: DuckDB's // cuts towards zero.
    f"whole_trunc(a, b) AS CAST(CASE WHEN b = 0 THEN {error_sql(1476)} ELSE a // b END AS DECIMAL(38,0))",
    "whole_round(a, b) AS whole_trunc(2 * a + (CASE WHEN (a < 0) = (b < 0) THEN b ELSE -b END), 2 * b)",
    """whole_floor(a, b) AS whole_trunc(a, b)
       - (CASE WHEN a % nullif(b, 0) <> 0 AND (a < 0) <> (b < 0) THEN 1 ELSE 0 END)""",
    """whole_ceil(a, b) AS whole_trunc(a, b)
       + (CASE WHEN a % nullif(b, 0) <> 0 AND (a < 0) = (b < 0) THEN 1 ELSE 0 END)""",
    # Oracle leaves a sharp s alone, DuckDB makes a capital one of it.
    "ora_upper(t) AS replace(upper(replace(t, 'ß', chr(1114111))), chr(1114111), 'ß')",
    # Plain text of a DECIMAL's text: no trailing zeros, no zero before the point.
    r"number_text(t) AS regexp_replace(rtrim(rtrim(t, '0'), '.'), '^(-?)0\.', '\1.')",
    # DuckDB takes long to trim by a set of many letters; most texts end with none of them.
    "ora_rtrim(s, letters) AS CASE WHEN instr(letters, right(s, 1)) = 0 THEN s ELSE rtrim(s, letters) END",
    "ora_ltrim(s, letters) AS CASE WHEN instr(letters, left(s, 1)) = 0 THEN s ELSE ltrim(s, letters) END",
    # A decimal's text by a picture such as FM9990.00 or FM9990.99 with `digits` whole places.
    f"fixed_picture(t, digits, too_many) AS {once('t', _PICTURE)}",
    """ora_substr(s, p, n) AS nullif(CASE WHEN s IS NULL OR p IS NULL OR n IS NULL OR n < 1 THEN NULL
       WHEN p > 0 THEN substr(s, p, n) WHEN p = 0 THEN substr(s, 1, n) WHEN -p > length(s) THEN NULL
       ELSE substr(s, length(s) + p + 1, n) END, '')""",
    f"ora_joined(t) AS {once('t', f'CASE WHEN strlen(x) > {MAX_TEXT} THEN {error_sql(1489)} ELSE x END')}",
    f"ora_unhex(t) AS {once('t', _UNHEX)}",
    f"ora_short_utf8(t) AS {once('ora_utf8(t)', _SHORT)}",
    """ora_add_months(d, n) AS (CASE WHEN d::DATE = last_day(d) THEN last_day(d + to_months(n)) +
       (d - date_trunc('day', d))
       ELSE d + to_months(n) END)::TIMESTAMP""",
)


def instr(text: str, part: str, start: int, nth: int) -> int:
    """INSTR with a start (negative: backwards from the end) and an occurrence; 0 when there is none."""
    if nth < 1:
        raise ora(1428, nth)
    if start == 0:
        return 0
    if start > 0:
        at = start - 2
        for _ in range(nth):
            at = text.find(part, at + 1)
            if at < 0:
                return 0
        return at + 1
    at = len(text) + start + 1
    for _ in range(nth):
        at = text.rfind(part, 0, max(at - 1 + len(part), 0)) + 1
        if at == 0:
            return 0
    return at


def initcap(text: str) -> str:
    """The first letter of each word upper, the rest lower; words are separated by what is not alphanumeric."""
    out, inside = [], False
    for letter in text:
        out.append(letter.lower() if inside else letter.upper())
        inside = letter.isalnum()
    return "".join(out)


def character(code: int) -> str | None:
    """CHR: the character whose bytes in the database character set spell this number."""
    if code < 0:
        raise ora(1428, code)
    size = max(1, (code.bit_length() + 7) // 8)
    try:
        return code.to_bytes(size, "big").decode() or None
    except UnicodeDecodeError:
        raise ora(1428, code) from None


_INTERVAL_TEXT = re.compile(r"\s*([+-]?)(\d{1,9})\s+(\d{1,2}):(\d{1,2}):(\d{1,2})(?:\.(\d{1,9}))?\s*")


def interval_micros(text: str) -> int:
    """TO_DSINTERVAL of `[+-]days hours:minutes:seconds[.fraction]`. Raises ORA-01867, ORA-01850 ..."""
    match = _INTERVAL_TEXT.fullmatch(text)
    if match is None:
        raise ora(1867)
    days, hours, minutes, seconds = (int(part) for part in match.groups()[1:5])
    for value, limit, code in ((hours, 23, 1850), (minutes, 59, 1851), (seconds, 59, 1852)):
        if value > limit:
            raise ora(code)
    micros = (days * 86_400 + hours * 3_600 + minutes * 60 + seconds) * 1_000_000
    micros += int((match[6] or "").ljust(9, "0")) // 1000
    return -micros if match[1] == "-" else micros


def _binary(text: str) -> float:
    words = {"nan": "nan", "inf": "inf", "infinity": "inf", "-inf": "-inf", "-infinity": "-inf"}
    try:
        return float(words.get(text.strip().lower(), text))
    except ValueError:
        raise ora(1722) from None


def _micros(moment: mask_reading.Moment, *, fraction: bool) -> int:
    whole = (moment.value - _EPOCH) // dt.timedelta(microseconds=1)
    return whole + (moment.nanos // 1000 if fraction else 0) - (moment.offset_minutes or 0) * 60_000_000


@lru_cache(maxsize=65_536)
def _read(text: str, mask: str, today: dt.date, fraction: bool, zoned: bool) -> int:
    moment = mask_reading.read(text, mask, today)
    if not zoned and moment.offset_minutes is not None:
        raise ora(1821)
    return _micros(moment, fraction=fraction)


def _reader(*, fraction: bool, zoned: bool = False) -> Callable[[pa.Array, pa.Array], pa.Array]:
    def run(texts: pa.Array, forms: pa.Array) -> pa.Array:
        today = dt.datetime.now(dt.UTC).date()
        pairs = zip(texts.to_pylist(), forms.to_pylist(), strict=True)
        micros = [None if t is None or f is None else _read(t, f, today, fraction, zoned) for t, f in pairs]
        return pa.array(micros, pa.timestamp("us"))

    return run


def _read_nanos(texts: pa.Array, forms: pa.Array) -> pa.Array:
    today = dt.datetime.now(dt.UTC).date()
    pairs = zip(texts.to_pylist(), forms.to_pylist(), strict=True)
    nanos = [None if t is None or f is None else _nanos(mask_reading.read(t, f, today)) for t, f in pairs]
    return pa.array(nanos, pa.timestamp("ns"))


def _nanos(moment: mask_reading.Moment) -> int:
    if moment.offset_minutes is not None:
        raise ora(1821)
    value = _micros(moment, fraction=False) * 1_000 + moment.nanos
    if not -(2**63) < value < 2**63:
        raise unsupported("a time before 1678 or after 2261 with nine digits of a second")
    return value


def _rows(step: Callable[..., object], out: pa.DataType) -> Callable[..., pa.Array]:
    def run(*columns: pa.Array) -> pa.Array:
        rows = zip(*(column.to_pylist() for column in columns), strict=True)
        return pa.array([None if None in row else step(*row) for row in rows], out)

    return run


def _fixed(run: Callable[..., pa.Array], arguments: int) -> Callable[..., pa.Array]:
    """DuckDB counts the parameters of the Python function itself."""
    shapes: dict[int, Callable[..., pa.Array]] = {
        1: lambda a: run(a),  # noqa: PLW0108  its signature is what counts
        2: lambda a, b: run(a, b),  # noqa: PLW0108
        4: lambda a, b, c, d: run(a, b, c, d),  # noqa: PLW0108
    }
    return shapes[arguments]


def register(connection: duckdb.DuckDBPyConnection, character_set: CharacterSet) -> None:
    """Make functions and macros known to every connection of this database."""
    decimal_functions.register(connection)
    table: list[tuple[str, Callable[..., pa.Array], list[Any], str]] = [
        ("ora_instr", _rows(instr, pa.int64()), ["VARCHAR", "VARCHAR", "BIGINT", "BIGINT"], "BIGINT"),
        (
            "ora_cut",
            _rows(lambda s, n: s.encode()[:n].decode(errors="ignore"), pa.string()),
            ["VARCHAR", "BIGINT"],
            "VARCHAR",
        ),
        ("ora_initcap", _rows(initcap, pa.string()), ["VARCHAR"], "VARCHAR"),
        ("ora_ascii", _rows(lambda s: int.from_bytes(s[0].encode()), pa.int64()), ["VARCHAR"], "BIGINT"),
        ("ora_chr", _rows(character, pa.string()), ["BIGINT"], "VARCHAR"),
        ("ora_unistr", _rows(unistr, pa.string()), ["VARCHAR"], "VARCHAR"),
        ("ora_dsinterval", _rows(interval_micros, pa.int64()), ["VARCHAR"], "BIGINT"),
        ("ora_binary", _rows(_binary, pa.float64()), ["VARCHAR"], "DOUBLE"),
        ("ora_rowid", _rows(positions.decode, pa.int64()), ["VARCHAR"], "BIGINT"),
        ("ora_picture", _rows(_picture, pa.string()), ["BLOB", "VARCHAR"], "VARCHAR"),
        ("ora_read_picture", _rows(_read_picture, pa.binary()), ["VARCHAR", "VARCHAR"], "BLOB"),
        ("ora_other_bytes", character_set.stored_bytes, ["VARCHAR"], "BLOB"),
        ("ora_raw_to_text", _rows(raw_to_text, pa.string()), ["BLOB", "VARCHAR"], "VARCHAR"),
        ("ora_held_text", _rows(character_set.held, pa.string()), ["BLOB"], "VARCHAR"),
        ("ora_received", _rows(character_set.received, pa.string()), ["VARCHAR"], "VARCHAR"),
        ("ora_stored_through", _rows(character_set.stored_through, pa.string()), ["VARCHAR", "VARCHAR"], "VARCHAR"),
        ("ora_to_date", _reader(fraction=False), ["VARCHAR", "VARCHAR"], "TIMESTAMP"),
        ("ora_to_timestamp", _reader(fraction=True), ["VARCHAR", "VARCHAR"], "TIMESTAMP"),
        ("ora_to_timestamp_ns", _read_nanos, ["VARCHAR", "VARCHAR"], "TIMESTAMP_NS"),
        ("ora_to_timestamp_tz", _reader(fraction=True, zoned=True), ["VARCHAR", "VARCHAR"], "TIMESTAMP"),
    ]
    for name, run, inputs, output in table:
        connection.create_function(name, _fixed(run, len(inputs)), inputs, output, **decimal_functions.AS_ARROW)
    for macro in (*character_set.macros, *_MACROS):
        connection.execute(f"CREATE OR REPLACE MACRO {macro}")
    connection.execute(positions.macro())


def _picture(blob: bytes, mask: str) -> str:
    return pictures.write(decimals.decode(blob), mask)


def _read_picture(text: str, mask: str) -> bytes:
    return decimals.encode(pictures.read(text, mask))
