"""The expectation suite of a table, derived from its declaration in the catalog."""

from __future__ import annotations

import uuid

import great_expectations as gx
from great_expectations.expectations.metadata_types import FailureSeverity

from expectations.demands import demands
from expectations.equality import ExpectOracleToEqualSalesforce, sentence_for
from kpc.catalog.table import Table

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


def expectation(table: Table, level: int, measure: str, tolerance: str) -> ExpectOracleToEqualSalesforce:
    return ExpectOracleToEqualSalesforce(
        id=str(uuid.uuid5(NAMESPACE, f"{table.name} {level} {measure}")),
        level=level,
        measure=measure,
        tolerance=tolerance,
        description=sentence_for(level, measure, tolerance),
        severity=FailureSeverity.CRITICAL,
    )
