"""What a sample of a text column holds: characters that were lost or misread, with masked examples.

Thai that was stored through a wrong NLS_LANG arrives as runs of Latin-1 letters whose bytes spell Thai in TIS-620.
"""

from __future__ import annotations

import re

import polars as pl

from kpc.campaign.system_check import CheckSubject, SystemCheck
from kpc.catalog.types import Column
from kpc.convert.text import VISIBLE_CHARACTERS

_RUN = "[\u00a1-\u00ff]{3,}"
_THAI = re.compile("[\u0e01-\u0e5b]")
_QUESTIONS = r"\?{2,}"
_LOST = "\ufffd"
_SHOWN = 3
_FEW = 0.01  # the share of undecodable values that the extract tolerates


def text_column(
    about: CheckSubject, column: Column, values: pl.Series, undecodable: list[int], *, character_set: str
) -> SystemCheck:
    """The worst finding: bytes that are not text, U+FFFD, Latin letters that spell Thai, question marks."""
    filled, name = len(values.drop_nulls()), "text"
    if undecodable:
        message = (
            f"{len(undecodable):,} of {filled:,} sampled values are bytes that are not {column.stored_as or 'UTF-8'}"
        )
        remedy = f"Correct stored_as of {column.name} in kpc/catalog (TIS620 for Thai), or have the values corrected."
        if len(undecodable) > filled * _FEW:
            return about.failed(name, f"{message}: the extract would stop.", remedy)
        return about.warning(name, f"{message}: their rows will be rejected.", remedy)
    lost = values.filter(values.str.contains(_LOST, literal=True))
    if len(lost):
        return _lost(about, column, lost, filled, character_set)
    latin = values.filter(values.str.contains(_RUN))
    latin = latin.filter(pl.Series([as_thai(value) is not None for value in latin], dtype=pl.Boolean))
    if len(latin):
        thai = "; ".join(masked(as_thai(value) or "", column) for value in latin.head(_SHOWN))
        return about.failed(
            name,
            f"{len(latin):,} of {filled:,} sampled values hold Latin letters that spell Thai in TIS-620: "
            f"{_examples(latin, column)}, read as Thai {thai}.",
            f'Declare stored_as="TIS620" of {column.name} in kpc/catalog.',
        )
    questions = values.filter(values.str.contains(_QUESTIONS))
    if len(questions):
        return about.warning(
            name,
            f"{len(questions):,} of {filled:,} sampled values hold runs of question marks: letters that a client's "
            f"character set lacked, lost when they were stored: {_examples(questions, column)}.",
            "They cannot be restored; agree with the owner of the source whether they may be migrated like this.",
        )
    return about.ok(name, f"{filled:,} sampled values")


def _lost(about: CheckSubject, column: Column, lost: pl.Series, filled: int, character_set: str) -> SystemCheck:
    found = f"{len(lost):,} of {filled:,} sampled values hold U+FFFD: {_examples(lost, column)}"
    if character_set in ("AL32UTF8", "UTF8"):
        return about.warning(
            "text",
            f"{found}. The database is Unicode, so the letters were lost before they were stored.",
            "They cannot be restored; agree with the owner of the source whether they may be migrated like this.",
        )
    return about.failed(
        "text",
        f"{found}. The server puts it in place of bytes that {character_set} leaves undefined.",
        f'Declare stored_as of {column.name} in kpc/catalog ("TIS620" for Thai): the bytes are still there.',
    )


def as_thai(value: str) -> str | None:
    """The value with its runs of Latin letters read as TIS-620; None if one of them does not spell Thai."""
    try:
        read = re.sub(_RUN, lambda run: run[0].encode("cp1252").decode("cp874"), value)
    except UnicodeError:
        return None
    runs = re.findall(_RUN, value)
    thai = len(_THAI.findall(read)) - len(_THAI.findall(value))
    return read if runs and thai >= 0.9 * sum(map(len, runs)) else None


def _examples(values: pl.Series, column: Column) -> str:
    return "; ".join(masked(value, column) for value in values.head(_SHOWN))


def masked(value: str, column: Column) -> str:
    """`*` for all but the last four characters; for all of a personal value."""
    text = value.rstrip()
    shown = 0 if column.pii is not None or len(text) <= VISIBLE_CHARACTERS else VISIBLE_CHARACTERS
    return "*" * (len(text) - shown) + text[len(text) - shown :]
