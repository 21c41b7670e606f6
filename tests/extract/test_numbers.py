"""Numbers that a NUMBER column may hold and a decimal may not: rounded by Oracle, or their row alone is rejected."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import ROUND_HALF_UP, Decimal, localcontext

import polars as pl
import pytest
from oracle_source import OracleServer, start_oracle

from assets.oracle_extract import oracle_extract
from assets.staged_csv import staged_csv
from kpc.catalog.table import Table
from kpc.catalog.types import Column, Measure, NullRule, Phase, currency, decimal, number, text
from kpc.errors import DataUnreadable, Terminal
from kpc.extract.control_totals import scan_chunks
from kpc.extract.plan import spec_hash
from kpc.partition import Partition
from kpc.settings import SalesforceSettings
from kpc.stages.context import PartitionContext
from kpc.stages.current_manifests import sealed_extract, staged_manifest
from kpc.stages.workspace import Workspace
from kpc.staging.rejects import read_rejected
from kpc.storage.layout import EXTRACT_PLAN
from kpc.storage.manifests import ExtractManifest, StagedManifest

ID = Column("ID", number(), "Id__c", decimal(18, 0), NullRule.REJECT, nullable=False)
AMOUNT = Column("AMOUNT", number(), "Amount__c", currency(18, 2), NullRule.ZERO)
RATE = Column("RATE", number(), "Rate__c", decimal(18, 4))
CODE = Column("CODE", number(), "Code__c", text(60))
NUMBERS = Table("NUMBERS", "Numbers__c", Phase.REFERENCE, (ID, AMOUNT, RATE, CODE), ("ID",), 1, (Measure("AMOUNT"),))
WRAPPING = "34028236692093846346337460744"  # as decimal(38, 10) the driver makes 0.82 of it


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleServer]:
    server = start_oracle(tmp_path_factory.mktemp("oracle"), "--rows", "0")
    server.execute("CREATE TABLE NUMBERS (ID NUMBER NOT NULL, AMOUNT NUMBER, RATE NUMBER, CODE NUMBER)")
    yield server
    server.stop()


@pytest.fixture
def workspace(server: OracleServer, workspaces: Callable[..., Workspace], salesforce: SalesforceSettings) -> Workspace:
    return workspaces(server, salesforce)


def fill(server: OracleServer, *rows: tuple[str, str, str, str]) -> None:
    server.execute("DELETE FROM NUMBERS", *(f"INSERT INTO NUMBERS VALUES ({', '.join(row)})" for row in rows))


def staged(workspace: Workspace, table: Table = NUMBERS) -> tuple[ExtractManifest, pl.DataFrame, StagedManifest]:
    """The extract, its rows and what staging made of them."""
    context = PartitionContext(workspace, Partition(table, "ALL"))
    oracle_extract.materialize(context)
    manifest = sealed_extract(context)
    folder = context.paths.generation(manifest.generation).extract
    staged_csv.materialize(context)
    rows = scan_chunks(folder, manifest.chunks, table).collect().sort("ID")
    return manifest, rows, staged_manifest(context)


def rejected(workspace: Workspace, staged: StagedManifest) -> list[tuple[str, str, str]]:
    """Key, rule and field of every rejected row."""
    paths = PartitionContext(workspace, Partition(NUMBERS, "ALL")).paths.generation(staged.generation)
    assert staged.rejected_file is not None
    found = read_rejected(paths.staged(staged.mapping_version) / staged.rejected_file.name)
    return sorted(found.select("source_key", "rule", "field").rows())


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("100 * 7 / 107", "6.54"),
        ("-100 * 7 / 107", "-6.54"),
        ("0.005", "0.01"),
        ("-0.005", "-0.01"),
        ("0.0049999999999999999999999999999999999999", "0.00"),
        ("1E-130", "0.00"),
        ("9999999999999999.99499999", "9999999999999999.99"),
        ("NULL", None),
    ],
)
def test_oracle_rounds_what_is_only_sent(
    server: OracleServer, workspace: Workspace, value: str, expected: str | None
) -> None:
    """Half away from zero, at the field's scale, whatever the digits; each rounded value is counted."""
    fill(server, ("1", value, "1.5", "7"), ("2", "2.25", "NULL", "8"))
    manifest, rows, made = staged(workspace)
    assert rows["AMOUNT"].to_list() == [None if expected is None else Decimal(expected), Decimal("2.25")]
    assert (made.staged, made.rejected, made.rounded) == (2, 0, 0 if expected is None else 1)
    (total,) = manifest.control_totals.measures
    assert total.sum == Decimal(expected or "0") + Decimal("2.25")


@pytest.mark.parametrize(
    "value", [WRAPPING, f"-{WRAPPING}", "1E30", "1E125", "-1E125", "9" * 38, "12345678901234567.89"]
)
@pytest.mark.parametrize("place", ["AMOUNT", "RATE"])
def test_a_number_beyond_the_field_rejects_its_row_alone(
    server: OracleServer, workspace: Workspace, value: str, place: str
) -> None:
    """With key and field; the other rows and the control totals are as without it."""
    cells = {"AMOUNT": "1", "RATE": "1", place: value}
    fill(server, ("1", cells["AMOUNT"], cells["RATE"], "7"), ("2", "2", "2", "8"), ("3", "3.5", "3", "NULL"))
    _, _, made = staged(workspace)
    assert (made.staged, made.rejected) == (2, 1)
    assert rejected(workspace, made) == [("1", "number_out_of_range", f"{place.capitalize()}__c")]


@pytest.mark.parametrize(
    ("key", "code", "expected"),
    [
        ("1.5", "7", ("1.5", "key_loses_digits", "External_ID__c")),
        ("1E29", "7", None),
        ("100 * 7 / 107", "7", None),
        ("1", "1E29", ("1", "number_out_of_range", "Code__c")),
        ("1", "1 / 3", ("1", "number_out_of_range", "Code__c")),
    ],
)
def test_keys_and_texts_are_never_rounded(
    server: OracleServer, workspace: Workspace, key: str, code: str, expected: tuple[str, str, str] | None
) -> None:
    """A value that cannot be kept digit by digit rejects its row; nothing near it is loaded in its place."""
    fill(server, (key, "1", "1", code), ("2", "2", "2", "0.0000000001"))
    _, rows, made = staged(workspace)
    assert (made.staged, made.rejected) == (1, 1)
    (found,) = rejected(workspace, made)
    if expected is not None:
        assert found == (expected[0], expected[1], expected[2]) or found[:2] == expected[:2]
    assert rows.filter(pl.col("ID") == 2)["CODE"].to_list() == [Decimal("0.0000000001")]


def test_random_numbers_arrive_as_oracle_rounds_them(server: OracleServer, workspace: Workspace) -> None:
    """Numbers of 1 to 40 digits at every magnitude: each arrives exactly rounded, or its row is rejected."""
    values = [f"{digits}E{power}" for digits in ("1", "123456789", "5", "7" * 40) for power in range(-45, 31, 5)]
    fill(server, *((str(at), value, "NULL", "NULL") for at, value in enumerate(values, start=1)))
    workspace.settings.staging.rejected_share = 1
    _, rows, made = staged(workspace)
    arrived = dict(zip(rows["ID"].cast(pl.Int64), rows["AMOUNT"], strict=True))
    outside = 0
    with localcontext(prec=120):
        for at, value in enumerate(values, start=1):
            exact = Decimal(value).quantize(Decimal("0.01"), ROUND_HALF_UP)
            outside += abs(exact) >= 10**16
            if abs(exact) < 10**16:
                assert arrived[at] == exact, value
    assert made.rejected == outside > 0
    assert made.staged == len(values) - outside


def test_another_scale_of_the_field_needs_a_new_extract() -> None:
    """The spec covers every rounding scale, whether or not the type of the file changes with it."""

    def spec(*columns: Column) -> str:
        table = Table("NUMBERS", "Numbers__c", Phase.REFERENCE, columns, ("ID",), 1, ())
        return spec_hash("KPC", Partition(table, "ALL"), 1000)

    finer = Column("AMOUNT", number(), "Amount__c", currency(18, 3), NullRule.ZERO)
    kept = Column("AMOUNT", number(), "Amount__c", currency(18, 2), NullRule.KEEP)
    measured = Table("NUMBERS", "Numbers__c", Phase.REFERENCE, (ID, kept), ("ID",), 1, (Measure("AMOUNT"),))
    zeroed = Table("NUMBERS", "Numbers__c", Phase.REFERENCE, (ID, AMOUNT), ("ID",), 1, (Measure("AMOUNT"),))
    assert spec(ID, AMOUNT) != spec(ID, finer)
    assert spec_hash("KPC", Partition(measured, "ALL"), 9) != spec_hash("KPC", Partition(zeroed, "ALL"), 9)


def test_totals_cover_every_number_column(server: OracleServer, workspace: Workspace) -> None:
    """Not the measures alone: sums of the columns without measure, keys too, come from Oracle and are compared."""
    fill(server, ("1", "1", "0.5", "7"), ("2", "2", "0.25", "8"))
    manifest, _, _ = staged(workspace)
    totals = {each.column: (each.sum, each.count) for each in manifest.control_totals.numbers}
    assert totals == {
        "ID": (Decimal(3), 2), "AMOUNT": (None, None), "RATE": (Decimal("0.75"), 2), "CODE": (Decimal(15), 2),
    }  # fmt: skip


def test_an_extract_that_differs_is_given_up(server: OracleServer, workspace: Workspace) -> None:
    """The next run takes a new SCN instead of comparing the same data with the same totals for ever."""
    fill(server, ("1", "1", "0.5", "7"))
    context = PartitionContext(workspace, Partition(NUMBERS, "ALL"))
    generations = workspace.ledger.generations
    with server.without_faults():
        server.fault("error", 600, sql='SELECT "ID", "AMOUNT"', times=1)
        with pytest.raises(Terminal, match="ORA-00600"):
            oracle_extract.materialize(context)
    open_one = generations.unfinished(context.environment, context.partition)
    assert open_one is not None
    plan = context.paths.generation(open_one.id).extract / EXTRACT_PLAN
    plan.write_text(re.sub(r'("sum": ?)"0\.5"', r'\1"0.6"', plan.read_text()))
    with pytest.raises(DataUnreadable, match=r"RATE: Oracle 0\.6"):
        oracle_extract.materialize(context)
    assert generations.unfinished(context.environment, context.partition) is None
    oracle_extract.materialize(context)
    sealed = generations.current(context.environment, context.partition)
    assert sealed is not None
    assert sealed.scn >= open_one.scn
