"""The database character set: the one place where stored bytes become the text that a client is given.

The store holds a text as the database's character set reads its bytes. A byte that means nothing in that set, such as
a Thai letter's in US7ASCII, is held as a *stray*: a character of a private-use plane that stands for this one byte. So
functions and comparisons work on characters, and no byte is lost:

    stored_bytes   what lies in the block: UTL_RAW.CAST_TO_RAW, STANDARD_HASH, LENGTHB
    held           the reverse: UTL_RAW.CAST_TO_VARCHAR2, and text that a client stored through a wrong NLS_LANG
    received       text of a client with the right NLS_LANG: a letter that the set lacks becomes its replacement
    delivered      what a client whose character set is UTF-8 (every thin client) receives

Where the database is not AL32UTF8 the server converts: a stray arrives as U+FFFD. AL32UTF8 is not converted at all, so
a stray arrives as the byte it is, and the client fails to decode it.
"""

from __future__ import annotations

import codecs
import re
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from kpc.emulators.errors import OptionError
from kpc.emulators.oracle.sql.types.values import once

UNICODE = "AL32UTF8"
_STRAYS = 0x10F800  # plus the byte
_STRAY = re.compile("[\U0010f880-\U0010f8ff]")
_STRAY_UTF8 = (b"\xf4\x8f\xa2", b"\xf4\x8f\xa3")  # how a stray begins in UTF-8
_STRAY_PATTERN = r"[\x{10F880}-\x{10F8FF}]"
# Codec of Python, bytes that the set leaves undefined although the codec does not, replacement of what it lacks.
_SETS: dict[str, tuple[str, range, str]] = {
    UNICODE: ("utf-8", range(0), "\ufffd"),
    "US7ASCII": ("ascii", range(0), "?"),
    "WE8ISO8859P1": ("latin-1", range(0), "¿"),
    "WE8MSWIN1252": ("cp1252", range(0), "¿"),
    "TH8TISASCII": ("tis_620", range(0x80, 0xA1), "?"),
}
# What a client stored whose NLS_LANG named the database's set, so that nobody converted: its own bytes.
CLIENT_CODECS = {"TIS620": "tis_620", "MSWIN874": "cp874"}
NAMES = tuple(_SETS)


class CharacterSet:
    """One of `NAMES`. Raises `OptionError` for another name."""

    def __init__(self, name: str = UNICODE) -> None:
        if name not in _SETS:
            raise OptionError(f"{name} is not a character set of the emulator.", f"Give one of {', '.join(NAMES)}.")
        self.name = name
        self._codec, self._undefined, self._replacement = _SETS[name]
        self._has_strays = False

    @property
    def is_unicode(self) -> bool:
        return self.name == UNICODE

    @cached_property
    def _letters(self) -> str:
        """The character of each byte of a single-byte set."""
        return "".join(self._letter(byte) for byte in range(256))

    def _letter(self, byte: int) -> str:
        try:
            return chr(_STRAYS + byte) if byte in self._undefined else bytes((byte,)).decode(self._codec)
        except UnicodeDecodeError:
            return chr(_STRAYS + byte)

    @cached_property
    def _bytes(self) -> dict[int, int]:
        return {ord(letter): byte for byte, letter in enumerate(self._letters)}

    def bytes_of(self, text: str) -> bytes:
        """The stored bytes of one held text."""
        if self.is_unicode:
            if _STRAY.search(text) is None:
                return text.encode()
            return b"".join(bytes((ord(c) - _STRAYS,)) if _STRAY.match(c) else c.encode() for c in text)
        # A letter that the set lacks can only come from a function such as UNISTR.
        return bytes(self._bytes.get(ord(letter), ord("?")) for letter in text)

    def held(self, data: bytes) -> str:
        """Bytes as the database reads them."""
        if not self.is_unicode:
            return codecs.charmap_decode(data, "strict", self._letters)[0]
        text = data.decode("utf-8", "surrogateescape")
        strays = re.sub("[\udc80-\udcff]", lambda match: chr(_STRAYS + ord(match[0]) - 0xDC00), text)
        self._has_strays |= strays != text
        return strays

    def received(self, text: str) -> str:
        """The text of a client, converted into this set."""
        if self.is_unicode or text.isascii():
            return text
        return "".join(letter if ord(letter) in self._bytes else self._replacement for letter in text)

    def stored_through(self, text: str, client: str) -> str:
        """The text of a client whose bytes nobody converted; what the client cannot spell becomes `?`."""
        return self.held(text.encode(CLIENT_CODECS[client], "replace"))

    def stored_bytes(self, texts: pa.Array) -> pa.Array:
        """`bytes_of` of a column of strings."""
        if self.is_unicode and not self._has_strays:
            return texts.cast(pa.binary())
        return pa.array([None if t is None else self.bytes_of(t) for t in texts.to_pylist()], pa.binary())

    @property
    def macros(self) -> tuple[str, str]:
        """DuckDB macros of a held text: `ora_stored_bytes` gives `bytes_of`, by `ora_other_bytes` where it has to.

        `ora_utf8` gives UTF-8 as the server converts it: strays become U+FFFD.
        """
        has_strays = f"regexp_matches(x, '{_STRAY_PATTERN}')"
        stored = once("t", f"CASE WHEN {has_strays} THEN ora_other_bytes(x) ELSE encode(x) END")
        replaced = f"regexp_replace(x, '{_STRAY_PATTERN}', '\ufffd', 'g')"
        return (
            f"ora_stored_bytes(t) AS {stored if self.is_unicode else 'ora_other_bytes(t)'}",
            f"ora_utf8(t) AS {once('t', f'encode(CASE WHEN {has_strays} THEN {replaced} ELSE x END)')}",
        )

    def delivered(self, texts: pa.Array, *, is_lob: bool = False) -> pa.Array:
        """A column of held texts as the client receives it; its strings are not UTF-8 where the bytes are not.

        A CLOB is stored as UTF-16 in AL32UTF8, so its strays were replaced when it was written.
        """
        if self.is_unicode and not self._has_strays:
            return texts
        if not self.is_unicode or is_lob:
            return pc.replace_substring_regex(texts, _STRAY_PATTERN, "\ufffd")
        data = texts.buffers()[2]
        held = b"" if data is None else data.to_pybytes()
        if not any(mark in held for mark in _STRAY_UTF8):
            return texts
        stored = self.stored_bytes(texts)
        return pa.Array.from_buffers(pa.string(), len(stored), stored.buffers(), stored.null_count, stored.offset)


def raw_to_text(data: bytes, name: str) -> str:
    """Bytes of another character set as text; what means nothing in it becomes U+FFFD."""
    return _STRAY.sub("\ufffd", CharacterSet(name).held(data))
