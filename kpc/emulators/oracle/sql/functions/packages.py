"""LOB constructors, and the functions of supplied packages that queries call: DBMS_LOB, UTL_RAW and UTL_I18N."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from kpc.emulators.oracle.interface import OraType
from kpc.emulators.oracle.sql.context import Context
from kpc.emulators.oracle.sql.functions.unicode_escapes import unistr
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.storage import character_set
from kpc.emulators.oracle.sql.storage.character_set import UNICODE
from kpc.emulators.oracle.sql.types import datatypes, values
from kpc.emulators.oracle.sql.types.conversion import to_text, whole
from kpc.emulators.oracle.sql.types.values import Expr

Function = Callable[[list[Expr], Context], Expr]
_BINARY = (OraType.BLOB, OraType.RAW, OraType.LONG_RAW)
_MAX_RAW_BYTES = 32_767
_MOST_RAW_IN_SQL = 2_000  # with MAX_STRING_SIZE = STANDARD


def _get_length(args: list[Expr], context: Context) -> Expr:
    """DBMS_LOB.GETLENGTH: characters of a CLOB, bytes of a BLOB."""
    if args[0].type.ora in _BINARY:
        return Expr(f"octet_length({args[0].sql})", datatypes.INTEGER)
    return Expr(f"length({to_text(args[0], context).sql})", datatypes.INTEGER)


def _lob_substr(args: list[Expr], context: Context) -> Expr:
    """DBMS_LOB.SUBSTR(lob, amount, offset); an empty result is NULL."""
    lob = args[0]
    amount = whole(args[1], context) if len(args) > 1 else str(_MAX_RAW_BYTES)
    offset = whole(args[2], context) if len(args) > 2 else "1"
    if lob.type.ora in _BINARY:
        part = f"unhex(substr(hex({lob.sql}), 2 * ({offset}) - 1, 2 * ({amount})))"
        return Expr(f"CASE WHEN octet_length({part}) > 0 THEN {part} END", datatypes.raw(2000))
    return Expr(f"nullif(substr({to_text(lob, context).sql}, {offset}, {amount}), '')", datatypes.varchar2(4000))


def _cast_to_raw(args: list[Expr], context: Context) -> Expr:
    text = to_text(args[0], context)
    data = f"ora_stored_bytes({text.sql})"
    if text.type.size > _MOST_RAW_IN_SQL:
        too_long = "error('ORA-06502: PL/SQL: numeric or value error: raw variable length too long')"
        data = f"CASE WHEN octet_length({data}) > {_MOST_RAW_IN_SQL} THEN {too_long} ELSE {data} END"
    return Expr(data, datatypes.raw(max(min(text.type.size, _MOST_RAW_IN_SQL), 1)))


def _cast_to_varchar2(args: list[Expr], _context: Context) -> Expr:
    if args[0].type.ora not in _BINARY:
        raise ora(932, "RAW", args[0].type.word)
    return Expr(f"ora_held_text({args[0].sql})", datatypes.varchar2(args[0].type.size or 4000))


def _unistr(args: list[Expr], context: Context) -> Expr:
    r"""UNISTR: `\` and four hexadecimal digits are a UTF-16 code unit, `\\` is a backslash."""
    text = to_text(args[0], context)
    kind = datatypes.varchar2(max(text.type.chars, 1), size=2 * max(text.type.chars, 1), national=True)
    if isinstance(text.constant, str):
        return replace(values.text(unistr(text.constant)), type=kind, is_literal=False)
    return Expr(f"ora_unistr({text.sql})", kind)


def _string_to_raw(args: list[Expr], context: Context) -> Expr:
    """UTL_I18N.STRING_TO_RAW(text, 'AL32UTF8'): the text's UTF-8; a RAW in SQL ends at 2,000 bytes."""
    if len(args) < 2 or args[1].constant != UNICODE:
        raise unsupported(f"UTL_I18N.STRING_TO_RAW to another character set than {UNICODE}")
    text = to_text(args[0], context)
    data = f"ora_utf8({text.sql})"
    if text.type.size > _MOST_RAW_IN_SQL:
        data = f"ora_short_utf8({text.sql})"
    return Expr(data, datatypes.raw(max(min(text.type.size, _MOST_RAW_IN_SQL), 1)))


def _raw_to_nchar(args: list[Expr], _context: Context) -> Expr:
    """UTL_I18N.RAW_TO_NCHAR(raw, character set); a byte that means nothing in the set becomes U+FFFD."""
    if args[0].type.ora is not OraType.RAW:
        raise ora(932, "RAW", args[0].type.word)
    name = args[1].constant if len(args) > 1 else None
    if not isinstance(name, str) or name not in character_set.NAMES:
        raise unsupported(f"UTL_I18N.RAW_TO_NCHAR from {name!r}")
    size = args[0].type.size or _MOST_RAW_IN_SQL
    kind = datatypes.varchar2(size, size=2 * size, national=True)
    return Expr(f"ora_raw_to_text({args[0].sql}, {values.quote(name)})", kind)


FUNCTIONS: dict[str, tuple[int, int, Function]] = {
    "EMPTY_CLOB": (0, 0, lambda _args, _context: Expr("''::VARCHAR", datatypes.CLOB, nullable=False)),
    "EMPTY_BLOB": (0, 0, lambda _args, _context: replace(values.binary(b"", datatypes.BLOB), nullable=False)),
    "UNISTR": (1, 1, _unistr),
    "DBMS_LOB.GETLENGTH": (1, 1, _get_length),
    "DBMS_LOB.SUBSTR": (1, 3, _lob_substr),
    "UTL_RAW.CAST_TO_RAW": (1, 1, _cast_to_raw),
    "UTL_RAW.CAST_TO_VARCHAR2": (1, 1, _cast_to_varchar2),
    "UTL_RAW.LENGTH": (1, 1, _get_length),
    "UTL_I18N.STRING_TO_RAW": (1, 2, _string_to_raw),
    "UTL_I18N.RAW_TO_NCHAR": (1, 2, _raw_to_nchar),
}
