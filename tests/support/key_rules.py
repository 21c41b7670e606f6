"""Rules of external ids, references and currencies (docs/values.md): a row for each, and two ways to break it."""

from __future__ import annotations

from dataclasses import replace

from probed_opinion import PARENT, SEQ, A, Rule, constant, probe
from value_rules import AT, ISO_TIME, THAI_DAY, WORDS

from kpc.catalog.table import Table
from kpc.catalog.types import CURRENCY_FIELD, DATE, DAY, MOMENT, Column, Lookup, NullRule, picklist, varchar2

ID, PARENT_ID = "External_ID__c", "Parent__r.External_ID__c"


def keyed(column: Column) -> Table:
    """The column is the second part of the key."""
    part = replace(column, null=NullRule.REJECT, nullable=False)
    return replace(probe(part), columns=(A, SEQ, part), key=("A", "V"))


def referring(column: Column, *, required: bool) -> Table:
    """The column refers to a parent, beside the one that the key names."""
    return replace(probe(column), lookups=(PARENT, Lookup("OTHER", "Other__c", ("V",), required=required)))


_OTHER_ID = "Other__r.External_ID__c"
_CODE = Column("V", varchar2(9), CURRENCY_FIELD, picklist("THB", "USD"), NullRule.DEFAULT, default="THB")
KEY_RULES = {
    "separator of the key": Rule(WORDS, "a", lambda c: c.str.replace(r"\|", "/"), ("||N'|'||", "||N'/'||"), ID),
    "number in a key": Rule(WORDS, "a", lambda c: c + ".0", ("9999999999'),'.')", "0000000000'),'.')"), ID),
    "reference to the parent": Rule(
        WORDS,
        "a",
        lambda c: c.str.to_lowercase(),
        ("END AS KPC_PARENT0", "||N'x' END AS KPC_PARENT0"),
        PARENT_ID,
    ),
    "white space at the end of a part": Rule(
        WORDS, "a", constant("AB1\u3000|1"), ('RTRIM(TO_NCHAR("A")', "RTRIM(TO_NCHAR(\"A\")||N'.'"), ID, key="AB1\u3000"
    ),
    "white space before the first part": Rule(
        WORDS, "a", constant("-AB1|1"), ("LTRIM(KPC_P0,", "RTRIM(KPC_P0,"), ID, key="\u3000AB1"
    ),
    "a day in a key": Rule(
        THAI_DAY,
        "04/05/2567",
        constant("AB1|04/05/2567"),
        ("TO_CHAR(TO_NUMBER(SUBSTR(KPC_T2,7,4))-543,'FM0000')", "SUBSTR(KPC_T2,7,4)"),
        ID,
        keyed(THAI_DAY),
    ),
    "a stored day in a key": Rule(
        Column("V", DATE, "V__c", DAY),
        AT,
        constant("AB1|2024-05-01 03:00:00"),
        ("TO_CHAR(\"V\",'YYYY-MM-DD')", "TO_CHAR(\"V\",'YYYY-DD-MM')"),
        ID,
        keyed(Column("V", DATE, "V__c", DAY)),
    ),
    "a moment in a key is local": Rule(
        Column("V", DATE, "V__c", MOMENT),
        AT,
        constant("AB1|2024-04-30 20:00:00"),
        ("TO_CHAR(\"V\",'YYYY-MM-DD HH24:MI:SS')", "TO_CHAR(\"V\"-7/24,'YYYY-MM-DD HH24:MI:SS')"),
        ID,
        keyed(Column("V", DATE, "V__c", MOMENT)),
    ),
    "a text moment in a key is local": Rule(
        ISO_TIME,
        "2024-05-01 03:00:07",
        constant("AB1|2024-04-30 20:00:07"),
        ("||' '||SUBSTR(KPC_T2,12,8)", "||' '||SUBSTR(KPC_T2,12,5)||':00'"),
        ID,
        keyed(ISO_TIME),
    ),
    "an optional reference stays empty": Rule(
        WORDS,
        None,
        constant("a"),
        ("END AS KPC_PARENT1", "ELSE N'-' END AS KPC_PARENT1"),
        _OTHER_ID,
        referring(WORDS, required=False),
    ),
    "a reference is made like the parent's id": Rule(
        WORDS,
        "B1  ",
        constant("B1-"),
        ("END AS KPC_PARENT1", "||N'-' END AS KPC_PARENT1"),
        _OTHER_ID,
        referring(WORDS, required=True),
    ),
    "the declared currency": Rule(
        WORDS, "a", constant("USD"), ("N'THB'", "N'USD'"), CURRENCY_FIELD, replace(probe(WORDS), currency="THB")
    ),
    "a currency by row": Rule(
        _CODE, "USD", constant("THB"), ("N'USD' THEN N'USD'", "N'USD' THEN N'THB'"), CURRENCY_FIELD
    ),
    "the default currency": Rule(_CODE, None, constant("USD"), (",N'THB')", ",N'USD')"), CURRENCY_FIELD),
}
