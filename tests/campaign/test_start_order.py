"""Which partitions a campaign starts, in which order and how many at a time; without Airflow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kpc.campaign.request import CampaignOptions, CampaignRequest, make_request
from kpc.campaign.situation import (
    IN_FLIGHT,
    SESSIONS_AHEAD,
    AirflowView,
    FailedRun,
    LedgerFacts,
    PartitionState,
    Situation,
    judge,
    next_starts,
)
from kpc.campaign.start_order import start_order
from kpc.catalog import TABLES
from kpc.errors import ConfigError
from kpc.ledger import CampaignRow, CampaignStart, PartitionWork, StageRun
from kpc.ledger.states import CampaignState, StageState
from kpc.partition import Partition, find_partition
from kpc.stages.names import ORACLE_EXTRACT, RECONCILED, SF_LOADED, STAGED_CSV, asset_name

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
NOW = BEGAN + timedelta(hours=1)
SUPPLIERS, EMAILS = find_partition("KPS_R_POS_SUPPLIER", "ALL"), find_partition("KPS_R_EMAIL_SUPPLIER", "ALL")
HEADERS, LINES = find_partition("KPS_T_SALES_M", "2024-01"), find_partition("KPS_T_SALES_MD", "2024-01")
YEARS = make_request(first_month="2020-01", last_month="2024-12")


def name(partition: Partition) -> tuple[str, str]:
    return (partition.table.name, partition.key)


def campaign(request: CampaignRequest = YEARS, **changes: Any) -> CampaignRow:
    row = CampaignRow(
        id=1, source_id="s", target_id="t", months=list(request.months), tables=[one.name for one in request.tables],
        mode=request.mode, options=request.options.as_json(), state=CampaignState.RUNNING, round=1, run_id="r",
        actor="a", started_utc=BEGAN, continued_utc=BEGAN, ended_utc=None, ended_by=None, reason=None, result=None,
    )  # fmt: skip
    return replace(row, **changes)


def started(*partitions: Partition, round_: int = 1) -> dict[tuple[str, str], CampaignStart]:
    return {name(one): CampaignStart(1, *name(one), round_, f"run {one}", BEGAN) for one in partitions}


def ran(partition: Partition, stage: str, state: StageState = StageState.DONE, error: str = "") -> StageRun:
    return StageRun(
        id=1, source_id="s", target_id="t", table_name=partition.table.name, partition_key=partition.key, stage=stage,
        generation="g", mapping_version="m", run_id="r", actor="a", mode="full", state=state, rows=1, bytes=1,
        detail={}, error=error or None, started_utc=BEGAN + timedelta(minutes=1),
        finished_utc=BEGAN + timedelta(minutes=2),
    )  # fmt: skip


def work(partition: Partition, verdict: StageState | None = None, **changes: Any) -> PartitionWork:
    one = PartitionWork(
        *name(partition), "g", extracted_utc=BEGAN + timedelta(minutes=1), rows=1, rows_to_send=1, rows_sent=1,
        is_loaded=verdict is not None, was_never_loaded=False, verdict=verdict,
    )  # fmt: skip
    return replace(one, **changes)


def situation(
    order: Sequence[Partition],
    starts: dict[tuple[str, str], CampaignStart] | None = None,
    *,
    of: CampaignRow | None = None,
    stages: Sequence[StageRun] = (),
    works: Sequence[PartitionWork] = (),
    airflow: AirflowView | None = None,
    moved: Sequence[Partition] = (),
) -> Situation:
    by_partition: dict[tuple[str, str], dict[str, StageRun]] = {}
    for run in stages:
        by_partition.setdefault((run.table_name, run.partition_key), {})[run.stage] = run
    facts = LedgerFacts(
        starts or {}, by_partition, {(one.table_name, one.partition_key): one for one in works}, moved
    )  # fmt: skip
    return judge(of or campaign(), order, facts, NOW, airflow)


def states(found: Situation) -> list[PartitionState]:
    return [one.state for one in found.standings]


def test_phases_in_order_parents_before_children_smallest_first() -> None:
    """Whatever the sizes, no partition comes before its parent or before an earlier phase."""
    for big in ("KPS_T_SALES_M", "KPS_R_POS_SUPPLIER", "KPS_WEB_SALES", "KPS_T_PREINV"):
        rows = {table: dict.fromkeys(("ALL", *YEARS.months), 100 if table == big else 1) for table in TABLES}
        order = start_order(YEARS.partitions, rows)
        assert sorted(map(str, order)) == sorted(map(str, YEARS.partitions))
        place = {partition: position for position, partition in enumerate(order)}
        assert all(place[parent] < place[one] for one in order for parent in one.parents())
        phases = [partition.table.phase.position for partition in order]
        assert phases == sorted(phases)
    assert order[-1].table.is_monthly


def test_small_tables_come_before_large_ones() -> None:
    """Of the tables without a parent in a phase, the larger one is started last; an uncounted one counts as large."""
    rows = {"KPS_T_SALES_APPRV": {"ALL": 10}, "KPS_T_SALESBANK_MD": {"ALL": 5}}
    chosen = [find_partition(table, "ALL") for table in ("KPS_WEB_SALES", "KPS_T_SALES_APPRV", "KPS_T_SALESBANK_MD")]
    assert [one.table.name for one in start_order(chosen, rows)] == [
        "KPS_T_SALESBANK_MD",
        "KPS_T_SALES_APPRV",
        "KPS_WEB_SALES",
    ]


def test_months_of_headers_and_lines_go_together() -> None:
    """A month of headers, lines and payments is started before the next month: they share an SCN."""
    tables = ["KPS_T_SALES_M", "KPS_T_SALES_MD", "KPS_T_SALESPAY_MD"]
    request = make_request(tables=tables, first_month="2023-12", last_month="2024-02")
    rows = {table: dict.fromkeys(request.months, size) for table, size in zip(tables, (20, 10, 5), strict=True)}
    order = [str(one) for one in start_order(request.partitions, rows)]
    a_month = ("KPS_T_SALES_M", "KPS_T_SALESPAY_MD", "KPS_T_SALES_MD")
    assert order == [f"{table} {key}" for key in ("2023-12", "2024-01", "2024-02") for table in a_month]


def sessions(partitions: Sequence[Partition]) -> int:
    return sum(partition.table.sessions for partition in partitions)


def test_starts_are_paced() -> None:
    """Only as many extracts wait as will soon get sessions, and not too many are in flight."""
    order = start_order(YEARS.partitions, {})
    first = [one.partition for one in next_starts(situation(order))]
    assert first == list(order[: len(first)])
    assert sessions(first[:-1]) < SESSIONS_AHEAD <= sessions(first)
    running = started(*first)
    assert next_starts(situation(order, running)) == []
    extracted = [ran(one, ORACLE_EXTRACT) for one in first[:5]]
    more = [one.partition for one in next_starts(situation(order, running, stages=extracted))]
    assert more == list(order[len(first) : len(first) + len(more)])
    assert sessions((*first[5:], *more[:-1])) < SESSIONS_AHEAD <= sessions((*first[5:], *more))
    many = order[: IN_FLIGHT - 2]
    extracted = [ran(one, ORACLE_EXTRACT) for one in many]
    assert len(next_starts(situation(order, started(*many), stages=extracted))) == 2


def test_all_partitions_are_started_once_and_no_more_than_may_be_under_way() -> None:
    """Stepped to the end, with every running partition one stage further per step, each was started exactly once."""
    order = start_order(YEARS.partitions, {})
    starts: dict[tuple[str, str], CampaignStart] = {}
    stages: list[StageRun] = []
    done: list[PartitionWork] = []
    chosen: list[Partition] = []
    for _ in range(200):
        found = situation(order, starts, stages=stages, works=done)
        if found.is_over:
            break
        running = [one.partition for one in found.of_state(PartitionState.RUNNING)]
        extracted = {(run.table_name, run.partition_key) for run in stages}
        done += [work(one, StageState.RECONCILED) for one in running if name(one) in extracted][:7]
        stages += [ran(one, ORACLE_EXTRACT) for one in running if name(one) not in extracted][:9]
        chosen += [one.partition for one in next_starts(found)]
        starts |= started(*chosen)
        assert len(running) <= IN_FLIGHT
    assert chosen == list(order)
    assert found.is_complete


def test_a_phase_waits_for_the_sign_off_of_the_earlier_ones() -> None:
    order = start_order(YEARS.partitions, {})
    waiting = situation(order)
    reference = [one for one in order if one.table.phase == "reference"]
    assert [one.partition for one in next_starts(waiting, signed_off=())] == reference
    assert [one.partition for one in next_starts(waiting, signed_off=("pre-invoice", "sales"))] == reference
    phases = {one.partition.table.phase for one in next_starts(waiting, signed_off=("reference",))}
    assert phases == {"reference", "pre-invoice"}


def test_tables_with_a_paused_dag_are_not_started() -> None:
    """Whichever of its four DAGs is paused; other tables continue."""
    for stage in (ORACLE_EXTRACT, STAGED_CSV, SF_LOADED, RECONCILED):
        paused = [asset_name(SUPPLIERS.table, stage)]
        chosen = [one.partition for one in next_starts(situation([SUPPLIERS, EMAILS, HEADERS]), paused=paused)]
        assert chosen == [EMAILS, HEADERS]


def test_reconciled_partitions_are_skipped_or_read_again() -> None:
    """Read again means since this campaign began; what was extracted before does not count."""
    before = work(SUPPLIERS, StageState.RECONCILED, extracted_utc=BEGAN - timedelta(days=1))
    assert states(situation([SUPPLIERS], works=[before])) == [PartitionState.DONE]
    again = campaign(replace(YEARS, options=CampaignOptions(repeats=True)))
    assert states(situation([SUPPLIERS], works=[before], of=again)) == [PartitionState.WAITING]
    since = work(SUPPLIERS, StageState.RECONCILED)
    assert states(situation([SUPPLIERS], started(SUPPLIERS), works=[since], of=again)) == [PartitionState.DONE]


def test_a_sample_is_enough_only_where_it_was_asked_for() -> None:
    sampled = work(SUPPLIERS, StageState.SAMPLED, extracted_utc=BEGAN - timedelta(days=1))
    assert states(situation([SUPPLIERS], works=[sampled])) == [PartitionState.WAITING]
    asked = campaign(replace(YEARS, options=CampaignOptions(level3="sample")))
    assert states(situation([SUPPLIERS], works=[sampled], of=asked)) == [PartitionState.DONE]


def test_what_failed_is_tried_again_in_the_next_round_where_it_failed() -> None:
    """In its own round it is listed with the command; started again, the campaign starts the failed stage."""
    failed = ran(HEADERS, SF_LOADED, StageState.FAILED, "the org said no")
    (now,) = situation([HEADERS], started(HEADERS), stages=[failed]).standings
    assert (now.state, now.reason) == (PartitionState.FAILED, "the org said no")
    assert now.remedy == "kpc rerun KPS_T_SALES_M 2024-01 --stage sf_loaded"
    (later,) = next_starts(situation([HEADERS], started(HEADERS), stages=[failed], of=campaign(round=2)))
    assert (later.partition, later.stage) == (HEADERS, SF_LOADED)


def test_children_of_what_failed_are_not_started() -> None:
    """They wait until the parent is loaded; one that failed only after its load keeps nobody waiting."""
    failed = ran(SUPPLIERS, SF_LOADED, StageState.FAILED)
    found = situation([SUPPLIERS, EMAILS], started(SUPPLIERS), stages=[failed])
    assert states(found) == [PartitionState.FAILED, PartitionState.BLOCKED]
    assert found.is_over
    loaded = work(SUPPLIERS, None, is_loaded=True)
    differs = ran(SUPPLIERS, RECONCILED, StageState.MISMATCH)
    found = situation([SUPPLIERS, EMAILS], started(SUPPLIERS), stages=[differs], works=[loaded])
    assert [one.partition for one in next_starts(found)] == [EMAILS]


def test_airflow_knows_what_the_ledger_does_not() -> None:
    """A retry under way is not a failure; a killed task is one; a gap between stages is neither."""
    load = (asset_name(HEADERS.table, SF_LOADED), HEADERS.key)
    failed = ran(HEADERS, SF_LOADED, StageState.FAILED, "the org said no")
    starts = started(HEADERS)
    retries = AirflowView(active=frozenset({load}))
    assert states(situation([HEADERS], starts, stages=[failed], airflow=retries)) == [PartitionState.RUNNING]
    killed = AirflowView(failed={load: FailedRun("run 7", NOW)})
    (one,) = situation([HEADERS], starts, airflow=killed).standings
    assert (one.state, one.reason) == (PartitionState.FAILED, "Airflow's run run 7 failed")
    lost = situation([HEADERS], starts, stages=[ran(HEADERS, STAGED_CSV)], airflow=AirflowView()).standings[0]
    assert (lost.state, lost.stage) == (PartitionState.FAILED, SF_LOADED)
    assert lost.reason == "stopped after staged_csv: no run of sf_loaded exists"
    just_ended = replace(ran(HEADERS, STAGED_CSV), finished_utc=NOW - timedelta(seconds=20))
    gap = situation([HEADERS], starts, stages=[just_ended], airflow=AirflowView())
    assert states(gap) == [PartitionState.RUNNING]


def test_what_oracle_changed_is_not_done() -> None:
    """A partition that `kpc delta` found changed is read again when the campaign continues."""
    done = [work(HEADERS, StageState.RECONCILED)]
    moved = situation([HEADERS], started(HEADERS), works=done, moved=[HEADERS])
    assert states(moved) == [PartitionState.FAILED]
    assert moved.standings[0].remedy == "kpc rerun KPS_T_SALES_M 2024-01"
    again = situation([HEADERS], started(HEADERS), works=done, moved=[HEADERS], of=campaign(round=2))
    assert [one.stage for one in next_starts(again)] == [ORACLE_EXTRACT]


def test_a_dry_run_ends_with_the_staged_files_and_leaves_out_what_is_loaded() -> None:
    dry = campaign(replace(YEARS, options=CampaignOptions(is_dry_run=True)))
    staged = [ran(LINES, STAGED_CSV)]
    loaded = [work(SUPPLIERS, StageState.RECONCILED)]
    found = situation([SUPPLIERS, HEADERS, LINES], started(LINES), stages=staged, works=loaded, of=dry)
    assert states(found) == [PartitionState.DONE, PartitionState.WAITING, PartitionState.DONE]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tables": ["KPS_T_SALES_X"], "first_month": "2024-01"}, "no table 'KPS_T_SALES_X'.*KPS_T_SALES_M"),
        ({"phases": ["sale"]}, "no phase 'sale'.*reference, pre-invoice, sales"),
        ({"tables": ["KPS_WEB_SALES"], "phases": ["sales"]}, "both given.*Give one of them"),
        ({}, "first_month is missing: KPS_T_SALES_M.*2024-01"),
        ({"first_month": "2567-01"}, "first_month: '2567-01' is no month.*2024-01"),
        ({"first_month": "2024-01", "last_month": "2024-13"}, "last_month: '2024-13' is no month"),
        ({"first_month": "2024-01", "last_month": "2099-01"}, "last_month: '2099-01' has not begun.*up to 20"),
        ({"first_month": "2024-02", "last_month": "2024-01"}, "2024-02 is after last_month 2024-01"),
        ({"phases": ["reference"], "mode": "half"}, "mode is 'half'.*incremental, full"),
        ({"phases": ["reference"], "reconciled": "no"}, "reconciled is 'no'.*skip, again"),
        ({"phases": ["reference"], "level3": "some"}, "level3 is 'some'"),
        ({"phases": ["reference"], "sample_rows": 5}, "level3 is not sample"),
        ({"phases": ["reference"], "level3": "sample", "sample_rows": 0}, "sample_rows is 0.*at least 1"),
        ({"phases": ["reference"], "dry_run": True, "reconciled": "again"}, "replace proven extracts"),
        ({"phases": ["reference"], "dry_run": True, "closing_check": True}, "replace proven extracts"),
    ],
)
def test_wrong_fields_are_refused_in_one_sentence(fields: dict[str, Any], message: str) -> None:
    """The field is named, and what to give instead."""
    with pytest.raises(ConfigError, match=message):
        make_request(**fields)


def test_a_request_names_its_partitions() -> None:
    """Tables in any case and order come in load order; without monthly tables no months are needed."""
    request = make_request(tables=["kps_t_sales_m", "KPS_R_POS_SUPPLIER"], first_month="2024-01", last_month="2024-02")
    assert [str(one) for one in request.partitions] == [
        "KPS_R_POS_SUPPLIER ALL",
        "KPS_T_SALES_M 2024-01",
        "KPS_T_SALES_M 2024-02",
    ]
    assert make_request(phases=["reference"]).months == ()
    assert make_request(tables=["KPS_T_SALES_M"], first_month="2024-05").months == ("2024-05",)
