"""Text in Oracle's SQL by docs/values.md: trimmed, with LF line ends, cut, masked; and what must not occur in it.

All text is NVARCHAR2 (UTF-16), so that it works in a database of any character set: WE8MSWIN1252 has no literal for
U+3000. Lengths count code points (LENGTH4, SUBSTR4), because LENGTH of NVARCHAR2 counts UTF-16 units.
"""

from __future__ import annotations

from kpc.catalog.character_sets import UNICODE, letters
from kpc.catalog.types import Column

MOST_CHARS = 2_000  # of a source column: an NVARCHAR2 in SQL is limited to 4,000 bytes of UTF-16
_PRINTABLE = range(0x20, 0x7F)
_UNDEFINED = "\uffff"  # refused as a character of a value


def national(text: str) -> str:
    """An NVARCHAR2 literal, for any database character set."""
    if all(ord(letter) in _PRINTABLE for letter in text) and "\\" not in text:
        return "N'" + text.replace("'", "''") + "'"
    units = text.encode("utf-16-be")
    codes = [int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2)]
    return "UNISTR('" + "".join(_unit(code) for code in codes) + "')"


def _unit(code: int) -> str:
    letter = chr(code)
    return letter if code in _PRINTABLE and letter not in "'\\" else f"\\{code:04X}"


# The code points with the property White_Space (Unicode, PropList.txt).
WHITE_SPACE = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"
)
REFUSED = "".join(chr(code) for code in range(0x20) if chr(code) not in "\t\n\r") + "\ufffe\uffff"
_SPACE = national(WHITE_SPACE)
_CRLF, _CR, _LF = national("\r\n"), national("\r"), national("\n")


def stored_text(column: Column) -> str:
    """The column's text as the database holds it, or with its bytes read as `stored_as` says."""
    name = f'"{column.name}"'
    if column.stored_as is None:
        return f"TO_NCHAR({name})"
    stored = f"UTL_RAW.CAST_TO_RAW({name})"
    if column.stored_as == UNICODE:
        return f"UTL_I18N.RAW_TO_NCHAR({stored},'{UNICODE}')"
    # One character per byte, then the character that the byte means in the set.
    meant = letters(column.stored_as, _UNDEFINED)[0x80:]
    latin = "".join(map(chr, range(0x80, 0x100)))
    return f"TRANSLATE(UTL_I18N.RAW_TO_NCHAR({stored},'WE8ISO8859P1'),{national(latin)},{national(meant)})"


def right_trimmed(text: str) -> str:
    return f"RTRIM({text},{_SPACE})"


def left_trimmed(text: str) -> str:
    return f"LTRIM({text},{_SPACE})"


def with_line_feeds(text: str) -> str:
    """CRLF and a lone CR become LF."""
    return f"REPLACE(REPLACE({text},{_CRLF},{_LF}),{_CR},{_LF})"


def cut(text: str, chars: int) -> str:
    """At most this many characters, without white space at the end of a cut text."""
    return f"CASE WHEN LENGTH4({text})>{chars} THEN {right_trimmed(f'SUBSTR4({text},1,{chars})')} ELSE {text} END"


def masked(text: str) -> str:
    """A star for each character but the last four; only stars for a value of four or fewer."""
    stars = f"RPAD(N'*',LENGTH4({text})-4,N'*')||SUBSTR4({text},-4)"
    return f"CASE WHEN LENGTH4({text})>4 THEN {stars} ELSE RPAD(N'*',LENGTH4({text}),N'*') END"


def has_refused(text: str) -> str:
    """Whether a text that is not NULL has a character that XML cannot carry."""
    kept = f"TRANSLATE({text},{national('a' + REFUSED)},N'a')"  # the letter `a` is kept: TRANSLATE needs at least one
    return f"NVL(LENGTH4({kept}),0)<LENGTH4({text})"
