"""The rules that reject a row (docs/values.md, "Names of the rules"), as Oracle's opinion on a row names them.

A row's opinion has one byte after its key: 0, followed by digests, or the number of the first rule that it breaks.
"""

from __future__ import annotations

from enum import StrEnum

ACCEPTED = 0


class Broken(StrEnum):
    """A rule that rejects a row, in the order of docs/values.md."""

    TEXT_UNDECODABLE = "text_undecodable"
    REQUIRED_NULL = "required_null"
    LITERAL_NULL_TOKEN = "literal_null_token"  # noqa: S105  not a secret
    CONTROL_CHARACTER = "control_character"
    TOO_LONG = "too_long"
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

    @property
    def number(self) -> int:
        """The byte that stands for the rule in an opinion."""
        return list(Broken).index(self) + 1


def rule_of(number: int) -> str:
    """The name of a rule by the byte of an opinion."""
    return list(Broken)[number - 1].value


# Rules that a single row in Oracle cannot decide: they depend on other rows, the partition, or replaced bytes.
NOT_SEEN_BY_ORACLE = frozenset({"duplicate_external_id", "outside_partition", "text_undecodable", "number_unreadable"})
