"""One parser of partition keys and months: what it takes, what it refuses, and what it tells to type instead."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kpc.errors import ConfigError
from kpc.partition import FIRST_YEAR, LAST_YEAR, check_key, find_partition, parse_months, stored_partition

WRONG_MONTHS = {
    "2567-01": "type 2024-01",
    "2642-12": "type 2099-12",
    "20๒๔-01": "digits 0 to 9",
    "２０２４-01": "digits 0 to 9",
    "٢٠٢٤-01": "digits 0 to 9",
    " 2024-01": "blanks",
    "2024-01\n": "blanks",
    "2024\u201301": "hyphen of the keyboard",
    "2024-1": "such as 2024-01",
    "24-01": "such as 2024-01",
    "2024-00": "such as 2024-01",
    "2024-13": "such as 2024-01",
    "2024-01-01": "such as 2024-01",
    "0000-01": "such as 2024-01",
    "9999-12": "such as 2024-01",
    "all": "split by month",
    "ALL": "split by month",
    "2024-01\x00": "such as 2024-01",
    "x" * 10_000: "such as 2024-01",
}


@pytest.mark.parametrize("key", WRONG_MONTHS, ids=lambda key: ascii(key)[:30])
def test_a_wrong_month_says_what_to_type(key: str) -> None:
    """In one sentence of ASCII, however long or odd the key is."""
    with pytest.raises(ConfigError) as caught:
        check_key(key, is_monthly=True)
    assert WRONG_MONTHS[key] in str(caught.value)
    assert len(str(caught.value)) < 300
    assert str(caught.value).isascii()


@pytest.mark.parametrize("key", ["all", " ALL", "2024-01", "", "ＡＬＬ"])
def test_a_table_without_months_has_one_key(key: str) -> None:
    with pytest.raises(ConfigError, match="ALL"):
        find_partition("KPS_R_POS_SUPPLIER", key)


@given(st.text(max_size=12))
def test_any_text_is_a_key_or_refused(key: str) -> None:
    """Nothing else than a plain month passes, and no other error leaves the parser."""
    try:
        assert check_key(key, is_monthly=True) == key
    except ConfigError:
        return
    assert key.isascii()
    assert FIRST_YEAR <= int(key[:4]) <= LAST_YEAR
    assert find_partition("KPS_T_SALES_M", key).bounds is not None


@pytest.mark.parametrize(
    ("months", "first", "last", "count"),
    [
        ("2024-01", "2024-01", "2024-01", 1),
        ("2023-11:3", "2023-11", "2024-01", 3),
        ("2099-12:1", "2099-12", "2099-12", 1),
    ],
)
def test_months_are_a_first_one_and_a_count(months: str, first: str, last: str, count: int) -> None:
    keys = parse_months(months)
    assert (keys[0], keys[-1], len(keys)) == (first, last, count)


@pytest.mark.parametrize(
    "months",
    ["", " ", ":", ":3", "2024-01:", "2024-01:0", "2024-01:-1", "2024-01:x", "2024-01:๓", "2024-01:1:1", "2024-01..03",
     "2024-01:9999", "2099-12:2", "2567-01:1", "0000-01:1", "9999-12:1", "2024-01,2024-02"],
)  # fmt: skip
def test_wrong_months_are_refused_in_a_sentence(months: str) -> None:
    with pytest.raises(ConfigError, match="2024-01"):
        parse_months(months)


def test_a_wrong_entry_of_the_ledger_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    """An older version took such a key; it is named, and the other partitions are worked on."""
    assert stored_partition("KPS_T_SALES_M", "2567-01") is None
    assert "2567-01" in caplog.text
    assert stored_partition("KPS_GONE", "ALL") is None
    found = stored_partition("KPS_T_SALES_M", "2024-01")
    assert found == find_partition("KPS_T_SALES_M", "2024-01")
