"""Text: what is trimmed, rejected and cut, and how a personal value is masked.

Text is never normalised (NFC would reorder Thai vowel and tone marks that were typed in another order, and Thai must
arrive byte for byte). Only its ends and its line breaks change, because Salesforce would change them anyway.
"""

from __future__ import annotations

import polars as pl
import polars_hash as plh

UNDECODABLE = "\uffff"  # begins a text that the extract could not decode; its bytes in hexadecimal follow
VISIBLE_CHARACTERS = 4  # of a masked value

# Not allowed in XML 1.0, and so in much of Salesforce: C0 controls except TAB, LF and CR, and two non-characters.
# The canonical text of checksums also uses 0x1E and 0x1F.
_REFUSED = r"[\x00-\x08\x0B\x0C\x0E-\x1F\x{FFFE}\x{FFFF}]"

# Anything but printable ASCII without special meaning in a CSV file or an external id; a blank counts as unusual.
_UNUSUAL = r"[^\x21\x23-\x2B\x2D-\x7B\x7D\x7E]"


def has_unusual_character(value: pl.Expr) -> pl.Expr:
    """True unless a text is made of ASCII letters, digits and signs only: no blank, control, quote, comma or bar.

    Other text, such as most codes, needs no trimming, no quotes and no check of its characters.
    """
    return value.str.contains(_UNUSUAL)


def with_plain_line_breaks(value: pl.Expr) -> pl.Expr:
    """CRLF and a lone CR become LF: the one form that both systems return unchanged."""
    return value.str.replace_all("\r\n?", "\n")


def trimmed(value: pl.Expr) -> pl.Expr:
    """Without Unicode white space at either end; empty text is null, as in Oracle and Salesforce.

    All of Unicode's white space is removed, so that the target finds nothing left to trim.
    """
    return left_trimmed(right_trimmed(value))


def right_trimmed(value: pl.Expr) -> pl.Expr:
    """Without trailing white space, for parts of a key (CHAR is padded); empty text is null."""
    return null_if_empty(with_plain_line_breaks(value).str.strip_chars_end())


def left_trimmed(value: pl.Expr) -> pl.Expr:
    """The result of `right_trimmed`, without leading white space."""
    return value.str.strip_chars_start()


def null_if_empty(value: pl.Expr) -> pl.Expr:
    return pl.when(value.str.len_bytes() > 0).then(value)


def has_refused_character(value: pl.Expr) -> pl.Expr:
    return value.str.contains(_REFUSED)


def is_undecodable(value: pl.Expr) -> pl.Expr:
    return value.str.starts_with(UNDECODABLE)


def is_longer_than(value: pl.Expr, characters: int) -> pl.Expr:
    """Counted in characters (Unicode code points), not in bytes: a Thai character is three bytes."""
    return value.str.len_chars() > characters


def cut(value: pl.Expr, characters: int) -> pl.Expr:
    """The first characters, without white space that is trailing after the cut."""
    return value.str.slice(0, characters).str.strip_chars_end()


def masked(value: pl.Expr) -> pl.Expr:
    """`*` for all but the last four characters; a value of four or fewer shows none."""
    length = value.str.len_chars()
    shown = pl.when(length > VISIBLE_CHARACTERS).then(value.str.tail(VISIBLE_CHARACTERS)).otherwise(pl.lit(""))
    return pl.when(value.is_not_null()).then(shown.str.pad_start(length, "*"))


def keyed_hash(value: pl.Expr, key: str) -> pl.Expr:
    """HMAC-SHA256 of the UTF-8 text with the campaign's key, 64 hexadecimal digits; null stays null."""
    return plh.CryptographicHashingNameSpace(value).hmac_sha256(key=key)
