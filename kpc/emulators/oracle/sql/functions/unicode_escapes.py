"""UNISTR's escapes: `\\` and four hexadecimal digits are a UTF-16 code unit."""

from __future__ import annotations

import re

from kpc.emulators.oracle.sql.messages import ora


def unistr(text: str) -> str:
    """UNISTR's escapes resolved. Raises ORA-30186 for a backslash without four hexadecimal digits."""
    units = re.sub(r"\\\\|\\([0-9A-Fa-f]{4})|\\", _code_unit, text)
    return units.encode("utf-16-be", "surrogatepass").decode("utf-16-be", "replace")


def _code_unit(match: re.Match[str]) -> str:
    if match[0] == "\\":
        raise ora(30186)
    return chr(int(match[1], 16)) if match[1] else "\\"
