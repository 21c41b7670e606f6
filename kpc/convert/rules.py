"""The rules by which a row is rejected, and how to find the first one that a row breaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import polars as pl


class Rule(StrEnum):
    """Each name is written to the reject file and counted in the audit; docs/values.md explains them."""

    REQUIRED_NULL = "required_null"
    LITERAL_NULL_TOKEN = "literal_null_token"  # noqa: S105  the name of a rule, not a secret
    TEXT_UNDECODABLE = "text_undecodable"
    CONTROL_CHARACTER = "control_character"
    TOO_LONG = "too_long"
    NUMBER_UNREADABLE = "number_unreadable"
    NUMBER_OUT_OF_RANGE = "number_out_of_range"
    DATE_UNREADABLE = "date_unreadable"
    DATE_OUT_OF_RANGE = "date_out_of_range"
    UNKNOWN_BOOLEAN = "unknown_boolean"
    UNKNOWN_CODE = "unknown_code"
    NULL_IN_KEY = "null_in_key"
    KEY_LOSES_DIGITS = "key_loses_digits"
    SEPARATOR_IN_KEY = "separator_in_key"
    EXTERNAL_ID_TOO_LONG = "external_id_too_long"
    LOOKUP_INCOMPLETE = "lookup_incomplete"
    SEPARATOR_IN_LOOKUP = "separator_in_lookup"
    OUTSIDE_PARTITION = "outside_partition"
    DUPLICATE_EXTERNAL_ID = "duplicate_external_id"


@dataclass(frozen=True, slots=True)
class RuleCheck:
    """`violated` is true for the rows that break `rule`; null counts as passed.

    `field` names the target field in the reject file, `column` the Oracle column whose value is shown there (None: the
    source key).
    """

    rule: Rule
    field: str
    column: str | None
    violated: pl.Expr


def first_violated(checks: Sequence[RuleCheck]) -> pl.Expr:
    """The position in `checks` of the first rule that a row breaks, as UInt16; null for a row that breaks none."""
    numbered = (
        pl.when(check.violated).then(pl.lit(position, dtype=pl.UInt16)) for position, check in enumerate(checks)
    )
    return pl.min_horizontal(*numbered)
