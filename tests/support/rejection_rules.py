"""Rules that reject a row (docs/values.md, "Names of the rules"), each with a row that breaks it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from key_rules import keyed, referring
from probed_opinion import probe
from value_rules import ISO_DAY, ISO_TIME, MONEY, STATUS, THAI_DAY, WORDS

from kpc.catalog.table import Table
from kpc.catalog.types import CHECKBOX, DATE, Column, NullRule, decimal, number, varchar2


@dataclass(frozen=True)
class Rejection:
    """A row that breaks `rule`; `table` and `key` as in `Rule`."""

    rule: str
    column: Column
    value: object
    table: Table | None = None
    key: str | None = "AB1"

    @property
    def whole_table(self) -> Table:
        return self.table or probe(self.column)


_BOOLEAN = Column("V", varchar2(5), "V__c", CHECKBOX, NullRule.FALSE)
_COUNT = Column("V", number(), "V__c", decimal(18, 0))
_KEY_DAY = replace(ISO_DAY, field=None, type=None)
_MOMENT = Column("V", DATE, "V__c", ISO_TIME.type)
REJECTIONS = {
    "too long": Rejection("too_long", WORDS, "x" * 256),
    "too long in code points": Rejection("too_long", WORDS, "\U0001f389" * 256),
    "#N/A": Rejection("literal_null_token", WORDS, "#N/A"),
    "#N/A with blanks": Rejection("literal_null_token", WORDS, " #N/A "),
    "control character": Rejection("control_character", WORDS, "a\x1fb"),
    "non-character": Rejection("control_character", WORDS, "a\ufffeb"),
    "number out of range": Rejection("number_out_of_range", MONEY, Decimal("1E16")),
    "rounds up to too large": Rejection("number_out_of_range", MONEY, Decimal("9999999999999999.995")),
    "unknown code": Rejection("unknown_code", STATUS, "X"),
    "code in other case": Rejection("unknown_code", STATUS, "a"),
    "unknown boolean": Rejection("unknown_boolean", _BOOLEAN, "on"),
    "unknown number for a checkbox": Rejection("unknown_boolean", replace(_BOOLEAN, source=number()), Decimal(2)),
    "no day": Rejection("date_unreadable", ISO_DAY, "2023-02-29"),
    "one digit": Rejection("date_unreadable", ISO_DAY, "2023-2-28"),
    "no time": Rejection("date_unreadable", ISO_TIME, "2023-02-28 24:00:00"),
    "no Buddhist leap day": Rejection("date_unreadable", THAI_DAY, "29/02/2566"),
    "day before the range": Rejection("date_out_of_range", ISO_DAY, "1699-12-31"),
    "day after the range": Rejection("date_out_of_range", ISO_DAY, "4001-01-01"),
    "UTC moment before the range": Rejection("date_out_of_range", ISO_TIME, "1700-01-01 06:59:59"),
    "UTC moment after the range": Rejection("date_out_of_range", ISO_TIME, "4001-01-01 07:00:00"),
    "stored moment before the range": Rejection("date_out_of_range", _MOMENT, datetime(1700, 1, 1, 6, 59, 59)),  # noqa: DTZ001
    "NULL that is refused": Rejection("required_null", replace(WORDS, null=NullRule.REJECT), None),
    "NULL in the key": Rejection("null_in_key", _KEY_DAY, None, keyed(_KEY_DAY)),
    "separator in the key": Rejection("separator_in_key", WORDS, "a", key="A|B"),
    "a key's number loses digits": Rejection("key_loses_digits", _COUNT, Decimal("1.5"), keyed(_COUNT)),
    "a required reference is missing": Rejection("lookup_incomplete", WORDS, None, referring(WORDS, required=True)),
    "separator in a reference": Rejection("separator_in_lookup", WORDS, "B|1", referring(WORDS, required=False)),
}
