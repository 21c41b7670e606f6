"""What the expectations promise: every number is demanded, compared to its last digit, and never passed in silence."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reconciliation_samples import CHECKSUMS, agreeing, changed, minutes_later, without

from expectations import build_data_docs, suite_for, validate
from expectations.run_record import RunRecord
from kpc.catalog import TABLES, find_table
from kpc.errors import CatalogError
from kpc.reconcile.comparison import Comparison

PAYMENTS = find_table("KPS_T_SALESPAY_MD")
HUGE_AND_A_CENT = Decimal("123456789012345678901234567890123456.79")
HUGE = Decimal("123456789012345678901234567890123456.78")  # 38 digits, as many as Oracle's NUMBER keeps


def stored_result(root: Path) -> dict[str, Any]:
    """The only result under `root`."""
    (file,) = (root / "gx" / "uncommitted" / "validations").rglob("*.json")
    result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return result


def failed_measures(root: Path) -> list[str]:
    results = stored_result(root)["results"]
    return [r["expectation_config"]["kwargs"]["measure"] for r in results if not r["success"]]


def check(root: Path, comparisons: list[Comparison]) -> bool:
    return validate(PAYMENTS, "2024-01", comparisons, run_name="run-1", root=root, clock=lambda: minutes_later(0))


@pytest.mark.parametrize("name", TABLES)
def test_suite_demands_every_number_of_the_catalog(name: str) -> None:
    """Rows, five aggregates of each measure, and checksums: no more and no less, under their exact names."""
    table = TABLES[name]
    aggregates = ("sum", "average", "minimum", "maximum", "non-null count")
    level2 = [(2, f"{m.column} {aggregate}") for m in table.measures for aggregate in aggregates]

    suite = suite_for(table)

    demanded = [(e.level, e.measure) for e in suite.expectations]  # type: ignore[attr-defined]  # our own class
    assert demanded == [(1, "rows"), *level2, (3, CHECKSUMS)]
    assert suite.name == name


def test_suite_survives_json() -> None:
    """A suite that is written and read again demands the same, by the same class."""
    import great_expectations as gx

    suite = suite_for(PAYMENTS)
    copy = gx.ExpectationSuite(**json.loads(json.dumps(suite.to_json_dict())))

    assert [type(e) for e in copy.expectations] == [type(e) for e in suite.expectations]
    assert copy == suite


def test_equal_numbers_pass(tmp_path: Path) -> None:
    """A partition whose numbers agree is valid, and its result is stored."""
    assert check(tmp_path, agreeing(PAYMENTS))
    assert stored_result(tmp_path)["success"] is True


def test_listed_exceptions_are_taken_from_the_source(tmp_path: Path) -> None:
    """Rows that are missing and listed do not make a mismatch."""
    assert check(tmp_path, agreeing(PAYMENTS, rows=500_000, excepted=2))
    rows = stored_result(tmp_path)["results"][0]["result"]
    assert rows["observed_value"] == "Oracle 500,000 | exceptions 2 | Salesforce 499,998 | difference 0"


@pytest.mark.parametrize("measure", [c.measure for c in agreeing(PAYMENTS)])
def test_one_wrong_number_fails(tmp_path: Path, measure: str) -> None:
    """Whichever number differs, the run fails and names this one alone."""
    target = next(c.target for c in agreeing(PAYMENTS) if c.measure == measure)
    assert target is not None

    assert not check(tmp_path, changed(agreeing(PAYMENTS), measure, target=target - Decimal("0.01")))
    assert failed_measures(tmp_path) == [measure]


@pytest.mark.parametrize("measure", [c.measure for c in agreeing(PAYMENTS) if c.level < 3])
def test_missing_number_fails(tmp_path: Path, measure: str) -> None:
    """A number that nobody compared is a failure, not a pass."""
    assert not check(tmp_path, without(agreeing(PAYMENTS), measure))
    assert failed_measures(tmp_path) == [measure]


def test_no_number_at_all_fails(tmp_path: Path) -> None:
    """An empty comparison proves nothing."""
    assert not check(tmp_path, [])


def test_skipped_checksums_are_not_counted_as_passed(tmp_path: Path) -> None:
    """Without level 3 the run is valid, but its result holds no level 3 expectation that succeeded."""
    assert check(tmp_path, without(agreeing(PAYMENTS), CHECKSUMS))

    levels = {r["expectation_config"]["kwargs"]["level"] for r in stored_result(tmp_path)["results"]}
    assert levels == {1, 2}


def test_number_of_the_wrong_level_is_missing(tmp_path: Path) -> None:
    """Rows compared as level 2 do not answer for level 1."""
    moved = [Comparison(2, "rows", Decimal(5), Decimal(5)), *without(agreeing(PAYMENTS), "rows")]
    assert not check(tmp_path, moved)


def test_unasked_number_is_checked_too(tmp_path: Path) -> None:
    """A comparison beyond the catalog is not dropped."""
    assert not check(tmp_path, [*agreeing(PAYMENTS), Comparison(2, "PAY_AMT median", Decimal(5), Decimal(6))])
    assert failed_measures(tmp_path) == ["PAY_AMT median"]


def test_number_compared_twice_is_refused(tmp_path: Path) -> None:
    """Two answers for one number would let the better one win."""
    with pytest.raises(CatalogError, match="rows was compared more than once"):
        check(tmp_path, [*agreeing(PAYMENTS), Comparison(1, "rows", Decimal(1), Decimal(2))])


def test_a_cent_in_38_digits_is_found(tmp_path: Path) -> None:
    """The largest sum that Oracle holds, off by 0.01, differs; its difference is shown to the cent."""
    sums = changed(agreeing(PAYMENTS), "PAY_AMT sum", source=HUGE, target=HUGE_AND_A_CENT)

    assert not check(tmp_path, sums)
    result = next(r for r in stored_result(tmp_path)["results"] if not r["success"])["result"]
    assert result["details"]["difference"] == "0.01"
    assert result["observed_value"].endswith(
        "Salesforce 123,456,789,012,345,678,901,234,567,890,123,456.79 | difference 0.01"
    )


def test_38_equal_digits_agree(tmp_path: Path) -> None:
    """No digit is lost on the way, not even by a default decimal context of 28."""
    assert check(tmp_path, changed(agreeing(PAYMENTS), "PAY_AMT sum", source=HUGE, target=HUGE))


def test_null_agrees_with_null_only(tmp_path: Path) -> None:
    """An aggregate over no rows is null on both sides; null against zero differs."""
    both = changed(agreeing(PAYMENTS), "PAY_AMT sum", source=None, target=None)
    assert check(tmp_path / "both", both)
    assert not check(tmp_path / "one", changed(both, "PAY_AMT sum", target=Decimal(0)))


@pytest.mark.parametrize("value", ["NaN", "sNaN", "Infinity"])
def test_what_is_not_a_number_fails(tmp_path: Path, value: str) -> None:
    """A value that cannot be compared is a failure with a reason, and the pages can show it."""
    wrong = changed(agreeing(PAYMENTS), "PAY_AMT sum", target=Decimal(value))
    assert not check(tmp_path, wrong)
    assert failed_measures(tmp_path) == ["PAY_AMT sum"]
    assert '<tr class="partition mismatch"' in build_data_docs(tmp_path).read_text(encoding="utf-8")


def test_threads_keep_every_result(tmp_path: Path) -> None:
    """Partitions reconciled by threads of one process do not disturb each other."""
    with ThreadPoolExecutor(4) as pool:
        runs = [pool.submit(check, tmp_path / str(n), agreeing(PAYMENTS)) for n in range(8)]
        assert all(run.result() for run in runs)
    assert all(stored_result(tmp_path / str(n))["success"] for n in range(8))


def test_tolerance_of_an_average_has_a_limit(tmp_path: Path) -> None:
    """An average may be rounded in its last digits; a wider tolerance than the suite's does not count."""
    near = {"source": Decimal("1.25"), "target": Decimal("1.2500009"), "tolerance": Decimal("0.000001")}
    far = {"source": Decimal("1.25"), "target": Decimal("1.2600000"), "tolerance": Decimal(1)}

    assert check(tmp_path / "near", changed(agreeing(PAYMENTS), "PAY_AMT average", **near))
    assert not check(tmp_path / "far", changed(agreeing(PAYMENTS), "PAY_AMT average", **far))
    assert not check(
        tmp_path / "sum", changed(agreeing(PAYMENTS), "PAY_AMT sum", target=Decimal(999), tolerance=Decimal(9))
    )


def test_numbers_that_records_prove_are_skipped_or_as_wide_as_doubles(tmp_path: Path) -> None:
    """Sums that the org converts are not demanded; one that doubles round may differ by their error, if level 3 ran."""
    record = RunRecord(verdict="reconciled", by_records=("PAY_AMT",))

    def checked(name: str, comparisons: list[Comparison], about: RunRecord | None) -> bool:
        root = tmp_path / name
        return validate(
            PAYMENTS, "ALL", comparisons, run_name="r", root=root, record=about, clock=lambda: minutes_later(0)
        )

    counted = [c for c in agreeing(PAYMENTS) if c.level != 2 or c.measure.endswith("count")]
    assert not checked("demanded", counted, None)
    assert checked("converted", counted, record)
    rounded = changed(agreeing(PAYMENTS), "PAY_AMT sum", target=Decimal("1000.02"), tolerance=Decimal("0.01"))
    assert not checked("exact", rounded, None)
    assert checked("rounded", rounded, record)
    assert not checked("too far", changed(rounded, "PAY_AMT sum", target=Decimal("1000.03")), record)
    assert not checked("without level 3", without(rounded, CHECKSUMS), record)
    assert not checked("rows", changed(rounded, "rows", target=Decimal(999), tolerance=Decimal(9)), record)


# 38 digits, four of them decimals; written as text, because arithmetic would round them.
_amounts = st.integers(-(10**38) + 1, 10**38 - 1).map(lambda digits: Decimal(f"{digits}e-4"))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the first draw imports, on a busy machine
@given(source=_amounts, excepted=_amounts, target=_amounts, tolerance=_amounts.map(Decimal.copy_abs))
def test_agreement_is_exact(source: Decimal, excepted: Decimal, target: Decimal, tolerance: Decimal) -> None:
    """A comparison agrees exactly when the rational numbers do."""
    comparison = Comparison(2, "x sum", source, target, excepted, tolerance)
    difference = Fraction(target) - (Fraction(source) - Fraction(excepted))
    assert Fraction(comparison.difference or 0) == difference
    assert comparison.agrees is (abs(difference) <= tolerance)
    assert Comparison(2, "x sum", source, comparison.expected, excepted).agrees


def test_import_is_light(tmp_path: Path) -> None:
    """A DAG file or the command line may import the package: nothing heavy comes with it."""
    script = (
        "import sys, expectations, pathlib\n"
        "expectations.build_data_docs(pathlib.Path(sys.argv[1]))\n"
        "print([name for name in ('great_expectations', 'pandas', 'numpy', 'scipy') if name in sys.modules])"
    )
    assert _run(script, str(tmp_path)) == "[]"


def test_nothing_calls_the_network(tmp_path: Path) -> None:
    """Import, validation and pages work on a machine without a network, because none of them asks for one."""
    script = """
import sys, pathlib
calls = []
sys.addaudithook(lambda event, args: calls.append(event) if event in ("socket.connect", "socket.getaddrinfo") else None)
import expectations
from kpc.catalog import find_table
root = pathlib.Path(sys.argv[1])
expectations.validate(find_table("KPS_R_POS_SUPPLIER"), "ALL", [], run_name="r", root=root)
expectations.build_data_docs(root)
assert "great_expectations" in sys.modules
print(calls)
"""
    assert _run(script, str(tmp_path)) == "[]"


def test_import_leaves_out_what_only_charts_need() -> None:
    """Great Expectations is imported without scipy's statistics and without altair; both still work when asked for."""
    script = """
import sys
from expectations.loading import import_great_expectations
import_great_expectations()
light = "scipy.stats._stats_py" not in sys.modules and "altair.vegalite" not in sys.modules
import scipy.stats
print(light, scipy.stats.norm.cdf(0))
"""
    assert _run(script) == "True 0.5"


def _run(script: str, *arguments: str) -> str:
    """What a fresh interpreter prints."""
    done = subprocess.run(  # noqa: S603  our own interpreter and script
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
