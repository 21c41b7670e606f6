"""Rules that say what a value becomes (docs/values.md): a value that shows each, and two ways to break it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from probed_opinion import Rule, constant

from kpc.catalog.types import (
    CHECKBOX,
    DATE,
    DAY,
    MOMENT,
    Calendar,
    Column,
    DateFormat,
    NullRule,
    Pii,
    TooLong,
    char,
    currency,
    number,
    picklist,
    text,
    timestamp,
    varchar2,
)

AT = datetime(2024, 5, 1, 3)  # noqa: DTZ001  local; an Oracle DATE has no zone


WORDS = Column("V", varchar2(400), "V__c", text(255))
MONEY = Column("V", number(), "V__c", currency(18, 2))
FINE = replace(MONEY, source=number(12, 3))
STATUS = Column(
    "V",
    varchar2(9),
    "V__c",
    picklist("On", "Off"),
    NullRule.DEFAULT,
    default="Off",
    picklist_map=(("A", "On"), ("C", "Off")),
)
ISO_DAY = Column("V", char(10), "V__c", DAY, date_format=DateFormat.ISO)
THAI_DAY = Column("V", char(10), "V__c", DAY, date_format=DateFormat.DMY, calendar=Calendar.BUDDHIST)
ISO_TIME = Column("V", char(19), "V__c", MOMENT, date_format=DateFormat.ISO_TIME)
SPACES = "\\2003\\2004\\2005\\2006\\2007\\2008\\2009\\200A\\2028\\2029\\202F\\205F\\3000"

VALUE_RULES = {
    "white space at the ends": Rule(WORDS, "\u3000a\u3000", constant("\u200ba"), (SPACES, SPACES[:-5])),
    "CRLF becomes LF": Rule(WORDS, "a\r\nb", lambda c: c.str.replace_all("\n", " "), ("UNISTR('\\000A')", "N' '")),
    "empty text is null": Rule(WORDS, "  ", constant("-"), ("NVL(KPC_T2,", "NVL(NVL(KPC_T2,N'-'),")),
    "no normalisation": Rule(
        WORDS,
        "\u0e01\u0e48\u0e38",
        constant("\u0e01\u0e38\u0e48"),
        ('TO_NCHAR("V")', "REPLACE(TO_NCHAR(\"V\"),UNISTR('\\0E48\\0E38'),UNISTR('\\0E38\\0E48'))"),
    ),
    "nothing changes case": Rule(
        WORDS, "aB", lambda c: c.str.to_lowercase(), ('TO_NCHAR("V")', 'LOWER(TO_NCHAR("V"))')
    ),
    "cut": Rule(
        replace(WORDS, too_long=TooLong.TRUNCATE),
        "x" * 300,
        lambda c: c.str.slice(0, 254),
        ("KPC_T2,1,255", "KPC_T2,1,254"),
    ),
    "rounding": Rule(FINE, Decimal("1.005"), constant("1.00"), ('ROUND("V",2)', 'TRUNC("V",2)')),
    "rounding of negatives": Rule(FINE, Decimal("-0.005"), constant("0.00"), ('ROUND("V",2)', 'CEIL("V"*100)/100')),
    "scale": Rule(MONEY, Decimal("1.29"), constant("1.30"), ('ROUND("V",2)', 'ROUND("V",1)')),
    "NULL becomes zero": Rule(replace(MONEY, null=NullRule.ZERO), None, constant(None), ('NVL("V",0)', 'NVL("V",1)')),
    "NULL stays NULL": Rule(MONEY, None, constant("0.00"), ('ROUND("V",2)', 'ROUND(NVL("V",0),2)')),
    "checkbox": Rule(
        Column("V", varchar2(5), "V__c", CHECKBOX, NullRule.FALSE),
        "Y",
        constant("false"),
        ("N'Y' THEN N'true'", "N'Y' THEN N'false'"),
    ),
    "checkbox of a number": Rule(
        Column("V", number(), "V__c", CHECKBOX, NullRule.FALSE),
        Decimal(0),
        constant("true"),
        ("WHEN 0 THEN N'false'", "WHEN 0 THEN N'true'"),
    ),
    "NULL is false": Rule(
        Column("V", varchar2(5), "V__c", CHECKBOX, NullRule.FALSE), None, constant("true"), (",N'false')", ",N'true')")
    ),
    "picklist codes": Rule(STATUS, "A", constant("Off"), ("N'A' THEN N'On'", "N'A' THEN N'Off'")),
    "picklist default": Rule(STATUS, None, constant("On"), (",N'Off')", ",N'On')")),
    "day and month": Rule(
        THAI_DAY, "04/05/2567", constant("2024-04-05"), ("SUBSTR(KPC_T2,4,2)||", "SUBSTR(KPC_T2,1,2)||")
    ),
    "Buddhist years": Rule(THAI_DAY, "04/05/2567", constant("2567-05-04"), ("-543,'FM0000'", "-542,'FM0000'")),
    "leap years": Rule(
        ISO_DAY, "2000-02-29", constant("2000-03-01"), ("OR MOD(TO_NUMBER(SUBSTR(KPC_T2,1,4)),400)=0", "")
    ),
    "UTC": Rule(
        ISO_TIME,
        "2024-05-01 03:00:00",
        constant("2024-05-01T03:00:00.000Z"),
        ("INTERVAL '7' HOUR", "INTERVAL '6' HOUR"),
    ),
    "UTC of a DATE": Rule(
        Column("V", DATE, "V__c", MOMENT),
        AT,
        constant("2024-05-01T03:00:00.000Z"),
        ("INTERVAL '7' HOUR", "INTERVAL '8' HOUR"),
    ),
    "a day is not shifted": Rule(
        Column("V", DATE, "V__c", DAY),
        AT,
        constant("2024-04-30"),
        ("TO_CHAR(\"V\",'YYYY-MM-DD')", "TO_CHAR(\"V\"-1,'YYYY-MM-DD')"),
    ),
    "masked": Rule(
        replace(WORDS, pii=Pii.MASK),
        "4000123456781234",
        lambda c: c.str.replace("4$", "*"),
        ("KPC_T2,-4)", "KPC_T2,-5)"),
    ),
    "hashed": Rule(
        replace(WORDS, pii=Pii.HASH),
        "AB123",
        lambda c: c.str.to_uppercase(),
        ("UTL_I18N.STRING_TO_RAW(KPC_T2", "UTL_I18N.STRING_TO_RAW(LOWER(KPC_T2)"),
    ),
    "short values are only stars": Rule(
        replace(WORDS, pii=Pii.MASK), "1234", constant("1234"), ("LENGTH4(KPC_T2)>4", "LENGTH4(KPC_T2)>3")
    ),
    "lone CR becomes LF": Rule(
        WORDS, "a\rb", constant("a b"), ("UNISTR('\\000D'),UNISTR('\\000A')", "UNISTR('\\000D'),N' '")
    ),
    "cut counts code points": Rule(
        replace(WORDS, too_long=TooLong.TRUNCATE),
        "\U0001f389" * 255 + "x",
        constant("\U0001f389" * 127),
        ("SUBSTR4(KPC_T2,1,255)", "SUBSTR4(KPC_T2,1,127)"),
    ),
    "tab and DEL stay": Rule(
        WORDS, "a\tb\x7f", constant("ab"), ('TO_NCHAR("V")', "REPLACE(TO_NCHAR(\"V\"),UNISTR('\\0009'))")
    ),
    "zero has no sign": Rule(MONEY, Decimal(0), constant("-0.01"), ("TO_NCHAR(TO_CHAR(", "N'-'||TO_NCHAR(TO_CHAR(")),
    "a text's number is not rounded": Rule(
        Column("V", number(), "V__c", text(60)),
        Decimal("1.005"),
        constant("1.01"),
        ('TO_CHAR("V",', 'TO_CHAR(ROUND("V",2),'),
    ),
    "a picklist's number is not rounded": Rule(
        Column("V", number(), "V__c", picklist("One", "Two"), picklist_map=(("1", "One"), ("2.5", "Two"))),
        Decimal("2.5"),
        constant("One"),
        ("N'2.5' THEN N'Two'", "N'2.5' THEN N'One'"),
    ),
    "text default": Rule(
        replace(WORDS, null=NullRule.DEFAULT, default="none"), None, constant(None), (",N'none')", ",N'')")
    ),
    "number default": Rule(
        replace(MONEY, null=NullRule.DEFAULT, default="7"), None, constant("0.00"), ('NVL("V",7)', 'NVL("V",0)')
    ),
    "fraction of a second is dropped": Rule(
        Column("V", timestamp(), "V__c", MOMENT),
        AT.replace(microsecond=999_999),
        constant("2024-04-30T20:00:01.000Z"),
        ('"V"-INTERVAL', "\"V\"+INTERVAL '1' SECOND-INTERVAL"),
    ),
    "time of a text date": Rule(
        replace(ISO_TIME, date_format=DateFormat.DMY_TIME, calendar=Calendar.BUDDHIST),
        "04/05/2567 13:05:59",
        constant("2024-05-04T06:05:00.000Z"),
        ("||' '||SUBSTR(KPC_T2,12,8)", "||' '||SUBSTR(KPC_T2,12,5)||':00'"),
    ),
    "a year is not checked for plausibility": Rule(
        ISO_DAY, "2567-05-04", constant("2024-05-04"), ("SUBSTR(KPC_T2,1,4)||'-'", "'2024'||'-'")
    ),
}
_WORD = Column("V", varchar2(5), "V__c", CHECKBOX, NullRule.FALSE)
VALUE_RULES |= {
    f"checkbox, {word}": Rule(
        _WORD, word.lower(), constant(other), (f"N'{word}' THEN N'{value}'", f"N'{word}' THEN N'{other}'")
    )
    for value, other, words in (("true", "false", "1 Y YES TRUE"), ("false", "true", "0 N NO FALSE"))
    for word in words.split()
}
