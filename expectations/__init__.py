"""The checks of a migrated partition as Great Expectations suites, and the Data Docs that show their results.

    suite_for(table)                                    the expectations that follow from the catalog
    validate(table, key, comparisons, run_name=, root=) one checkpoint run; its result is stored under root/gx
    build_data_docs(root)                               the pages, from the stored results
    sign_off_report.write_report(root, workspace, phase)  the report that people sign

Importing this package is fast: the first call of `suite_for` or `validate` imports Great Expectations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kpc.catalog.table import Table
from kpc.reconcile.comparison import Comparison

if TYPE_CHECKING:
    import great_expectations as gx

    from expectations.run_record import RunRecord
    from kpc.stages.workspace import Workspace

__all__ = ["build_data_docs", "stored_results", "suite_for", "validate"]


def _utc_now() -> datetime:
    return datetime.now(UTC)


def suite_for(table: Table) -> gx.ExpectationSuite:
    """The table's suite: one expectation for each number that must be passed to `validate`."""
    from expectations import loading  # noqa: PLC0415  Great Expectations takes seconds to import

    loading.import_great_expectations()
    from expectations import suites  # noqa: PLC0415  the same

    return suites.suite_for(table)


def validate(
    table: Table,
    key: str,
    comparisons: Sequence[Comparison],
    *,
    run_name: str,
    root: Path,
    facts: Mapping[str, str] | None = None,
    record: RunRecord | None = None,
    clock: Callable[[], datetime] = _utc_now,
) -> bool:
    """Check the comparisons of one partition and store the result under `root`; True if all of them agree.

    A level 1 or 2 expectation without a comparison fails; level 3 without one is stored as skipped, not passed. `facts`
    (SCN, generation, ...) are shown on the partition's page under these names; they must not contain personal values or
    values of single rows. `record` says how the numbers came about. Several processes may call this
    concurrently with the same `root`.
    """
    from expectations import loading  # noqa: PLC0415  Great Expectations takes seconds to import

    loading.import_great_expectations()
    from expectations import checkpoint  # noqa: PLC0415  the same

    return checkpoint.validate(
        table,
        key,
        comparisons,
        run_name=run_name,
        root=root,
        facts=facts or {},
        record=record,
        clock=clock,
    )


def stored_results(root: Path, run_name: str) -> list[Path]:
    """The files in which the run of this name stored its results."""
    from expectations import loading  # noqa: PLC0415  Great Expectations takes seconds to import

    loading.import_great_expectations()
    from expectations import checkpoint  # noqa: PLC0415  the same

    return checkpoint.stored_results(root, run_name)


def build_data_docs(root: Path, workspace: Workspace | None = None) -> Path:
    """Render the new results under `root` and return the overview page, `index.html`.

    With a workspace, the plan, the progress and the sign-offs are read from its ledger first; otherwise they are shown
    as they were read last. Repeating it is cheap: only partitions with a new result or standing are rendered. Great
    Expectations is not imported.
    """
    from expectations import data_docs  # noqa: PLC0415  jinja2 is needed only when pages are built

    if workspace is not None:
        from expectations.campaign_reading import read_campaign  # noqa: PLC0415  the ledger is slow to import

        read_campaign(root, workspace)
    return data_docs.build(root)
