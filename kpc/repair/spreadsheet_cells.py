"""Cells that are safe to open in a spreadsheet, and what a spreadsheet makes of other cells.

A spreadsheet runs a cell that begins like a formula, and rewrites what looks like a number or a date. An apostrophe
before such a value makes it text. Reading removes it again. A value that begins with an apostrophe by itself gets one
only if it would lose one.
"""

from __future__ import annotations

import re

_FORMULA = r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]"  # with the wide forms that some spreadsheets take for these
_MONTH = "(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_REWRITTEN = "|".join(
    (
        r"0[0-9]+(?:\.[0-9]*)?",  # leading zeros are removed
        r"[0-9]{12,}(?:\.[0-9]+)?",  # shown, and saved, with an exponent
        r"[0-9]+(?:\.[0-9]+)?e[0-9]+",  # a code such as 12E3 is taken for a number
        r"[0-9]{1,4}[-/][0-9]{1,2}(?:[-/][0-9]{1,4})?(?: [0-9:]+)?",  # taken for a date
        r"[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{2,4}",
        r"[0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?",
        rf"[0-9]{{1,4}}[-/ ]?{_MONTH}|{_MONTH}[-/ ]?[0-9]{{1,4}}",
    )
)
_UNSAFE = re.compile(rf"'*(?:{_FORMULA}|(?:{_REWRITTEN})\Z)", re.IGNORECASE)
_EXPONENT = re.compile(r"[+-]?[0-9]+(?:[.,][0-9]+)?e[+-]?[0-9]+", re.IGNORECASE)
_ERROR = re.compile(r"#(?:VALUE!|REF!|NAME\?|DIV/0!|NUM!|NULL!|#+)")


def protected(value: str) -> str:
    """The value as a cell that a spreadsheet takes for text."""
    return f"'{value}" if _UNSAFE.match(value) else value


def restored(cell: str) -> str:
    """The value of a cell that `protected` wrote, or that a person typed."""
    return cell[1:] if cell.startswith("'") and _UNSAFE.match(cell[1:]) else cell


def spreadsheet_damage(cell: str) -> str:
    """What a spreadsheet did to a changed cell so that its value is lost; empty if nothing."""
    if _EXPONENT.fullmatch(cell.strip()):
        return "is a number in exponent form, in which a spreadsheet drops digits; write all digits"
    if _ERROR.fullmatch(cell.strip()):
        return "holds a spreadsheet's error mark instead of a value"
    return ""
