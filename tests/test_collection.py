"""Every process that collects the tests finds the same ones under the same readable names."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pytest
from checkout import PROJECT
from parameter_ids import LONGEST, parameter_id

LONGEST_NAME = 180  # of a whole test


def _collect(hash_seed: int) -> subprocess.Popen[str]:
    """pytest in a process of its own, which lists all tests, the slow ones too."""
    options = ["--collect-only", "-q", "-m", "", "-p", "no:cacheprovider", "-p", "no:xdist"]
    return subprocess.Popen(  # noqa: S603  our own program
        [sys.executable, "-m", "pytest", *options],
        cwd=PROJECT,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTEST_ADDOPTS": ""},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _names(collecting: subprocess.Popen[str]) -> list[str]:
    output, _ = collecting.communicate(timeout=240)
    assert collecting.returncode == 0, output[-2000:]
    return [line for line in output.splitlines() if "::" in line]


def test_two_processes_collect_the_same_tests() -> None:
    """In different seconds and with different hash seeds: pytest-xdist compares the lists and refuses other ones."""
    first = _collect(1)
    time.sleep(1.1)
    first_names, second_names = _names(first), _names(_collect(2))
    assert len(first_names) > 1000
    assert [pair for pair in zip(first_names, second_names, strict=True) if pair[0] != pair[1]] == []
    unreadable = [n for n in first_names if len(n) > LONGEST_NAME or not (n.isascii() and n.isprintable())]
    assert unreadable == []
    assert len(set(first_names)) == len(first_names)


class _Nameless:
    """Without a text of its own."""


def _argument() -> Callable[[int], int]:
    return lambda number: number


@pytest.mark.parametrize(
    ("value", "name"),
    [
        pytest.param("", "empty", id="empty text"),
        pytest.param("a\tb\r\n c", "a b c", id="white space"),
        pytest.param("ไท", "u0e44u0e17", id="Thai"),
        pytest.param(b"\x1f\x8b\x08 \xe9 zip", "u00e9 zip", id="bytes"),
        pytest.param("x" * 99, "x" * (LONGEST - 3) + "...", id="long text"),
        pytest.param({"b", "a", "c"}, "a b c", id="set"),
        pytest.param({"one": 1, "many": [2, b"3"]}, "one=1 many=2 3", id="mapping"),
        pytest.param(Decimal("1.50"), "1.50", id="decimal"),
        pytest.param(date(2024, 2, 29), "2024-02-29", id="day"),
        pytest.param(_Nameless(), "_Nameless", id="object"),
        pytest.param(_argument(), "lambda", id="lambda"),
        pytest.param("a[b]::c", "a(b):c", id="pytest's own signs"),
        pytest.param(7, None, id="number"),
    ],
)
def test_a_parameter_has_a_readable_name(value: object, name: str | None) -> None:
    """Short, printable ASCII, without addresses or the order of a set; None leaves the name to pytest."""
    assert parameter_id(value) == name
