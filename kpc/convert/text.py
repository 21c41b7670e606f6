"""Text: what is trimmed, what is refused, what is cut, and how a personal value is masked.

Text is never normalised (NFC would reorder Thai vowel and tone marks that were typed in another order, and Thai must
arrive byte for byte). Only its ends and its line breaks change, because Salesforce would change them anyway.
"""

from __future__ import annotations

import polars as pl
import polars_hash as plh

VISIBLE_CHARACTERS = 4  # of a masked value

# What XML 1.0 cannot carry, and with it much of Salesforce: C0 controls except TAB, LF and CR, and two non-characters.
# 0x1E and 0x1F also build the canonical text of checksums.
_REFUSED = r"[\x00-\x08\x0B\x0C\x0E-\x1F\x{FFFE}\x{FFFF}]"

# Any but the printable ASCII characters that mean nothing to a CSV file or an external id; a blank is not among them.
_UNUSUAL = r"[^\x21\x23-\x2B\x2D-\x7B\x7D\x7E]"


def has_unusual_character(value: pl.Expr) -> pl.Expr:
    """True unless a text is made of ASCII letters, digits and signs only: no blank, control, quote, comma or bar.

    What is not unusual needs no trimming, no quotes and no check of its characters. Codes seldom are unusual.
    """
    return value.str.contains(_UNUSUAL)


def with_plain_line_breaks(value: pl.Expr) -> pl.Expr:
    """CRLF and a lone CR become LF: the one form that both systems give back alike."""
    return value.str.replace_all("\r\n?", "\n")


def trimmed(value: pl.Expr) -> pl.Expr:
    """Without white space (Unicode's) at either end; nothing left is null, as in Oracle and Salesforce.

    All of Unicode's white space goes, so that whatever part of it the target trims, nothing is left for it to trim.
    """
    return left_trimmed(right_trimmed(value))


def right_trimmed(value: pl.Expr) -> pl.Expr:
    """Without white space at the end, for parts of a key: CHAR pads there; nothing left is null."""
    return null_if_empty(with_plain_line_breaks(value).str.strip_chars_end())


def left_trimmed(value: pl.Expr) -> pl.Expr:
    """What `right_trimmed` left, without white space at the start."""
    return value.str.strip_chars_start()


def null_if_empty(value: pl.Expr) -> pl.Expr:
    return pl.when(value.str.len_bytes() > 0).then(value)


def has_refused_character(value: pl.Expr) -> pl.Expr:
    return value.str.contains(_REFUSED)


def is_longer_than(value: pl.Expr, characters: int) -> pl.Expr:
    """Counted in characters (Unicode code points), not in bytes: a Thai character is three bytes."""
    return value.str.len_chars() > characters


def cut(value: pl.Expr, characters: int) -> pl.Expr:
    """The first characters, without white space that the cut brought to the end."""
    return value.str.slice(0, characters).str.strip_chars_end()


def masked(value: pl.Expr) -> pl.Expr:
    """`*` for all but the last four characters; a value of four or fewer shows none."""
    length = value.str.len_chars()
    shown = pl.when(length > VISIBLE_CHARACTERS).then(value.str.tail(VISIBLE_CHARACTERS)).otherwise(pl.lit(""))
    return pl.when(value.is_not_null()).then(shown.str.pad_start(length, "*"))


def keyed_hash(value: pl.Expr, key: str) -> pl.Expr:
    """HMAC-SHA256 of the UTF-8 text with the campaign's key, 64 hexadecimal digits; null stays null."""
    return plh.CryptographicHashingNameSpace(value).hmac_sha256(key=key)
