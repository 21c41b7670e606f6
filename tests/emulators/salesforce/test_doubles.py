"""Numbers in answers are doubles, as in Salesforce's API: their digits, their sums and their spelling."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from salesforce_emulator_process import EmulatorProcess, switch

from kpc.emulators.salesforce.doubles import double_text

pytestmark = pytest.mark.emulator_only

SALE = "KPS_Preinv__c"
AMOUNT = "Amt_Inc_Vat__c"  # two places after the point
AMOUNTS = {"tenth": "0.1", "large": "70368744177664.01", "odd": "12345678.9", "round": "0.125", "small": "-0.01"}


@pytest.fixture(scope="module", autouse=True)
def records(emulator: EmulatorProcess) -> None:
    """Sales with these amounts, ten more of 0.1, and an account with more than 2^53."""
    rows = [*AMOUNTS.items(), *((f"t{n}", "0.1") for n in range(10))]
    lines = "".join(f"{key},01,{key},{amount}\n" for key, amount in rows)
    header = f"External_ID__c,Con_Code__c,Preinv_No__c,{AMOUNT}\n"
    assert emulator.load(SALE, header + lines)["numberRecordsFailed"] == 0
    accounts = "External_ID__c,Name,AnnualRevenue\nbig,A,9007199254740993\n"
    assert emulator.load("Account", accounts)["numberRecordsFailed"] == 0


def answered(emulator: EmulatorProcess, soql: str) -> httpx.Response:
    answer = emulator.get("query", q=soql)
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize(
    ("key", "spelled"),
    [
        ("tenth", "0.1"),
        ("large", "7.036874417766402E13"),
        ("odd", "1.23456789E7"),
        ("round", "0.13"),
        ("small", "-0.01"),
    ],
)
def test_amounts_are_spelled_as_doubles(emulator: EmulatorProcess, key: str, spelled: str) -> None:
    """Rounded to the field's scale when stored; an exponent from ten million on, and 15 digits that can be trusted."""
    soql = f"SELECT {AMOUNT} FROM {SALE} WHERE External_ID__c = '{key}'"
    assert f'"{AMOUNT}":{spelled}}}' in answered(emulator, soql).text
    row = emulator.get(f"sobjects/{SALE}/External_ID__c/{key}", fields=AMOUNT)
    assert f'"{AMOUNT}":{spelled}}}' in row.text
    job = emulator.client.post(emulator.url("jobs/query"), json={"operation": "query", "query": soql}).json()
    emulator.wait_for(job, "query")
    assert emulator.get(f"jobs/query/{job['id']}/results").text == f'"{AMOUNT}"\n"{spelled}"\n'


def test_a_whole_number_above_2_to_the_53_loses_digits(emulator: EmulatorProcess) -> None:
    """The field holds 18 digits; what comes back is the next double."""
    soql = "SELECT AnnualRevenue FROM Account WHERE External_ID__c = 'big'"
    assert '"AnnualRevenue":9.007199254740992E15' in answered(emulator, soql).text


def test_a_sum_carries_the_error_of_doubles(emulator: EmulatorProcess) -> None:
    """Ten times 0.1 is not 1; the extremes are doubles too."""
    soql = f"SELECT SUM({AMOUNT}) s, MAX({AMOUNT}) m FROM {SALE} WHERE External_ID__c LIKE 't%' AND {AMOUNT} = 0.1"
    text = answered(emulator, soql + " AND External_ID__c != 'tenth'").text
    assert '"s":0.9999999999999999,"m":0.1' in text
    text = answered(emulator, f"SELECT MAX({AMOUNT}) m, MIN({AMOUNT}) n FROM {SALE}").text
    assert '"m":7.036874417766402E13,"n":-0.01' in text


def test_numbers_are_exact_if_the_switch_says_so(switched: EmulatorProcess) -> None:
    """The stored decimals, in answers, in sums and in result files."""
    switch(switched, numbers="exact")
    soql = f"SELECT SUM({AMOUNT}) s FROM {SALE} WHERE External_ID__c LIKE 't%' AND External_ID__c != 'tenth'"
    assert '"s":1.0' in answered(switched, soql).text
    large = f"SELECT {AMOUNT} FROM {SALE} WHERE External_ID__c = 'large'"
    assert f'"{AMOUNT}":70368744177664.01' in answered(switched, large).text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_double_is_known_again_from_its_text(value: float) -> None:
    """One digit before the point where there is an exponent, as Java writes it."""
    text = double_text(value)
    assert float(text) == value
    mantissa, _, power = text.lstrip("-").partition("E")
    assert bool(power) == (value != 0 and not 1e-3 <= abs(value) < 1e7)
    if power:
        assert 1 <= float(mantissa) < 10
        assert mantissa[1] == "."
