"""Salesforce's records in canonical text (docs/checksums.md, section 1), built without `kpc.convert`, and digests."""

from __future__ import annotations

import hashlib
from decimal import Decimal, InvalidOperation

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import FieldKind, FieldType
from kpc.reconcile.second_opinion.digest_layout import NULL, PIECE_CHARS, SEPARATOR, FieldPart, layout, row_columns
from kpc.reconcile.second_opinion.text_sql import WHITE_SPACE

_WIDEST = 38  # digits of a polars decimal


def canonical_records(records: pl.DataFrame, table: Table) -> pl.DataFrame:
    """The fields of `table.data_header` as text, null where a field is empty, of records as the API sent them."""
    types = {column.field: column.type for column in row_columns(table)}
    records = records.with_columns(pl.when(pl.all() != "").then(pl.all()))
    return records.select(_spelled(records[header], types.get(header)).alias(header) for header in table.data_header)


def _spelled(values: pl.Series, kind: FieldType | None) -> pl.Series:
    if kind is not None and kind.is_number:
        return _numbers(values, kind.scale)
    if kind is not None and kind.kind is FieldKind.DATETIME:
        return values.str.replace(r"\+00:?00$", "Z")
    text = values.str.replace_all("\r\n?", "\n").str.strip_chars(WHITE_SPACE)
    return text.set(text == "", None)


def _numbers(values: pl.Series, scale: int) -> pl.Series:
    """Numbers at the field's scale. A text that is not a number, or has more decimal places, is not changed."""
    decimals = rf"(\.\d{{0,{scale}}}0*)?" if scale else r"(\.0*)?"
    is_plain = values.str.contains(rf"^-?\d{{1,{_WIDEST - scale}}}{decimals}$")
    plain = values.set(~is_plain.fill_null(value=False), None)
    spelled = plain.cast(pl.Decimal(_WIDEST, scale)).cast(pl.String)
    if is_plain.fill_null(value=True).all():
        return spelled
    others = {text: exact_text(text, scale) for text in values.filter(~is_plain.fill_null(value=True)).unique()}
    return spelled.fill_null(values.replace_strict(others, default=None, return_dtype=pl.String))


def exact_text(text: str, scale: int) -> str:
    """A number in any notation at this scale; the text itself if it is not a number or has more decimal places."""
    try:
        number = Decimal(text)
        if not number.is_finite() or -number.as_tuple().exponent > scale + len(text):  # type: ignore[operator]
            return text
        fixed = f"{number:.{scale}f}"
    except (InvalidOperation, ValueError):
        return text
    if Decimal(fixed) != number:
        return text
    return fixed if number else fixed.lstrip("-")


def row_digests(rows: pl.DataFrame, table: Table) -> pl.Series:
    """The digest of each row of canonical text, as Oracle computes it (`digest_layout`)."""
    groups = [rows.select(_group(group)).to_series().to_list() for group in layout(table)]
    if len(groups) == 1:
        found = [sha256(text) for text in groups[0]]
    else:
        found = [hashlib.sha256(b"".join(map(sha256, texts))).digest() for texts in zip(*groups, strict=True)]
    return pl.Series("digest", found, pl.Binary)


def _group(group: tuple[FieldPart, ...]) -> pl.Expr:
    return pl.concat_str([_piece(element).fill_null(NULL) for element in group], separator=SEPARATOR)


def _piece(element: FieldPart) -> pl.Expr:
    text = pl.col(element.header)
    if element.start is None:
        return text
    piece = text.str.slice(element.start, PIECE_CHARS)
    return pl.when(piece != "").then(piece)


def sha256(text: str) -> bytes:
    """SHA-256 of the text's UTF-8 bytes."""
    return hashlib.sha256(text.encode()).digest()
