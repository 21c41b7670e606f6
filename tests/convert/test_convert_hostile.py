"""Named hostile values, each with the outcome that docs/values.md promises."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from checkout import PROJECT
from extracted_rows import bench, probe, probed, rows_of

from kpc.catalog import find_table
from kpc.catalog.types import (
    DATE,
    DAY,
    MOMENT,
    Calendar,
    Column,
    DateFormat,
    FieldType,
    NullRule,
    OracleType,
    TooLong,
    char,
    currency,
    number,
    text,
    varchar2,
)
from kpc.convert.rules import Rule

DOCUMENT = (PROJECT / "docs" / "values.md").read_text()
SUPPLIER = find_table("KPS_R_POS_SUPPLIER")
FIELD = "Value__c"


def column(source: OracleType, target: FieldType, **rules: object) -> Column:
    return Column("VALUE", source, FIELD, target, **rules)  # type: ignore[arg-type]


LINE = column(varchar2(300), text(255))
CUT = column(varchar2(300), text(255), too_long=TooLong.TRUNCATE)
MONEY = column(number(), currency(18, 2))
ISO = column(char(10), DAY, date_format=DateFormat.ISO)
DMY = column(char(10), DAY, date_format=DateFormat.DMY)
BUDDHIST = column(char(10), DAY, date_format=DateFormat.DMY, calendar=Calendar.BUDDHIST)
CLOCK = column(char(19), MOMENT, date_format=DateFormat.ISO_TIME)
LOCAL = column(DATE, MOMENT)
WIDE = column(varchar2(19), DAY, date_format=DateFormat.ISO)
KEY = column(char(10), text(10), null=NullRule.REJECT)

CORPUS: dict[str, tuple[Column, object]] = {
    "double quotes": (LINE, 'say "hello", twice ""'),
    "comma": (LINE, "a,b,,c"),
    "apostrophe and backslash": (LINE, r"O'Brien \n \\"),
    "line feed inside": (LINE, "a\nb"),
    "CRLF inside": (LINE, "a\r\nb"),
    "lone CR inside": (LINE, "a\rb"),
    "line break at the end": (LINE, "a\r\n\n"),
    "tab inside": (LINE, "a\tb"),
    "NUL": (LINE, "a\x00b"),
    "unit separator 1F": (LINE, "a\x1fb"),
    "escape sequence": (LINE, "\x1b[31mred"),
    "DEL": (LINE, "a\x7fb"),
    "non-character U+FFFE": (LINE, "a\ufffeb"),
    "byte order mark": (LINE, "\ufeffa"),
    "emoji": (LINE, "🎉 ฉลอง"),
    "emoji family joined by ZWJ": (LINE, "👨‍👩‍👧"),
    "Thai combining marks": (LINE, "น้ำใจ กุ้งก้าม ปี่"),
    "Thai marks in unusual order": (LINE, "ก\u0e48\u0e38"),
    "right-to-left text and override": (LINE, "\u202eשלום مرحبا\u202c"),
    "zero-width space at the ends": (LINE, "\u200ba\u200b"),
    "no-break space at the ends": (LINE, "\u00a0a\u00a0"),
    "ideographic space at the ends": (LINE, "\u3000a\u3000"),
    "decomposed accent": (LINE, "cafe\u0301"),
    "blank": (LINE, "   "),
    "empty": (LINE, ""),
    "255 characters": (LINE, "x" * 255),
    "256 characters": (LINE, "x" * 256),
    "256 characters, may be cut": (CUT, "x" * 256),
    "255 Thai characters": (LINE, "ก" * 255),
    "cut leaves a blank at the end": (CUT, "x" * 254 + " y"),
    "formula": (LINE, "=cmd|'/C calc'!A0"),
    "plus, minus and at sign first": (LINE, "+1-2@3"),
    "#N/A": (LINE, "#N/A"),
    "#N/A with blanks": (LINE, " #N/A "),
    "#N/A inside a text": (LINE, "see #N/A"),
    "#n/a in small letters": (LINE, "#n/a"),
    "the word null": (LINE, "null"),
    "HTML": (LINE, "<script>alert(1)</script>&amp;"),
    "SQL": (LINE, "'; DROP TABLE x; --"),
    "38 digits": (MONEY, Decimal("9" * 38)),
    "38 digits behind the point": (MONEY, Decimal("0." + "12345678901234567890123456789012345678")),
    "largest that fits": (MONEY, Decimal("9999999999999999.99")),
    "rounds up to too large": (MONEY, Decimal("9999999999999999.995")),
    "negative zero": (MONEY, Decimal("-0.0")),
    "tiny negative": (MONEY, Decimal("-0.001")),
    "half a cent": (MONEY, Decimal("0.005")),
    "minus half a cent": (MONEY, Decimal("-0.005")),
    "binary float trap": (MONEY, Decimal("1.005")),
    "year 1": (ISO, "0001-01-01"),
    "year 9999": (ISO, "9999-12-31"),
    "31 December 1699": (ISO, "1699-12-31"),
    "1 January 1700": (ISO, "1700-01-01"),
    "31 December 4000": (ISO, "4000-12-31"),
    "1 January 4001": (ISO, "4001-01-01"),
    "31 February": (ISO, "2024-02-31"),
    "29 February of no leap year": (ISO, "2023-02-29"),
    "Buddhist 29 February": (BUDDHIST, "29/02/2567"),
    "Buddhist 29 February of no leap year": (BUDDHIST, "29/02/2566"),
    "single-digit day": (DMY, "1/05/2024"),
    "two-digit year": (DMY, "01/05/24"),
    "day and month swapped": (DMY, "05/31/2024"),
    "Thai digits": (ISO, "๒๐๒๔-๐๕-๐๑"),
    "full-width digits": (ISO, "２０２４-05-01"),
    "date with a time where none is declared": (
        column(varchar2(19), DAY, date_format=DateFormat.ISO),
        "2024-05-01 00:00:00",
    ),
    "zero date": (ISO, "0000-00-00"),
    "midnight in Bangkok": (LOCAL, datetime(2024, 5, 1)),  # noqa: DTZ001  an Oracle DATE has no zone
    "24 o'clock": (CLOCK, "2024-05-01 24:00:00"),
    "sixtieth second": (CLOCK, "2024-05-01 23:59:60"),
    "blank-padded key": (KEY, "AB        "),
    "key with a blank inside": (KEY, "A B"),
}


def documented() -> dict[str, str]:
    """The table "Hostile values": name and outcome."""
    section = DOCUMENT.split("## Hostile values")[1]
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", section, re.MULTILINE)
    return {name: outcome for name, outcome in rows if name != "name"}


def outcome_of(name: str) -> str:
    """What became of a corpus value, in the document's words."""
    source, value = CORPUS[name]
    exact = isinstance(value, Decimal)
    scale = -int(value.as_tuple().exponent) if isinstance(value, Decimal) else 0
    dtype = pl.Decimal(38, scale) if exact else None
    result = probed(source, [value], dtype)
    rule, sent = result["__rule"].item(), result[FIELD].item()
    if rule is not None:
        return str(rule)
    if sent is None:
        return "null"
    if sent == str(value):
        return "="
    return f"{len(sent)} characters" if len(sent) > 200 else f"`{sent}`".replace("\n", "⏎")


@pytest.mark.parametrize("name", CORPUS)
def test_a_hostile_value_becomes_what_the_document_says(name: str) -> None:
    """The outcome, in the words of docs/values.md."""
    assert outcome_of(name) == documented()[name]


def test_every_documented_value_is_tested_and_the_other_way_round() -> None:
    """The document cannot promise more than the tests check."""
    in_rows = {
        "separator in the key",
        "lone surrogate",
        "keys that differ in case only",
        "keys that differ in trailing blanks only",
    }
    assert set(documented()) == set(CORPUS) | in_rows


def test_every_rule_is_named_in_the_document() -> None:
    """And the document names no rule that does not exist."""
    section = DOCUMENT.split("## Names of the rules")[1].split("## ")[0]
    assert set(re.findall(r"`(\w+)`", section)) == {rule.value for rule in Rule}


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("separator in the key", ["A|B"]),
        ("keys that differ in case only", ["AB", "ab"]),
        ("keys that differ in trailing blanks only", ["A", "A "]),
    ],
)
def test_hostile_keys_are_rejected_as_documented(tmp_path: Path, name: str, keys: list[str]) -> None:
    """None of these rows is sent; a good one beside them is."""
    staging = bench(tmp_path)
    frame = rows_of(SUPPLIER, len(keys) + 1, POS_SUPPLIER_CODE=[*keys, "OK"])
    manifest = staging.stage(SUPPLIER, staging.seal(SUPPLIER, [frame]))
    assert manifest.staged == 1
    assert set(staging.rejected(SUPPLIER, manifest)["rule"]) == {documented()[name]}


def test_a_lone_surrogate_cannot_occur() -> None:
    """UTF-8 cannot hold it."""
    with pytest.raises(UnicodeEncodeError):
        pl.Series(["\ud800"])


READERS: dict[str, Callable[[bytes], list[list[str]]]] = {
    "python": lambda raw: list(csv.reader(io.StringIO(raw.decode(), newline=""))),
    "polars": lambda raw: [
        ["" if cell is None else cell for cell in row]
        for row in pl.read_csv(raw, has_header=False, infer_schema=False).rows()
    ],
}


def as_sent(outcome: str) -> str:
    """A documented outcome as the cell of the chunk."""
    return "#N/A" if outcome == "null" else outcome.strip("`").replace("⏎", "\n")


@pytest.mark.parametrize("reader", READERS)
def test_hostile_text_is_read_back_from_the_chunk(tmp_path: Path, reader: str) -> None:
    """Quotes, commas and line breaks survive in the file itself, whoever reads it."""
    values = {name: value for name, (source, value) in CORPUS.items() if source is LINE and isinstance(value, str)}
    expected = {
        f"K{place:03d}": str(value) if documented()[name] == "=" else as_sent(documented()[name])
        for place, (name, value) in enumerate(values.items())
        if documented()[name] not in set(Rule)
    }
    table = probe(LINE)
    frame = pl.DataFrame({"ID": [f"K{place:03d}" for place in range(len(values))], "VALUE": list(values.values())})
    staging = bench(tmp_path, rejected_share=1.0)
    manifest = staging.stage(table, staging.seal(table, [frame]))
    raw = gzip.decompress((staging.folder(table) / manifest.chunks[0].name).read_bytes())
    header, *rows = READERS[reader](raw)
    place = header.index(FIELD)
    assert {row[0]: row[place] for row in rows} == expected
