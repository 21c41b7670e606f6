"""Character sets in which a text column's bytes may have been stored: what `Column.stored_as` can name.

A client with a wrong NLS_LANG stored its bytes unconverted: Thai of TIS-620 lies in a database of Latin letters, and
the server converts it to UTF-8 as such, or as U+FFFD. Such a column is read as bytes (UTL_RAW.CAST_TO_RAW) and decoded
here.
"""

from __future__ import annotations

UNICODE = "AL32UTF8"
# Python's codec, and the bytes that the set leaves undefined although the codec maps them to controls.
_CODECS: dict[str, tuple[str, range]] = {
    "TIS620": ("tis_620", range(0x80, 0xA1)),
    "MSWIN874": ("cp874", range(0)),  # Windows: TIS-620 with the euro, quotes and dashes
    UNICODE: ("utf-8", range(0)),
}
STORED_AS = tuple(_CODECS)
MOST_BYTES = 2_000  # of a RAW in Oracle's SQL


def letters(name: str, undefined: str) -> str:
    """The character of each of the 256 bytes of a single-byte set; `undefined` for a byte that has none."""
    codec, without_meaning = _CODECS[name]
    return "".join(
        undefined if byte in without_meaning else bytes((byte,)).decode(codec, "replace").replace("\ufffd", undefined)
        for byte in range(256)
    )
