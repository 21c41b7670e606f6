"""Each kind of value by its rule, against an independent spelling of the rule in plain Python."""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal, localcontext

import duckdb
import polars as pl
import pytest
from extracted_rows import HASH_KEY, converted, one_row, probed, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from kpc.catalog import TABLES, find_table
from kpc.catalog.types import (
    CHECKBOX,
    CLOB,
    DATE,
    DAY,
    EXTERNAL_ID,
    MOMENT,
    Calendar,
    Column,
    DateFormat,
    FieldType,
    NullRule,
    Pii,
    TooLong,
    char,
    currency,
    decimal,
    long_text,
    number,
    picklist,
    text,
    timestamp,
    varchar2,
)
from kpc.errors import CatalogError, ConfigError, SchemaDrift
from kpc.extract.target_value_sql import target_value_sql

FIELD = "Value__c"
quick = settings(max_examples=60, deadline=None)

# Numbers as Oracle holds them in an extract: 38 digits, 10 of them fraction.
numbers = st.decimals(
    min_value=Decimal(-9999999999999999999999999999),
    max_value=Decimal(9999999999999999999999999999),
    places=10,
    allow_nan=False,
) | st.decimals(min_value=-1000, max_value=1000, places=3)
letters = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=40)


def value_column(source: object, target: FieldType, **rules: object) -> Column:
    return Column("VALUE", source, FIELD, target, **rules)  # type: ignore[arg-type]


def rounded(value: Decimal, scale: int) -> Decimal:
    with localcontext(prec=60):
        return value.quantize(Decimal(1).scaleb(-scale), rounding=ROUND_HALF_UP)


@quick
@given(st.lists(numbers, min_size=1, max_size=30), st.sampled_from([(18, 2), (18, 4), (9, 0), (18, 0), (18, 6)]))
def test_numbers_are_rounded_half_away_from_zero_or_rejected(values: list[Decimal], shape: tuple[int, int]) -> None:
    """The text is the exact value at the field's scale; what has too many digits for the field is rejected."""
    precision, scale = shape
    result = probed(value_column(number(), decimal(precision, scale)), values, pl.Decimal(38, 10))
    for value, sent, rule in zip(values, result[FIELD], result["__rule"], strict=True):
        expected = rounded(value, scale)
        if abs(expected) >= Decimal(10) ** (precision - scale):
            assert rule == "number_out_of_range"
        else:
            assert (sent, rule) == (f"{expected or abs(expected):f}", None)


@pytest.mark.parametrize("scale", [0, 2, 10])
def test_numbers_of_every_extract_scale_are_exact(scale: int) -> None:
    """An extract may hold a NUMBER at another scale than the field's: wider, narrower or none."""
    result = probed(value_column(number(18, scale), currency(18, 2)), [Decimal(-7), Decimal(12)], pl.Decimal(38, scale))
    assert result[FIELD].to_list() == ["-7.00", "12.00"]


def test_the_largest_value_fits_and_the_next_one_does_not() -> None:
    """The limit is decided after rounding, without a step through a float."""
    values = ["9999999999999999.99", "9999999999999999.994", "9999999999999999.995", "-9999999999999999.995", "1E27"]
    result = probed(value_column(number(), currency(18, 2)), [Decimal(value) for value in values], pl.Decimal(38, 10))
    assert result[FIELD].to_list()[:2] == ["9999999999999999.99"] * 2
    assert result["__rule"].to_list() == [None, None, *["number_out_of_range"] * 3]


def test_no_number_goes_through_a_binary_float() -> None:
    """Ten times 0.1 + 0.2 is exactly 3.0; 17 digits and a cent survive, as they would not in a float."""
    tenths = [Decimal("0.1"), Decimal("0.2")] * 10
    result = probed(value_column(number(), decimal(18, 10)), tenths, pl.Decimal(38, 10))
    assert sum(Decimal(sent) for sent in result[FIELD]) == Decimal("3.0")
    exact = probed(value_column(number(), currency(18, 2)), [Decimal("1234567890123456.78")], pl.Decimal(38, 10))
    assert exact[FIELD].item() == "1234567890123456.78"


def test_a_float_in_the_extract_is_refused() -> None:
    """A binary float's digits are already wrong; it must not come this far."""
    with pytest.raises(ConfigError, match="not exact"):
        probed(value_column(number(), currency()), [0.1], pl.Float64())


@pytest.mark.parametrize(
    ("rule", "default", "expected"),
    [(NullRule.KEEP, None, None), (NullRule.ZERO, None, "0.00"), (NullRule.DEFAULT, "1.5", "1.50")],
)
def test_a_null_number_follows_its_rule(rule: NullRule, default: str | None, expected: str | None) -> None:
    """Null, zero or the declared default at the field's scale."""
    result = probed(value_column(number(), currency(), null=rule, default=default), [None])
    assert (result[FIELD].item(), result["__rule"].item()) == (expected, None)


@quick
@given(st.lists(numbers, min_size=1, max_size=20), st.sampled_from([(NullRule.KEEP, 2), (NullRule.ZERO, 4)]))
def test_oracle_is_asked_for_the_value_that_is_sent(values: list[Decimal], rule: tuple[NullRule, int]) -> None:
    """The SQL of the control totals and the polars rule agree on every number and on null, run by an SQL engine."""
    null, scale = rule
    column = value_column(number(), decimal(18, scale), null=null)
    fitting = [None, *(value for value in values if abs(value) < 10**13)]
    sent = probed(column, fitting, pl.Decimal(38, 10))[FIELD]
    with duckdb.connect() as engine:
        engine.execute("CREATE MACRO NVL(a, b) AS coalesce(a, b)")
        engine.execute('CREATE TABLE t(n INTEGER, "VALUE" DECIMAL(38,10))')
        engine.executemany(
            "INSERT INTO t VALUES (?, CAST(? AS DECIMAL(38,10)))",
            [[place, None if value is None else f"{value:f}"] for place, value in enumerate(fitting)],
        )
        query = f"SELECT {target_value_sql(column)} FROM t ORDER BY n"
        answers = engine.execute(query).fetchall()
    assert [None if row[0] is None else Decimal(row[0]) for row in answers] == [
        None if text is None else Decimal(text) for text in sent
    ]


def test_only_numbers_have_control_totals() -> None:
    """A text has no sum."""
    with pytest.raises(CatalogError, match="cannot be a measure"):
        target_value_sql(value_column(varchar2(3), text(3)))


@quick
@given(st.lists(letters | st.sampled_from(["1", "y", " Yes ", "TRUE", "0", "n", "no", "False", "T", "2", "1.0"])))
def test_checkboxes_know_eight_words(words: list[str]) -> None:
    """1/Y/YES/TRUE is true, 0/N/NO/FALSE is false, in any case; null is false; anything else is rejected."""
    result = probed(value_column(varchar2(40), CHECKBOX, null=NullRule.FALSE), words, pl.String())
    known = {
        **dict.fromkeys(("1", "Y", "YES", "TRUE"), "true"),
        **dict.fromkeys(("0", "N", "NO", "FALSE", ""), "false"),
    }
    for word, sent, rule in zip(words, result[FIELD], result["__rule"], strict=True):
        expected = known.get(word.strip(WHITE_SPACE).upper())
        assert (rule == "unknown_boolean") == (expected is None)
        assert expected is None or sent == expected


def test_a_number_is_a_checkbox_only_as_one_or_zero() -> None:
    """2 is not true, and 0.5 is neither."""
    values = [Decimal(1), Decimal(0), None, Decimal(2), Decimal("0.5"), Decimal(-1)]
    result = probed(value_column(number(), CHECKBOX, null=NullRule.FALSE), values)
    assert result[FIELD].to_list()[:3] == ["true", "false", "false"]
    assert result["__rule"].to_list() == [None] * 3 + ["unknown_boolean"] * 3


def spelled(day: date, date_format: DateFormat, calendar: Calendar) -> str:
    year = f"{day.year + calendar.year_offset:04d}"
    text = f"{day:%d/%m}/{year}" if date_format.is_day_first else f"{year}-{day:%m-%d}"
    return text + (f" {day:%H:%M:%S}" if date_format.has_time else "")


FORMATS = [(date_format, calendar) for date_format in DateFormat for calendar in Calendar]


@quick
@given(
    st.sampled_from(FORMATS),
    st.lists(st.datetimes(datetime(1600, 1, 1), datetime(4100, 1, 1)), min_size=1, max_size=20),  # noqa: DTZ001
)
def test_text_dates_become_days_and_utc_moments(form: tuple[DateFormat, Calendar], moments: list[datetime]) -> None:
    """In every format and calendar: a day keeps its local date, a moment moves seven hours, the range is 1700-4000."""
    date_format, calendar = form
    texts = [spelled(moment, date_format, calendar) for moment in moments]
    rules = {"date_format": date_format, "calendar": calendar}
    source = char(date_format.length)
    days = probed(value_column(source, DAY, **rules), texts)
    for moment, sent, rule in zip(moments, days[FIELD], days["__rule"], strict=True):
        inside = date(1700, 1, 1) <= moment.date() <= date(4000, 12, 31)
        assert (sent, rule) == (f"{moment:%Y-%m-%d}", None) if inside else rule == "date_out_of_range"
    if not date_format.has_time:
        return
    moved = probed(value_column(source, MOMENT, **rules), texts)
    for moment, sent, rule in zip(moments, moved[FIELD], moved["__rule"], strict=True):
        utc = moment - timedelta(hours=7)
        inside = date(1700, 1, 1) <= utc.date() <= date(4000, 12, 31)
        assert (sent, rule) == (f"{utc:%Y-%m-%dT%H:%M:%S}.000Z", None) if inside else rule == "date_out_of_range"


digits = st.from_regex(r"[0-9]{1,5}[-/ ][0-9]{1,2}[-/ ][0-9]{1,4}( [0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2})?", fullmatch=True)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FORMATS), st.lists(digits | letters, min_size=1, max_size=20))
def test_a_text_that_is_no_date_in_its_format_is_rejected(form: tuple[DateFormat, Calendar], texts: list[str]) -> None:
    """Nothing is guessed: what a strict reading of the format does not accept is rejected, the rest is that date."""
    date_format, calendar = form
    column = value_column(varchar2(40), DAY, date_format=date_format, calendar=calendar)
    result = probed(column, texts, pl.String())
    for given_text, sent, rule in zip(texts, result[FIELD], result["__rule"], strict=True):
        expected = strictly_read(given_text.strip(WHITE_SPACE), date_format, calendar)
        if given_text.strip(WHITE_SPACE) == "":
            assert (sent, rule) == (None, None)
        elif expected is None:
            assert rule in {"date_unreadable", "date_out_of_range"}
        else:
            assert (sent, rule) == (expected, None)


def strictly_read(given_text: str, date_format: DateFormat, calendar: Calendar) -> str | None:
    """An independent reading of the declared format; None for what must be rejected."""
    day = (
        r"(?P<d>[0-9]{2})/(?P<m>[0-9]{2})/(?P<y>[0-9]{4})"
        if date_format.is_day_first
        else (r"(?P<y>[0-9]{4})-(?P<m>[0-9]{2})-(?P<d>[0-9]{2})")
    )
    found = re.fullmatch(day + (r" (?P<t>[0-9]{2}:[0-9]{2}:[0-9]{2})" if date_format.has_time else ""), given_text)
    if found is None:
        return None
    try:
        read = date(int(found["y"]) - calendar.year_offset, int(found["m"]), int(found["d"]))
        if date_format.has_time:
            datetime.strptime(found["t"], "%H:%M:%S").replace(tzinfo=UTC)
            if found["t"].endswith((":60", ":61")):
                return None
    except ValueError:
        return None
    return f"{read:%Y-%m-%d}" if date(1700, 1, 1) <= read <= date(4000, 12, 31) else None


@pytest.mark.parametrize("year", [2563, 2567, 2559, 2443])
def test_a_buddhist_leap_day_exists_where_the_gregorian_one_does(year: int) -> None:
    """29/02/2567 is 29 February 2024, though 2567 itself is no leap year; 2443 is 1900, which is none."""
    column = value_column(char(10), DAY, date_format=DateFormat.DMY, calendar=Calendar.BUDDHIST)
    result = probed(column, [f"29/02/{year}"])
    is_leap = (year - 543) % 4 == 0 and (year - 543) % 100 != 0
    assert result["__rule"].item() == (None if is_leap else "date_unreadable")
    assert not is_leap or result[FIELD].item() == f"{year - 543}-02-29"


def test_an_oracle_date_becomes_utc_and_a_day_stays_local() -> None:
    """Half past midnight in Bangkok is the day before in UTC; a Date field still says the local day."""
    local = datetime(2024, 3, 1, 0, 30)  # noqa: DTZ001  an Oracle DATE has no zone
    moment = probed(value_column(DATE, MOMENT), [local, None])
    assert moment[FIELD].to_list() == ["2024-02-29T17:30:00.000Z", None]
    assert probed(value_column(DATE, DAY), [local])[FIELD].item() == "2024-03-01"


@pytest.mark.parametrize("unit", ["us", "ns"])
def test_a_fraction_of_a_second_is_dropped(unit: str) -> None:
    """The target's DateTime holds whole seconds; before 1970 as well as after."""
    values = [datetime(2024, 3, 1, 7, 0, 0, 999_999), datetime(1960, 3, 1, 7, 0, 0, 1)]  # noqa: DTZ001
    result = probed(value_column(timestamp(), MOMENT), values, pl.Datetime(unit))  # type: ignore[arg-type]
    assert result[FIELD].to_list() == ["2024-03-01T00:00:00.000Z", "1960-03-01T00:00:00.000Z"]


@quick
@given(st.lists(letters, min_size=1, max_size=30))
def test_text_loses_only_its_ends_and_its_carriage_returns(values: list[str]) -> None:
    """Every other character arrives as it was; no Unicode normalisation, whatever the script."""
    result = probed(value_column(varchar2(255), text(255)), values, pl.String())
    for value, sent, rule in zip(values, result[FIELD], result["__rule"], strict=True):
        kept = re.sub("\r\n?", "\n", value).strip(WHITE_SPACE)
        if any(character in REFUSED for character in kept):
            assert rule == "control_character"
        elif kept == "#N/A":
            assert rule == "literal_null_token"
        else:
            assert (sent, rule) == (kept or None, None)


REFUSED = {chr(code) for code in range(32)} - {"\t", "\n", "\r"} | {"\ufffe", "\uffff"}
# Unicode's White_Space property, spelled out (PropList.txt).
WHITE_SPACE = (
    "\t\n\x0b\x0c\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


@pytest.mark.parametrize("word", ["กุ่ง", "ก\u0e48\u0e38", "เ\u0e4dา", "น้ำ", "e\u0301", "\u1100\u1161"])
def test_thai_survives_byte_for_byte(word: str) -> None:
    """Marks typed in an unusual order stay so: NFC would have swapped them."""
    assert probed(value_column(varchar2(50), text(50)), [word])[FIELD].item().encode() == word.encode()


@pytest.mark.parametrize(("length", "fits"), [(254, True), (255, True), (256, False)])
@pytest.mark.parametrize("character", ["x", "ก", "😀"])
def test_length_is_counted_in_characters(length: int, fits: bool, character: str) -> None:
    """255 Thai characters fit into a field of 255, though they are 765 bytes."""
    result = probed(value_column(varchar2(300), text(255)), [character * length])
    assert result["__rule"].item() == (None if fits else "too_long")


def test_text_that_may_be_cut_is_cut() -> None:
    """To the field's characters, without a blank that the cut brings to the end."""
    column = value_column(varchar2(300), text(5), too_long=TooLong.TRUNCATE)
    result = probed(column, ["กขคงจฉ", "abcd efg", "12345", " 12345 "])
    assert result[FIELD].to_list() == ["กขคงจ", "abcd", "12345", "12345"]
    assert result["__rule"].null_count() == 4


def test_a_required_null_is_rejected_and_a_blank_is_null() -> None:
    """Blanks are nothing, to Oracle's CHAR as to Salesforce."""
    column = value_column(char(5), text(5), null=NullRule.REJECT)
    result = probed(column, ["     ", None, "a    "])
    assert result["__rule"].to_list() == ["required_null", "required_null", None]
    assert result[FIELD].to_list()[2] == "a"


def test_codes_become_labels_or_are_rejected() -> None:
    """Only declared codes are known; null takes the default; a label is not a code."""
    column = value_column(
        varchar2(20),
        picklist("Male", "Female", "Unknown"),
        null=NullRule.DEFAULT,
        default="Unknown",
        picklist_map=(("M", "Male"), ("F", "Female")),
    )
    result = probed(column, ["M", "F ", None, " ", "X", "m", "Male"])
    assert result[FIELD].to_list()[:4] == ["Male", "Female", "Unknown", "Unknown"]
    assert result["__rule"].to_list() == [None] * 4 + ["unknown_code"] * 3


def test_a_picklist_without_a_map_knows_its_values() -> None:
    """Then the source holds the labels themselves."""
    result = probed(value_column(varchar2(20), picklist("A", "B")), ["A", "C"])
    assert (result[FIELD][0], result["__rule"].to_list()) == ("A", [None, "unknown_code"])


@quick
@given(st.lists(letters.filter(lambda value: value.strip(WHITE_SPACE)), min_size=1, max_size=20))
def test_a_hash_is_the_standard_one_of_the_trimmed_text(values: list[str]) -> None:
    """HMAC-SHA256 under the campaign's key, as any other program computes it."""
    result = probed(value_column(varchar2(50), text(64), pii=Pii.HASH), values, pl.String())
    for value, sent in zip(values, result[FIELD], strict=True):
        kept = re.sub("\r\n?", "\n", value).strip(WHITE_SPACE)
        assert sent == hmac.new(HASH_KEY.encode(), kept.encode(), hashlib.sha256).hexdigest()


@quick
@given(st.lists(letters, min_size=1, max_size=20))
def test_a_mask_shows_four_characters_at_most(values: list[str]) -> None:
    """And none of a value that has no more; the length stays."""
    result = probed(value_column(varchar2(50), text(50), pii=Pii.MASK), values, pl.String())
    for value, sent in zip(values, result[FIELD], strict=True):
        kept = re.sub("\r\n?", "\n", value).strip(WHITE_SPACE)
        shown = kept[-4:] if len(kept) > 4 else ""
        assert (sent or "") == "*" * (len(kept) - len(shown)) + shown


def test_what_is_left_out_is_neither_sent_nor_checked() -> None:
    """A birth date that travels nowhere may be as wrong as it likes."""
    table = find_table("KPS_T_SALES_M")
    result = converted(table, one_row(table, BIRTH_DATE="not a date"))
    assert "Birth_Date__c" not in result.columns
    assert result["__rule"].item() is None


def test_personal_values_are_masked_in_the_reject_list() -> None:
    """Whatever the way a personal value travels, the list shows its last four characters at most."""
    table = find_table("KPS_T_SALES_M")
    result = converted(table, one_row(table, NAME="สมชาย\x01ใจดีมาก"))
    assert result["__field"].item() == "Name__c"
    assert result["__value"].item() == "*" * 9 + "ีมาก"
    assert converted(table, one_row(table, PASSPORT_NO="\x01AB"))["__value"].item() == "***"


def test_the_external_id_joins_the_canonical_key_parts() -> None:
    """Blanks cut, dates as ISO days, numbers without idle zeros."""
    table = find_table("KPS_T_SALES_MD")
    frame = one_row(
        table, CON_CODE="1 ", SHOP_CODE="S 1  ", BRANCH_CODE="B", POS_NO="P", SALE_NO="0007", SEQ=Decimal("100.0")
    )
    result = converted(table, frame)
    assert result[EXTERNAL_ID].item() == "1|S 1|B|P|0007|2024-05-02|100"
    assert result["Sale__r.External_ID__c"].item() == "1|S 1|B|P|0007|2024-05-02"


def test_a_child_names_its_parent_as_the_parent_names_itself() -> None:
    """Every lookup of the catalog spells, from the child's columns, exactly the parent's external id."""
    for table in TABLES.values():
        for lookup in table.lookups:
            parent = TABLES[lookup.parent]
            child = rows_of(table, 5)
            keys = {mine: child[theirs] for mine, theirs in zip(parent.key, lookup.columns, strict=True)}
            head = rows_of(parent, 5).with_columns(**keys)
            assert converted(table, child)[lookup.header].equals(
                converted(parent, head)[EXTERNAL_ID].alias(lookup.header)
            )


@pytest.mark.parametrize(
    ("given_value", "rule", "field"),
    [
        ({"SALE_NO": "a|b"}, "separator_in_key", EXTERNAL_ID),
        ({"SALE_NO": None}, "required_null", "Sale_No__c"),
        ({"SALE_NO": "   "}, "required_null", "Sale_No__c"),
        ({"SALE_DATE": "2024-05-32"}, "date_unreadable", "Sale_Date__c"),
        ({"SALE_DATE": "2024-06-01"}, "outside_partition", "Sale_Date__c"),
        ({"SALE_NO": "\x00"}, "control_character", "Sale_No__c"),
        ({"SEQ": None}, "required_null", "Seq__c"),
        ({"AMT_INC_VAT": Decimal("1E16"), "VAT_AMT": Decimal("1E16")}, "number_out_of_range", "Amt_Inc_Vat__c"),
    ],
)
def test_a_row_names_the_first_rule_it_breaks(given_value: dict[str, object], rule: str, field: str) -> None:
    """One row, one entry: rules in the order of the columns, then the key, the lookups and the partition."""
    result = converted(find_table("KPS_T_SALES_MD"), one_row(find_table("KPS_T_SALES_MD"), **given_value))
    assert (result["__rule"].item(), result["__field"].item()) == (rule, field)


def test_a_column_that_is_missing_is_named() -> None:
    """Before any row is converted."""
    table = find_table("KPS_R_POS_SUPPLIER")
    with pytest.raises(SchemaDrift, match="CITY") as caught:
        converted(table, rows_of(table, 1).drop("CITY"))
    assert caught.value.differences == ("CITY",)


def test_long_text_of_a_clob_is_sent_whole() -> None:
    """30,000 Thai characters fit into a long text field."""
    whole = "น้ำ" * 10_000
    assert probed(value_column(CLOB, long_text()), [whole])[FIELD].item() == whole
