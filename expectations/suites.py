"""The expectation suite of a table, derived from its declaration in the catalog."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from decimal import Decimal

import great_expectations as gx
from great_expectations.expectations.metadata_types import FailureSeverity

from expectations.equality import ExpectOracleToEqualSalesforce, sentence_for
from kpc.catalog.table import Table

ROWS = "rows"
CHECKSUMS = "records with equal checksum"
AGGREGATES = ("sum", "average", "minimum", "maximum", "non-null count")

# An average is a quotient: with exceptions subtracted, its last digits depend on how each division was rounded.
AVERAGE_ROUNDING = Decimal("0.000001")

# Ids are derived from names, so that every process writes the same suite.
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "kpc-migration/expectations")


def suite_for(table: Table) -> gx.ExpectationSuite:
    """Level 1: rows. Level 2: five aggregates of each measure. Level 3: checksums of records."""
    suite = gx.ExpectationSuite(
        name=table.name,
        id=str(uuid.uuid5(NAMESPACE, table.name)),
        meta={"table": table.name, "target": table.target, "phase": table.phase.value},
    )
    suite.expectations = [expectation(table, *demand) for demand in demands(table)]
    return suite


def demands(table: Table) -> Iterator[tuple[int, str, str]]:
    """(level, measure, tolerance) of each expectation, in the order in which people read them."""
    yield 1, ROWS, "0"
    for measure in table.measures:
        for aggregate in AGGREGATES:
            yield 2, f"{measure.column} {aggregate}", _tolerance(Decimal(measure.tolerance), aggregate)
    yield 3, CHECKSUMS, "0"


def expectation(table: Table, level: int, measure: str, tolerance: str) -> ExpectOracleToEqualSalesforce:
    return ExpectOracleToEqualSalesforce(
        id=str(uuid.uuid5(NAMESPACE, f"{table.name} {level} {measure}")),
        level=level,
        measure=measure,
        tolerance=tolerance,
        description=sentence_for(level, measure, tolerance),
        severity=FailureSeverity.CRITICAL,
    )


def _tolerance(declared: Decimal, aggregate: str) -> str:
    """The catalog's tolerance applies to amounts; a count of values must be exact."""
    if aggregate == "non-null count":
        return "0"
    return format(max(declared, AVERAGE_ROUNDING) if aggregate == "average" else declared, "f")
