"""Oracle's scalar functions, one row each in `FUNCTIONS`: name -> (fewest arguments, most arguments, how it is made).

A function that is not here is refused: ORA-03001 if Oracle has it, otherwise ORA-00904.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from kpc.emulators.oracle.interface import OraError, OraType
from kpc.emulators.oracle.sql.context import Context
from kpc.emulators.oracle.sql.functions import dates, environment, numbers, packages, texts
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.types import comparison, datatypes, values
from kpc.emulators.oracle.sql.types.conversion import (
    coerce,
    common_type,
    number_as,
    to_number,
    to_rowid,
    to_text,
    whole,
    wide,
)
from kpc.emulators.oracle.sql.types.datatypes import SqlType
from kpc.emulators.oracle.sql.types.values import Expr

Function = Callable[[list[Expr], Context], Expr]


def call(name: str, args: list[Expr], context: Context) -> Expr:
    """The value of function `name`. Raises `OraError`.

    ORA-00904 for an unknown one, ORA-03001 for one that only Oracle has, ORA-00938 and ORA-00939 for too few and too
    many arguments.
    """
    if name not in FUNCTIONS:
        if name in NOT_EMULATED:
            raise unsupported(f"function {name}")
        raise ora(904, values.name(name))
    fewest, most, make = FUNCTIONS[name]
    if len(args) < fewest:
        raise ora(938)
    if len(args) > most:
        raise ora(939)
    return make(args, context)


def like_first(args: list[Expr], context: Context) -> tuple[list[Expr], SqlType]:
    """All arguments in one type: that of the first that is not NULL decides which family."""
    kinds = [arg.type for arg in args if not arg.is_null]
    if not kinds:
        return args, datatypes.NULL
    first = kinds[0]
    try:
        kind = common_type(kinds)
    except OraError:  # different families: convert to the first one's
        made = [coerce(arg, datatypes.WIDE if first.is_number else first, context) for arg in args]
        kind = common_type([arg.type for arg in made])
        return made, replace(kind, size=max(kind.size, *(a.type.size for a in made))) if kind.is_text else kind
    return [coerce(arg, kind, context) for arg in args], kind


def varying(kind: SqlType) -> SqlType:
    """CHAR results of NVL, DECODE and COALESCE are VARCHAR2."""
    return replace(kind, ora=OraType.VARCHAR2) if kind.ora is OraType.CHAR else kind


def _coalesce(args: list[Expr], context: Context) -> Expr:
    made, kind = like_first(args, context)
    if kind.is_null:
        return values.NULL
    return Expr(
        f"coalesce({', '.join(arg.sql for arg in made)})", varying(kind), nullable=all(a.nullable for a in made)
    )


def _nvl2(args: list[Expr], context: Context) -> Expr:
    made, kind = like_first(args[1:], context)
    return Expr(f"CASE WHEN {args[0].sql} IS NOT NULL THEN {made[0].sql} ELSE {made[1].sql} END", varying(kind))


def _nullif(args: list[Expr], context: Context) -> Expr:
    if args[0].is_null:
        raise ora(932, "-", "CHAR")
    condition = comparison.compare("=", args[0], args[1], context)
    return Expr(f"CASE WHEN {condition} THEN NULL ELSE {args[0].sql} END", varying(args[0].type))


def _decode(args: list[Expr], context: Context) -> Expr:
    subject, rest = args[0], args[1:]
    pairs = [(rest[i], rest[i + 1]) for i in range(0, len(rest) - 1, 2)]
    default = rest[-1] if len(rest) % 2 else values.NULL
    results, kind = like_first([result for _, result in pairs] + [default], context)
    tests = [comparison.same(subject, search, context) for search, _ in pairs]
    whens = " ".join(f"WHEN {test} THEN {result.sql}" for test, result in zip(tests, results[:-1], strict=True))
    return Expr(f"CASE {whens} ELSE {results[-1].sql} END", varying(kind))


def _extreme(duckdb_name: str) -> Function:
    def make(args: list[Expr], context: Context) -> Expr:
        deciding = _deciding(duckdb_name, args)
        if len(deciding) == 1 and len(args) > 1:
            return replace(deciding[0], type=datatypes.free_number(deciding[0].type.digits, deciding[0].type.places))
        made, kind = like_first(deciding, context)
        anything_null = " OR ".join(f"{arg.sql} IS NULL" for arg in made)
        listed = ", ".join(arg.sql for arg in made)
        return Expr(f"CASE WHEN {anything_null} THEN NULL ELSE {duckdb_name}({listed}) END", varying(kind))

    return make


def _deciding(duckdb_name: str, args: list[Expr]) -> list[Expr]:
    """The arguments without the constants that lose against any value of the others' types.

    A constant of 38 nines beside a column would otherwise take every row through the wide form.
    """
    varied = [arg for arg in args if arg.constant is None]
    if not varied or any(not arg.type.is_number or arg.type.is_wide or arg.is_null for arg in varied):
        return args
    limit = 10 ** max(arg.type.digits - arg.type.places for arg in varied)
    sign = 1 if duckdb_name == "least" else -1

    def loses(arg: Expr) -> bool:
        return isinstance(arg.constant, int | Decimal) and sign * arg.constant >= limit

    return [arg for arg in args if not loses(arg)]


def _ora_hash(args: list[Expr], context: Context) -> Expr:
    """Buckets 0 .. max; which value falls into which bucket differs from Oracle's function."""
    text = to_text(args[0], context).sql
    seed = to_text(args[2], context).sql if len(args) > 2 else "'0'"
    highest = number_as(to_number(args[1], context), datatypes.INTEGER).sql if len(args) > 1 else "4294967295"
    sql = f"(hash(coalesce({text}, '') || '|' || {seed}) % ({highest} + 1)::UBIGINT)::BIGINT"
    return Expr(sql, datatypes.INTEGER)


_DIGESTS = {"MD5": ("md5", 16), "SHA1": ("sha1", 20), "SHA256": ("sha256", 32)}


def _standard_hash(args: list[Expr], context: Context) -> Expr:
    method = args[1].constant if len(args) > 1 else "SHA1"
    if not isinstance(method, str) or method.upper() not in _DIGESTS:
        raise unsupported(f"STANDARD_HASH with {method!r}")
    function, size = _DIGESTS[method.upper()]
    kind = args[0].type
    if kind.is_text and kind.ora is not OraType.CLOB:
        data = f"ora_stored_bytes({args[0].sql})"
    elif kind.is_number:
        data = wide(args[0]).sql
    elif kind.ora is OraType.RAW:
        data = args[0].sql
    else:
        raise unsupported(f"STANDARD_HASH of {kind.word}")
    return Expr(f"unhex({function}({data}))", datatypes.raw(size))


def _to_clob(args: list[Expr], context: Context) -> Expr:
    return replace(to_text(args[0], context), type=datatypes.CLOB, is_literal=False)


def _to_lob(args: list[Expr], context: Context) -> Expr:
    return coerce(args[0], datatypes.BLOB, context)


def _hextoraw(args: list[Expr], context: Context) -> Expr:
    text = to_text(args[0], context)
    return Expr(f"ora_unhex({text.sql})", datatypes.raw(max(text.type.chars // 2, 1)))


def _rawtohex(args: list[Expr], context: Context) -> Expr:
    if args[0].type.ora is not OraType.RAW:
        raise unsupported(f"RAWTOHEX of {args[0].type.word}")
    return to_text(args[0], context)


def _bitand(args: list[Expr], context: Context) -> Expr:
    return Expr(f"({whole(args[0], context)} & {whole(args[1], context)})", datatypes.INTEGER)


FUNCTIONS: dict[str, tuple[int, int, Function]] = {
    **texts.FUNCTIONS,
    **numbers.FUNCTIONS,
    **dates.FUNCTIONS,
    **packages.FUNCTIONS,
    **environment.FUNCTIONS,
    "BITAND": (2, 2, _bitand),
    "NVL": (2, 2, _coalesce),
    "NVL2": (3, 3, _nvl2),
    "COALESCE": (2, 255, _coalesce),
    "NULLIF": (2, 2, _nullif),
    "DECODE": (3, 255, _decode),
    "GREATEST": (1, 255, _extreme("greatest")),
    "LEAST": (1, 255, _extreme("least")),
    "ORA_HASH": (1, 3, _ora_hash),
    "STANDARD_HASH": (1, 2, _standard_hash),
    "TO_CLOB": (1, 1, _to_clob),
    "TO_NCLOB": (
        1,
        1,
        lambda args, context: replace(_to_clob(args, context), type=replace(datatypes.CLOB, national=True)),
    ),
    "TO_BLOB": (1, 1, _to_lob),
    "HEXTORAW": (1, 1, _hextoraw),
    "RAWTOHEX": (1, 1, _rawtohex),
    "CHARTOROWID": (1, 1, lambda args, context: to_rowid(args[0])),
    "ROWIDTOCHAR": (1, 1, lambda args, context: to_text(args[0], context)),
}

# Oracle has these; the emulator does not.
_NAMES = """
    ACOS APPROX_COUNT_DISTINCT ASCIISTR ASIN ATAN ATAN2 BFILENAME BIN_TO_NUM CARDINALITY COLLATION COMPOSE
    CONVERT CORR COS COSH COVAR_POP COVAR_SAMP CUME_DIST CUBE_TABLE DBMS_RANDOM DECOMPOSE DEREF DUMP EXISTSNODE
    EXTRACTVALUE GROUPING GROUPING_ID GROUP_ID JSON_ARRAY JSON_EXISTS JSON_OBJECT JSON_QUERY JSON_TABLE
    JSON_VALUE LNNVL LOG MEDIAN NANVL NEW_TIME NLSSORT NLS_INITCAP NLS_LOWER NLS_UPPER NUMTOYMINTERVAL
    ORA_INVOKING_USER PERCENTILE_CONT PERCENTILE_DISC PERCENT_RANK RATIO_TO_REPORT RAWTONHEX REGR_SLOPE SIN SINH
    SOUNDEX STATS_MODE STDDEV STDDEV_POP STDDEV_SAMP SYS_CONNECT_BY_PATH SYS_GUID SYS_XMLGEN TAN TANH
    TO_MULTI_BYTE TO_SINGLE_BYTE TO_YMINTERVAL TREAT TZ_OFFSET USERENV VALUE VARIANCE VAR_POP VAR_SAMP VSIZE
    WIDTH_BUCKET XMLAGG XMLELEMENT XMLTYPE
"""
NOT_EMULATED = frozenset(_NAMES.split())
