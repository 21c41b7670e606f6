"""Character functions. A result of '' is NULL."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from kpc.emulators.oracle.interface import OraType
from kpc.emulators.oracle.sql.context import Context
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.types import datatypes
from kpc.emulators.oracle.sql.types.conversion import to_text, whole
from kpc.emulators.oracle.sql.types.datatypes import MAX_TEXT, SqlType
from kpc.emulators.oracle.sql.types.values import Expr, quote

Function = Callable[[list[Expr], Context], Expr]


def _sized(kind: SqlType, chars: int | None = None, size: int | None = None) -> SqlType:
    """The VARCHAR2 (or CLOB) that a function makes of a text of type `kind`."""
    if kind.ora is OraType.CLOB:
        return kind
    chars = kind.chars if chars is None else chars
    size = kind.size if size is None else size
    return datatypes.varchar2(max(min(chars, MAX_TEXT), 1), size=max(min(size, MAX_TEXT), 1), national=kind.national)


def _case(name: str) -> Function:
    def make(args: list[Expr], context: Context) -> Expr:
        text = to_text(args[0], context)
        return Expr(f"{name}({text.sql})", text.type)

    return make


def _substr(args: list[Expr], context: Context) -> Expr:
    text = to_text(args[0], context)
    start = whole(args[1], context)
    count = whole(args[2], context) if len(args) > 2 else "2147483647"
    known = args[2].constant if len(args) > 2 else None
    chars = min(text.type.chars, max(int(known), 1)) if isinstance(known, int | Decimal) else None
    per_char = max(text.type.size // max(text.type.chars, 1), 1)
    kind = _sized(text.type, chars, None if chars is None else chars * per_char)
    first = args[1].constant
    if (
        isinstance(first, int | Decimal)
        and first >= 1
        and (len(args) == 2 or (isinstance(known, int | Decimal) and known >= 1))
    ):
        return Expr(
            f"nullif(substr({text.sql}, {start}, {count}), '')", kind
        )  # a macro takes DuckDB five times as long
    return Expr(f"ora_substr({text.sql}, {start}, {count})", kind)


def _instr(args: list[Expr], context: Context) -> Expr:
    text, part = to_text(args[0], context), to_text(args[1], context)
    if len(args) == 2:
        return Expr(f"instr({text.sql}, {part.sql})::BIGINT", datatypes.INTEGER)
    start = whole(args[2], context)
    nth = whole(args[3], context) if len(args) > 3 else "1::BIGINT"
    return Expr(f"ora_instr({text.sql}, {part.sql}, {start}, {nth})", datatypes.INTEGER)


def _pad(name: str) -> Function:
    def make(args: list[Expr], context: Context) -> Expr:
        text = to_text(args[0], context)
        count = whole(args[1], context)
        fill = to_text(args[2], context).sql if len(args) > 2 else "' '"
        known = args[1].constant
        chars = int(known) if isinstance(known, int | Decimal) else MAX_TEXT
        kind = _sized(text.type, chars, chars * (1 if args[1].is_literal and text.type.size == text.type.chars else 4))
        sql = f"CASE WHEN {count} >= 1 THEN {name}({text.sql}, least({count}, {MAX_TEXT})::INTEGER, {fill}) END"
        return Expr(sql, kind)

    return make


def _trim(name: str) -> Function:
    def make(args: list[Expr], context: Context) -> Expr:
        text = to_text(args[0], context)
        letters = to_text(args[1], context).sql if len(args) > 1 else "' '"
        sql = f"{name}({text.sql}, {letters})"
        if len(args) > 1 and len(str(args[1].constant)) > 1 and name != "trim":
            sql = f"ora_{name}({text.sql}, {letters})"
        return Expr(f"nullif({sql}, '')", _sized(text.type))

    return make


def trim(text: Expr, letters: Expr | None, position: str, context: Context) -> Expr:
    """TRIM([LEADING | TRAILING | BOTH] [letter FROM] text)."""
    if letters is not None and isinstance(letters.constant, str) and len(letters.constant) != 1:
        raise ora(30001)
    name = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(position, "trim")
    return _trim(name)([text] if letters is None else [text, letters], context)


def _replace(args: list[Expr], context: Context) -> Expr:
    text, search = to_text(args[0], context), to_text(args[1], context)
    if search.is_null or args[1].is_null:
        return text
    new = f"coalesce({to_text(args[2], context).sql}, '')" if len(args) > 2 else "''"
    sql = f"nullif(replace({text.sql}, {search.sql}, {new}), '')"
    if search.constant is None:
        sql = f"CASE WHEN {search.sql} IS NULL THEN {text.sql} ELSE {sql} END"
    return Expr(sql, _sized(text.type, MAX_TEXT, MAX_TEXT) if len(args) > 2 else _sized(text.type))


def _translate(args: list[Expr], context: Context) -> Expr:
    text, old, new = (to_text(arg, context) for arg in args)
    return Expr(f"nullif(translate({text.sql}, {old.sql}, {new.sql}), '')", _sized(text.type))


def _length(name: str) -> Function:
    def make(args: list[Expr], context: Context) -> Expr:
        return Expr(f"{name}({to_text(args[0], context).sql})::BIGINT", datatypes.INTEGER)

    return make


def _stored_length(args: list[Expr], context: Context) -> Expr:
    return Expr(f"octet_length(ora_stored_bytes({to_text(args[0], context).sql}))", datatypes.INTEGER)


def _concat(args: list[Expr], context: Context) -> Expr:
    from kpc.emulators.oracle.sql.types.arithmetic import concatenate  # noqa: PLC0415  arithmetic needs no functions, this needs it

    return concatenate(args, context)


def _python(name: str) -> Function:
    def make(args: list[Expr], context: Context) -> Expr:
        text = to_text(args[0], context)
        return Expr(f"{name}({text.sql})", _sized(text.type))

    return make


def _ascii(args: list[Expr], context: Context) -> Expr:
    return Expr(f"ora_ascii({to_text(args[0], context).sql})", datatypes.INTEGER)


def _chr(args: list[Expr], context: Context) -> Expr:
    return Expr(f"ora_chr({whole(args[0], context)})", datatypes.varchar2(1, size=4))


# Regular expressions run in RE2, so only patterns that mean the same to it are taken.
_FOREIGN = re.compile(
    r"\\[1-9]|\(\?|\[\[[.=:](?!alpha|digit|alnum|upper|lower|space|punct|cntrl|print|xdigit|blank|graph)|\\[AZzbBkK]"
)


def _pattern(e: Expr, *, whole_match_only: bool) -> str:
    if not isinstance(e.constant, str):
        raise unsupported("a regular expression that is not a constant")
    if _FOREIGN.search(e.constant):
        raise unsupported(f"regular expression {e.constant}")
    if not whole_match_only and re.search(r"(?<!\\)\||[*+?}]\?", e.constant):
        raise unsupported(
            "alternation or non-greedy repetition in a regular expression (which match is taken could differ)"
        )
    return quote(e.constant)


def _flags(args: list[Expr], index: int) -> str:
    given = args[index].constant if len(args) > index else ""
    if len(args) > index and args[index].is_null:
        given = ""
    if not isinstance(given, str) or not set(given) <= set("icn"):
        raise unsupported(f"regular expression flags {given!r}")
    case = next((flag for flag in reversed(given) if flag in "ic"), "c")
    return case + ("s" if "n" in given else "")


def regexp_like(args: list[Expr], context: Context) -> str:
    """REGEXP_LIKE, a condition."""
    if not 2 <= len(args) <= 3:
        raise ora(909)
    text = to_text(args[0], context)
    return f"regexp_matches({text.sql}, {_pattern(args[1], whole_match_only=True)}, '{_flags(args, 2)}')"


def _regexp_replace(args: list[Expr], context: Context) -> Expr:
    text = to_text(args[0], context)
    new = "''"
    if len(args) > 2 and not args[2].is_null:
        if not isinstance(args[2].constant, str):
            raise unsupported("a replacement that is not a constant")
        new = quote(args[2].constant)
    if len(args) > 3 and any(
        str(arg.constant) != expected for arg, expected in zip(args[3:5], ("1", "0"), strict=False)
    ):
        raise unsupported("REGEXP_REPLACE with position or occurrence")
    pattern = _pattern(args[1], whole_match_only=False)
    sql = f"nullif(regexp_replace({text.sql}, {pattern}, {new}, 'g{_flags(args, 5)}'), '')"
    return Expr(sql, _sized(text.type, MAX_TEXT, MAX_TEXT))


def _regexp_substr(args: list[Expr], context: Context) -> Expr:
    text = to_text(args[0], context)
    pattern = _pattern(args[1], whole_match_only=False)
    if len(args) > 2 and str(args[2].constant) != "1":
        raise unsupported("REGEXP_SUBSTR with a start position")
    nth = whole(args[3], context) if len(args) > 3 else "1"
    if len(args) > 5:
        raise unsupported("REGEXP_SUBSTR with a subexpression")
    sql = f"nullif(regexp_extract_all({text.sql}, {pattern}, 0, '{_flags(args, 4)}')[{nth}], '')"
    return Expr(sql, _sized(text.type))


def _regexp_count(args: list[Expr], context: Context) -> Expr:
    text = to_text(args[0], context)
    if len(args) > 2 and str(args[2].constant) != "1":
        raise unsupported("REGEXP_COUNT with a start position")
    found = f"regexp_extract_all({text.sql}, {_pattern(args[1], whole_match_only=False)}, 0, '{_flags(args, 3)}')"
    return Expr(f"len({found})::BIGINT", datatypes.INTEGER)


def _to_nchar(args: list[Expr], context: Context) -> Expr:
    text = to_text(args[0], context)
    return replace(text, type=replace(text.type, national=True))


FUNCTIONS: dict[str, tuple[int, int, Function]] = {
    "UPPER": (1, 1, _case("ora_upper")),
    "LOWER": (1, 1, _case("lower")),
    "INITCAP": (1, 1, _python("ora_initcap")),
    "REVERSE": (1, 1, _python("reverse")),
    "SUBSTR": (2, 3, _substr),
    "SUBSTR4": (2, 3, _substr),
    "INSTR": (2, 4, _instr),
    "LPAD": (2, 3, _pad("lpad")),
    "RPAD": (2, 3, _pad("rpad")),
    "LTRIM": (1, 2, _trim("ltrim")),
    "RTRIM": (1, 2, _trim("rtrim")),
    "REPLACE": (2, 3, _replace),
    "TRANSLATE": (3, 3, _translate),
    "LENGTH": (1, 1, _length("length")),
    "LENGTH4": (1, 1, _length("length")),  # code points, which LENGTH of the emulator counts as well
    "LENGTHB": (1, 1, _stored_length),
    "CONCAT": (2, 2, _concat),
    "ASCII": (1, 1, _ascii),
    "CHR": (1, 1, _chr),
    "REGEXP_REPLACE": (2, 6, _regexp_replace),
    "REGEXP_SUBSTR": (2, 6, _regexp_substr),
    "REGEXP_COUNT": (2, 4, _regexp_count),
    "TO_NCHAR": (1, 1, _to_nchar),
}
