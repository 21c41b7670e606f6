"""The partitions of a table add up to the table; what belongs to none is counted by cause, never lost."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from emulated_org import Emulator
from hypothesis import given
from hypothesis import strategies as st
from oracle_source import OracleServer

from kpc.campaign.assignment import Cause, sort_days
from kpc.campaign.completeness import Completeness, completeness
from kpc.campaign.inspection import inspect_unassigned
from kpc.campaign.plan import plan_campaign
from kpc.campaign.sign_off import revoke_sign_off, sign_off
from kpc.campaign.sign_off_list import list_sign_offs
from kpc.catalog import TABLES, Phase
from kpc.catalog.columns import day
from kpc.catalog.types import Calendar, DateFormat
from kpc.errors import ConfigError
from kpc.partition import month_keys
from kpc.stages.workspace import Workspace

SALES = TABLES["KPS_T_SALES_M"]
MONTHS = month_keys("2024-01", 3)
SALE_DATE = SALES.by_name["SALE_DATE"]


def test_rows_outside_every_month_are_counted_by_cause(
    oracles: Callable[..., OracleServer], emulated: Callable[..., Emulator], workspaces: Callable[..., Workspace]
) -> None:
    """An impossible day, a text that is not a date and a month out of scope: each is found, and all add up."""
    source = oracles("--rows", "1500", "--months", "2024-01,2024-02,2024-03")
    with source.connect() as connection:
        cursor = connection.cursor()
        rowids = [row[0] for row in cursor.execute("SELECT ROWIDTOCHAR(ROWID) FROM KPS_T_SALES_M ORDER BY ROWID")]
        for rowid, value in zip(rowids, ("2024-02-31", "soon", "2019-05-05", "2019-05-05"), strict=False):
            cursor.execute("UPDATE KPS_T_SALES_M SET SALE_DATE = :1 WHERE ROWID = CHARTOROWID(:2)", (value, rowid))
        connection.commit()
    workspace = workspaces(source, emulated().settings)
    plan = plan_campaign(workspace, tuple(TABLES.values()), MONTHS, "incremental")
    headers = next(one for one in plan.assignments if one.table == "KPS_T_SALES_M")
    assert headers.unassigned == {Cause.UNPARSEABLE: 2, Cause.OUT_OF_SCOPE: 2}
    assert sum(headers.by_key.values()) + headers.unassigned_rows == headers.rows == len(rowids)
    assert plan.unassigned_rows == 4
    shown = inspect_unassigned(SALES, workspace)
    assert {"cause": "out_of_scope", "value": "2019-05-05", "rows": 2} in shown["values"]
    scope = workspace.ledger.scope.current(workspace.environment)
    assert scope is not None
    assert scope.months == list(MONTHS)
    assert json.dumps(shown)


def test_a_child_needs_its_parent_in_scope(
    oracle: OracleServer, emulated: Callable[..., Emulator], workspaces: Callable[..., Workspace]
) -> None:
    """Lines without headers would have no parent; the plan says which table to add."""
    workspace = workspaces(oracle, emulated().settings)
    with pytest.raises(ConfigError, match="Add KPS_T_SALES_M to the tables"):
        plan_campaign(workspace, (TABLES["KPS_T_SALES_MD"],), MONTHS, "incremental")


@given(st.lists(st.tuples(st.none() | st.text(alphabet="0123456789-x ", max_size=10), st.integers(1, 9)), max_size=30))
def test_no_value_is_lost_or_counted_twice(days: list[tuple[str | None, int]]) -> None:
    """Whatever the column holds, every row is in exactly one month or one cause."""
    unique = dict(days)
    found = sort_days(SALES, SALE_DATE, MONTHS, unique.items(), scn=1)
    assert found.rows == sum(unique.values()) == sum(found.by_key.values()) + found.unassigned_rows


def test_a_buddhist_column_is_assigned_by_its_own_years() -> None:
    """2567 is 2024: the bounds are spelled in the column's calendar, as Oracle compares them."""
    column = day("D", date_format=DateFormat.DMY, calendar=Calendar.BUDDHIST)
    days = [("2567-01-31", 1), ("2567-02-29", 2), ("2567-02-30", 4), ("2024-01-01", 8), (None, 16), ("    -  -  ", 32)]
    found = sort_days(SALES, column, MONTHS, days, scn=1)
    assert found.by_key == {"2024-01": 1, "2024-02": 2, "2024-03": 0}
    assert found.unassigned == {Cause.UNPARSEABLE: 4, Cause.OUT_OF_SCOPE: 8, Cause.NULL: 48}


def test_unassigned_rows_block_the_sign_off_until_somebody_decides(
    oracles: Callable[..., OracleServer], emulated: Callable[..., Emulator], workspaces: Callable[..., Workspace]
) -> None:
    """A decision holds only for the numbers that it was made on; if they change, a new one is needed."""
    source = oracles("--rows", "300", "--months", "2024-01")
    source.execute("UPDATE KPS_T_SALES_M SET SALE_DATE = 'soon' WHERE ROWNUM = 1")
    workspace = workspaces(source, emulated().settings)

    def plan() -> Completeness:
        plan_campaign(workspace, tuple(TABLES.values()), MONTHS[:1], "incremental")
        found = completeness(Phase.SALES, workspace)
        assert found is not None
        return found

    assert plan().undecided == ("KPS_T_SALES_M",)
    assert "kpc sign-off KPS_T_SALES_M UNASSIGNED" in plan().summary
    reference = completeness(Phase.REFERENCE, workspace)
    assert reference is not None
    assert reference.undecided == ()
    sign_off("KPS_T_SALES_M", "UNASSIGNED", workspace, accepts=False, note="asked the shop")
    assert plan().undecided
    made = sign_off("kps_t_sales_m", "unassigned", workspace, accepts=True, note="a test sale")
    assert plan().undecided == ()
    revoke_sign_off(made.number, workspace, note="it was a real sale")
    assert plan().undecided == ("KPS_T_SALES_M",)
    sign_off("kps_t_sales_m", "unassigned", workspace, accepts=True, note="the shop says that it was a test")
    assert plan().undecided == ()
    source.execute("UPDATE KPS_T_SALES_M SET SALE_DATE = 'later' WHERE ROWNUM <= 2")
    assert plan().undecided == ("KPS_T_SALES_M",)
    signed = [each.decision for each in workspace.ledger.sign_offs.all(workspace.environment)]
    assert signed == ["refused", "accepted", "revoked", "accepted"]
    assert [each.standing for each in list_sign_offs(workspace)] == ["replaced", "revoked", "stands", "expired"]
    with pytest.raises(ConfigError, match="partitions are not reconciled"):
        sign_off("sales", None, workspace, accepts=True, note="")
    with pytest.raises(ConfigError, match="nothing to decide"):
        sign_off("KPS_T_SALES_MD", "UNASSIGNED", workspace, accepts=True, note="")
