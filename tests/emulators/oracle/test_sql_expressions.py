"""What Oracle's expressions are worth, statement by statement."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Decimal

import pytest
from oracle_sql_client import Client, empty_database

from kpc.emulators.oracle.sql.functions.registry import FUNCTIONS, NOT_EMULATED


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    database = empty_database()
    yield Client(database)
    database.close()


def day(year: int, month: int, number: int, hour: int = 0, minute: int = 0, second: int = 0) -> dt.datetime:
    return dt.datetime(year, month, number, hour, minute, second)  # noqa: DTZ001  Oracle's DATE has no zone


D = Decimal
NUMBERS = {
    "1 + 2": D(3),
    "1/3": D("0." + "3" * 40),
    "2/3": D("0." + "6" * 39 + "7"),
    "10/3": D("3." + "3" * 38),
    "1e125 * 1": D("1e125"),
    "12345678901234567890123456789012345678 + 1": D("12345678901234567890123456789012345679"),
    "99999999999999999999 * 99999999999999999999": D("9999999999999999999800000000000000000001"),
    "-5": D(-5),
    "- - 5": D(5),
    "round(2.5)": D(3),
    "round(-2.5)": D(-3),
    "round(1.005, 2)": D("1.01"),
    "round(1250, -2)": D(1300),
    "round(-1250, -2)": D(-1300),
    "round(1/3, 4)": D("0.3333"),
    "trunc(1.999, 1)": D("1.9"),
    "trunc(-1.999)": D(-1),
    "trunc(1299, -2)": D(1200),
    "trunc(7 / 2)": D(3),
    "trunc(-7 / 2)": D(-3),
    "floor(-7 / 2)": D(-4),
    "ceil(7 / 2)": D(4),
    "ceil(-7 / 2)": D(-3),
    "floor(6 / 2)": D(3),
    "round(5 / 2)": D(3),
    "round(-5 / 2)": D(-3),
    "round(5 / 3)": D(2),
    "trunc((10.5 - 0.5) / 2.5)": D(4),
    "mod(7, 3)": D(1),
    "mod(-7, 3)": D(-1),
    "mod(7, -3)": D(1),
    "mod(7, 0)": D(7),
    "mod(5.5, 2)": D("1.5"),
    "remainder(7, 4)": D(-1),
    "ceil(1.1)": D(2),
    "ceil(-1.1)": D(-1),
    "floor(-1.1)": D(-2),
    "abs(-3.5)": D("3.5"),
    "sign(-2)": D(-1),
    "power(2, 100)": D(2**100),
    "power(2, -1)": D("0.5"),
    "sqrt(16)": D(4),
    "to_number('12.5')": D("12.5"),
    "to_number(' -1e3 ')": D(-1000),
    "to_number('1,234.50', '9,999.99')": D("1234.5"),
    "to_number('12-', '99MI')": D(-12),
    "'2' + '3'": D(5),
    "length('กข')": D(2),
    "lengthb('กข')": D(6),
    "instr('hello', 'l')": D(3),
    "instr('hello', 'l', 1, 2)": D(4),
    "instr('hello', 'l', -1)": D(4),
    "instr('hello', 'z')": D(0),
    "ascii('A')": D(65),
    "nvl(null, 7)": D(7),
    "nvl2(1, 2, 3)": D(2),
    "greatest(1, 3, 2.5)": D(3),
    "least(1, null)": None,
    "nullif(1, 1)": None,
    "decode(null, null, 1, 2)": D(1),
    "decode(3, 1, 10, 2, 20)": None,
    "case when 1 = 2 then 1 else 2.5 end": D("2.5"),
    "date '2024-03-01' - date '2024-02-01'": D(29),
    "to_date('12:00', 'HH24:MI') - trunc(to_date('12:00', 'HH24:MI'))": D("0.5"),
    "months_between(date '2024-03-31', date '2024-02-29')": D(1),
    "round(months_between(date '2024-03-15', date '2024-02-01'), 6)": D("1.451613"),
    "extract(year from date '2024-02-29')": D(2024),
    "extract(second from timestamp '2024-01-01 10:11:12.345')": D("12.345"),
    "extract(hour from interval '1 02:03:04' day to second)": D(2),
    "cast('12.5' as number)": D("12.5"),
    "cast(1.256 as number(5,2))": D("1.26"),
    "cast(1/3 as number(5,2))": D("0.33"),
    "cast(1.5 as integer)": D(2),
    "regexp_count('banana', 'an')": D(2),
    "to_number(null)": None,
    "1.5d + 1": 2.5,
}

TEXTS = {
    "'a' || null || 'b'": "ab",
    "'' || null": None,
    "''": None,
    "q'[it's]'": "it's",
    "n'ไทย'": "ไทย",
    "substr('hello', 2, 3)": "ell",
    "substr('hello', -3)": "llo",
    "substr('hello', -9)": None,
    "substr('hello', 0, 2)": "he",
    "substr('hello', 9)": None,
    "substr('hello', 1, 0)": None,
    "lpad('a', 3, '*')": "**a",
    "lpad('abc', 2)": "ab",
    "rpad('a', 3) || '|'": "a  |",
    "trim('  x ')": "x",
    "trim(both '*' from '**x*')": "x",
    "trim(leading '0' from '007')": "7",
    "trim('   ')": None,
    "ltrim('xyxa', 'xy')": "a",
    "rtrim('a   ')": "a",
    "replace('banana', 'an', 'AN')": "bANANa",
    "replace('banana', 'an')": "ba",
    "translate('abc', 'ab', 'x')": "xc",
    "upper('straße')": "STRAßE",
    "initcap('hello wORLD o''neil')": "Hello World O'Neil",
    "chr(65)": "A",
    "concat('a', 1)": "a1",
    "decode(1, 1, 'x', 'yy')": "x",
    "coalesce(null, 'x')": "x",
    "to_char(0.5)": ".5",
    "to_char(-0.25)": "-.25",
    "to_char(100)": "100",
    "to_char(1.50)": "1.5",
    "1 || ''": "1",
    "to_char(1234.567, '9,999.99')": " 1,234.57",
    "to_char(-1234.5, '9,999.99')": "-1,234.50",
    "to_char(0, '990.00')": "   0.00",
    "to_char(1234.5, 'FM9990.00')": "1234.50",
    "to_char(12345, '999')": "####",
    "to_char(5, '000')": " 005",
    "to_char(-5, '99PR')": " <5>",
    "to_char(12, 'S99')": "+12",
    "to_char(12, '99MI')": "12 ",
    "to_char(1.5, '$99.00')": "  $1.50",
    "to_char(date '2024-03-05', 'DD/MM/YYYY')": "05/03/2024",
    "to_char(date '2024-03-05', 'YYYY-MM-DD\"T\"HH24:MI:SS')": "2024-03-05T00:00:00",
    "to_char(date '2024-03-05', 'DY MON Month DAY') || '|'": "TUE MAR March     TUESDAY  |",
    "to_char(date '2024-03-05', 'fmMonth DD, YYYY')": "March 5, 2024",
    "to_char(to_date('13:05', 'HH24:MI'), 'HH:MI AM')": "01:05 PM",
    "to_char(date '2024-12-31', 'Q WW IW IYYY DDD D J')": "4 53 01 2025 366 3 2460676",
    "to_char(timestamp '2024-01-01 10:11:12.345678', 'SS.FF3 FF6')": "12.345 345678",
    "to_char(date '2024-03-05')": "05-MAR-24",
    "regexp_replace('a1b22', '[0-9]+', '#')": "a#b#",
    "regexp_substr('abc123', '[0-9]+')": "123",
    "rowidtochar(chartorowid('AAARFxAAEAAAAAAAAB'))": "AAARFxAAEAAAAAAAAB",
    "user": "KPS",
    "sys_context('USERENV', 'CURRENT_SCHEMA')": "KPS",
    "sessiontimezone": "+00:00",
    "to_clob('long')": "long",
    "cast('abc' as varchar2(2))": "ab",
    "cast('a' as char(3)) || '|'": "a  |",
    "rawtohex(hextoraw('0aFF'))": "0AFF",
    "rawtohex(standard_hash('abc', 'MD5'))": "900150983CD24FB0D6963F7D28E17F72",
}

TIMES = {
    "to_date('31/12/2023', 'DD/MM/YYYY')": day(2023, 12, 31),
    "to_date('2023-12-31 23:59:58', 'YYYY-MM-DD HH24:MI:SS')": day(2023, 12, 31, 23, 59, 58),
    "to_date('2023-12-31', 'YYYY-MM-DD HH24:MI:SS')": day(2023, 12, 31),
    "to_date('20231231', 'YYYYMMDD')": day(2023, 12, 31),
    "to_date('20231231', 'YYYY-MM-DD')": day(2023, 12, 31),
    "to_date('1/2/2024', 'DD/MM/YYYY')": day(2024, 2, 1),
    "to_date('01-JAN-99', 'DD-MON-RR')": day(1999, 1, 1),
    "to_date('05-mar-24')": day(2024, 3, 5),
    "to_date('01:30 pm 2024-01-01', 'HH:MI AM YYYY-MM-DD')": day(2024, 1, 1, 13, 30),
    "to_date('2024060', 'YYYYDDD')": day(2024, 2, 29),
    "date '2024-02-28' + 2": day(2024, 3, 1),
    "date '2024-01-01' + 1/24": day(2024, 1, 1, 1),
    "date '2024-01-01' + 1.5": day(2024, 1, 2, 12),
    "date '2024-01-01' - 1/86400": day(2023, 12, 31, 23, 59, 59),
    "date '2024-01-01' + interval '90' minute": day(2024, 1, 1, 1, 30),
    "date '2024-01-01' + numtodsinterval(2, 'HOUR')": day(2024, 1, 1, 2),
    "add_months(date '2024-01-31', 1)": day(2024, 2, 29),
    "add_months(date '2024-02-29', 12)": day(2025, 2, 28),
    "add_months(date '2024-02-29', 1)": day(2024, 3, 31),
    "last_day(date '2024-02-10')": day(2024, 2, 29),
    "trunc(to_date('2024-03-15 10:30', 'YYYY-MM-DD HH24:MI'))": day(2024, 3, 15),
    "trunc(date '2024-03-15', 'MM')": day(2024, 3, 1),
    "trunc(date '2024-03-15', 'YYYY')": day(2024, 1, 1),
    "trunc(date '2024-03-15', 'Q')": day(2024, 1, 1),
    "trunc(date '2024-03-15', 'IW')": day(2024, 3, 11),
    "trunc(date '2024-03-15', 'D')": day(2024, 3, 10),
    "round(to_date('2024-03-15 12:00', 'YYYY-MM-DD HH24:MI'))": day(2024, 3, 16),
    "to_date(null, 'YYYY')": None,
    "cast(timestamp '2024-01-01 10:11:12.9' as date)": day(2024, 1, 1, 10, 11, 12),
    "greatest(date '2024-01-01', date '2024-02-01')": day(2024, 2, 1),
    "to_timestamp('2024-01-01 10:11:12.5', 'YYYY-MM-DD HH24:MI:SS.FF')": day(2024, 1, 1, 10, 11, 12).replace(
        microsecond=500_000
    ),
}


@pytest.mark.parametrize(("expression", "value"), {**NUMBERS, **TEXTS, **TIMES}.items())
def test_an_expression_is_worth_what_oracle_says(client: Client, expression: str, value: object) -> None:
    """Every listed expression gives Oracle's value: exact numbers, NULL for the empty text, dates without zone."""
    assert client.one(f"select {expression} from dual") == value


CONDITIONS = {
    "1 = 1.0": True,
    "'a' = 'a '": True,  # literals are CHAR: blank-padded comparison
    "cast('a' as varchar2(2)) = 'a '": False,
    "'' is null": True,
    "null = null": False,
    "not (null = 1)": False,
    "1 in (1, null)": True,
    "2 not in (1, null)": False,
    "(1, 2) in ((1, 2), (3, 4))": True,
    "1 between 0 and 2": True,
    "'abc' like 'a%'": True,
    "'a_c' like 'a\\_c' escape '\\'": True,
    "'abc' like 'a\\_c' escape '\\'": False,
    "'10' < '9'": True,
    "10 > '9'": True,
    "date '2024-01-01' = timestamp '2024-01-01 00:00:00'": True,
    "date '2024-03-05' = '05-MAR-24'": True,
    "exists (select 1 from dual where 1 = 2)": False,
    "1 = any (1, 2)": True,
    "1 != all (1, 2)": False,
    "regexp_like('Abc', '^a', 'i')": True,
    "regexp_like('Abc', '^a')": False,
    "1/3 = 1/3": True,
    "1/3 < 0.34": True,
    "-1/3 > -0.34": True,
    "hextoraw('0a') = '0A'": True,
    "timestamp '2024-01-01 10:00:00 +07:00' = timestamp '2024-01-01 03:00:00 +00:00'": True,
}


@pytest.mark.parametrize(("condition", "holds"), CONDITIONS.items())
def test_a_condition_holds_when_oracle_says_so(client: Client, condition: str, holds: bool) -> None:
    """Comparisons convert, pad and treat NULL as Oracle does."""
    assert len(client.rows(f"select 1 from dual where {condition}")) == int(holds)


ERRORS = {
    "1/0": (1476, "divisor is equal to zero"),
    "trunc(1/0)": (1476, "divisor is equal to zero"),
    "ceil(1/0)": (1476, "divisor is equal to zero"),
    "to_number('x')": (1722, "invalid number"),
    "to_number('')": None,
    "'a' + 1": (1722, "invalid number"),
    "cast(12345 as number(3))": (1438, "value larger than specified precision allowed for this column"),
    "to_date('2024-13-01', 'YYYY-MM-DD')": (1843, "not a valid month"),
    "to_date('2024-02-30', 'YYYY-MM-DD')": (1839, "date not valid for month specified"),
    "to_date('2024-01-32', 'YYYY-MM-DD')": (1847, "day of month must be between 1 and last day of month"),
    "to_date('2024-01-01x', 'YYYY-MM-DD')": (1830, "date format picture ends before converting entire input string"),
    "to_date('xx/01/2024', 'DD/MM/YYYY')": (1858, "a non-numeric character was found where a numeric was expected"),
    "to_date('2024-01', 'YYYY-MM-DD')": (1840, "input value not long enough for date format"),
    "to_date('2024-01-01')": (1861, "literal does not match format string"),
    "to_date('24:00', 'HH24:MI')": (1850, "hour must be between 0 and 23"),
    "to_date('1', 'ZZ')": (1821, "date format not recognized"),
    "date '2024-02-30'": (1839, "date not valid for month specified"),
    "nosuch": (904, '"NOSUCH": invalid identifier'),
    "dual.nosuch": (904, '"DUAL"."NOSUCH": invalid identifier'),
    "foo(1)": (904, '"FOO": invalid identifier'),
    "substr('a')": (938, "not enough arguments for function"),
    "nvl(1, 2, 3)": (939, "too many arguments for function"),
    "power(-1, 0.5)": (1428, "argument '.5' is out of range"),
    "sqrt(-1)": (1428, "argument '-1' is out of range"),
    "1e125 * 1e10": (1426, "numeric overflow"),
    "chartorowid('x')": (1410, "invalid ROWID"),
    "date '2024-01-01' + date '2024-01-01'": (975, "date + date not allowed"),
    "(select 1 from dual union all select 2 from dual)": (1427, "single-row subquery returns more than one row"),
    "(select 1, 2 from dual)": (913, "too many values"),
    "case when 1 = 1 then 1 else 'a' end": (932, "inconsistent datatypes: expected NUMBER got CHAR"),
    "rowid": (1446, "cannot select ROWID from, or sample, a view with DISTINCT, GROUP BY, etc."),
    "true": (904, '"TRUE": invalid identifier'),
    "1 = 1": (923, "FROM keyword not found where expected"),
    "sys_context('USERENV', 'NOSUCH')": (2003, "invalid USERENV parameter"),
}


@pytest.mark.parametrize(("expression", "expected"), ERRORS.items())
def test_a_bad_expression_ends_in_oracles_error(
    client: Client, expression: str, expected: tuple[int, str] | None
) -> None:
    """The code and the text are Oracle's, and the session goes on."""
    if expected is None:
        assert client.one(f"select {expression} from dual") is None
    else:
        error = client.error(f"select {expression} from dual")
        assert (error.code, error.message) == expected
    assert client.one("select 1 from dual") == 1


REFUSED = (
    "dump('a')", "vsize('a')", "stddev(1)", "to_char(sysdate, 'TS')",
    "regexp_replace('a', '(a)\\1', 'b')", "regexp_substr('ab', 'a|ab')", "to_char(1, '9.9EEEE')", "listagg(1) over ()",
    "to_char(1e50)", "interval '1' year",
)  # fmt: skip


@pytest.mark.parametrize("expression", REFUSED)
def test_what_is_not_faithful_is_refused(client: Client, expression: str) -> None:
    """ORA-03001 (or a syntax error), never another function's value."""
    assert client.error(f"select {expression} from dual").code in (3001, 933, 923)


def test_a_function_is_either_emulated_or_refused() -> None:
    assert NOT_EMULATED & FUNCTIONS.keys() == frozenset()
