"""The overview of a campaign says what a person must know about each partition, from a fixed number of queries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from kpc.bench.filled_ledger import FILLED, NOW, LedgerFiller, fill
from kpc.campaign.overview import ActiveRun, ShownState, campaign_overview
from kpc.ledger import Ledger, Signer, SourceFinding, open_ledger
from kpc.ledger.states import PauseScope, SignOffDecision, SourceCheckState, StageState
from kpc.partition import Partition, find_partition
from kpc.settings import SalesforceSettings
from kpc.stages.names import ORACLE_EXTRACT, RECONCILED, SF_LOADED, STAGED_CSV, STAGES

SUPPLIERS = find_partition("KPS_R_POS_SUPPLIER", "ALL")
LINES = find_partition("KPS_T_SALES_MD", "2024-01")
SETTINGS = SalesforceSettings()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = open_ledger(f"sqlite:///{tmp_path / 'ledger.db'}", clock=lambda: NOW, is_durable=False)
    yield opened
    opened.close()


class Story:
    """Stage runs of one partition, in the order in which they happened, one every ten minutes."""

    def __init__(self, partition: Partition) -> None:
        self.filler = LedgerFiller(NOW, [partition.key])
        self.partition = partition
        self.at = NOW - timedelta(hours=5)

    def then(self, stage: str, state: StageState = StageState.DONE, rows: int | None = 10) -> Story:
        self.at += timedelta(minutes=10)
        ended = None if state is StageState.RUNNING else self.at + timedelta(minutes=2)
        self.filler.run(self.partition, stage, state, self.at, ended, rows=rows)
        if stage == ORACLE_EXTRACT:
            self.filler.generation(self.partition, self.at, self.at, 10)
        return self

    def whole(self) -> Story:
        for stage in STAGES[:3]:
            self.then(stage)
        return self.then(RECONCILED, StageState.RECONCILED)


def told(ledger: Ledger, *stories: Story, **options: Any) -> dict[str, Any]:
    for story in stories:
        story.filler.write(ledger)
    return campaign_overview(ledger, FILLED, SETTINGS, **options)


def states(document: dict[str, Any]) -> tuple[str, list[str]]:
    (cell,) = document["cells"]
    return cell["state"], [stage["state"] for stage in cell["stages"]]


def test_a_finished_partition_is_reconciled_in_all_stages(ledger: Ledger) -> None:
    """Three stages are done, the fourth has the verdict, and its records are counted."""
    document = told(ledger, Story(LINES).whole())
    assert states(document) == ("reconciled", ["done", "done", "done", "reconciled"])
    assert document["cells"][0]["rows"] == 10
    assert document["totals"]["by_state"] == {"reconciled": 1}


def test_a_repetition_that_sends_nothing_loses_no_record(ledger: Ledger) -> None:
    """Everything was already there: the newest load sent no row, and all ten are in Salesforce."""
    story = Story(LINES).whole().then(ORACLE_EXTRACT).then(STAGED_CSV, rows=0).then(SF_LOADED, rows=0)
    assert told(ledger, story.then(RECONCILED, StageState.RECONCILED))["totals"]["arrived"] == 10


def test_stages_after_a_repeated_one_are_outdated(ledger: Ledger) -> None:
    """A new extract makes the proof of the former one worthless; two hours later nothing has started the staging."""
    document = told(ledger, Story(LINES).whole().then(ORACLE_EXTRACT))
    assert states(document) == ("stopped", ["done", "outdated", "outdated", "outdated"])
    assert document["cells"][0]["stopped"] == {"after": ORACLE_EXTRACT, "next": STAGED_CSV}


def test_a_rolled_back_partition_shows_nothing_as_done(ledger: Ledger) -> None:
    """What ended before the rollback no longer counts."""
    document = told(ledger, Story(LINES).whole().then(SF_LOADED, StageState.ROLLED_BACK, None))
    assert states(document) == ("rolled_back", ["rolled_back"] * 4)


def test_a_run_without_a_worker_is_interrupted(ledger: Ledger) -> None:
    """No live lease and no run in Airflow: the worker was killed. With a run, the ledger's state counts."""
    story = Story(LINES).then(ORACLE_EXTRACT, StageState.RUNNING, None)
    assert states(told(ledger, story))[0] == "interrupted"
    run = ActiveRun(story.filler.rows["stage_run"][0]["run_id"], "running", NOW)
    active = {("KPS_T_SALES_MD", "2024-01", ORACLE_EXTRACT): run}
    assert states(campaign_overview(ledger, FILLED, SETTINGS, active=active))[0] == "running"


def test_runs_that_no_worker_began_come_from_airflow(ledger: Ledger) -> None:
    """A queued DAG run is queued; one that runs for long while the ledger knows nothing of it waits for its parents."""
    for state, minutes, shown in (("queued", 9, "queued"), ("running", 0, "queued"), ("running", 2, "waiting")):
        since = NOW - timedelta(minutes=minutes)
        active = {("KPS_T_SALES_MD", "2024-01", ORACLE_EXTRACT): ActiveRun("manual__1", state, since)}
        assert states(campaign_overview(ledger, FILLED, SETTINGS, active=active))[0] == shown


def test_a_load_under_way_shows_what_the_org_has_processed(ledger: Ledger) -> None:
    """Two of four chunks are known, half of the third is processed."""
    story = Story(LINES).then(ORACLE_EXTRACT).then(STAGED_CSV)
    story.filler.running(LINES, SF_LOADED, NOW - timedelta(minutes=30), 800)
    document = told(ledger, story)
    assert states(document) == ("running", ["done", "done", "running", "planned"])
    load = document["cells"][0]["stages"][2]
    assert (load["rows"], load["of"]) == (500, 800)
    assert document["totals"]["rows_per_s"] == pytest.approx(400 / 300, abs=0.1)


def test_a_sign_off_stands_while_its_certificates_do(ledger: Ledger) -> None:
    """A load after the decision ends it, as it does in `kpc sign-off list`."""
    story = Story(SUPPLIERS).whole()
    sha256 = story.filler.rows["stage_run"][-1]["detail"]["certificate"]
    ledger.scope.set(FILLED, months=[], tables=[SUPPLIERS.table.name], mode="full", run_id="r", actor="a")
    ledger.sign_offs.record(
        FILLED,
        "reference",
        Signer("airflow:malee", "Airflow log-in", is_authenticated=True),
        decision=SignOffDecision.ACCEPTED,
        certificates={"KPS_R_POS_SUPPLIER ALL": sha256},
    )
    document = told(ledger, story)
    (decision,) = document["sign_offs"]
    assert (decision["actor"], decision["stands"]) == ("airflow:malee", True)
    assert document["awaiting"] == ["migration"]
    later = Story(SUPPLIERS)
    later.filler.runs, later.at = story.filler.runs, NOW - timedelta(hours=1)
    (decision,) = told(ledger, later.then(SF_LOADED))["sign_offs"]
    assert decision["stands"] is False


def test_what_is_reconciled_and_undecided_awaits_a_sign_off(ledger: Ledger) -> None:
    """A phase with a missing partition does not, and neither does the migration."""
    story = Story(SUPPLIERS).whole()
    assert told(ledger, story)["awaiting"] == ["reference", "migration"]
    lines = Story(LINES)
    lines.filler.runs = story.filler.runs
    assert told(ledger, lines.then(ORACLE_EXTRACT))["awaiting"] == ["reference"]


def test_what_oracle_changed_since_awaits_no_sign_off(ledger: Ledger) -> None:
    """`kpc delta` blocks it until the partition is read again or the change accepted."""
    document = told(ledger, Story(SUPPLIERS).whole())
    assert document["awaiting"]
    extract = next(iter(ledger.overview.current_generations(FILLED).values()))
    moved = SourceFinding(SUPPLIERS.table.name, SUPPLIERS.key, SourceCheckState.MOVED, extract, 1, {})
    ledger.source_checks.record(FILLED, [moved], final_scn=2, run_id="r", actor="a")
    assert told(ledger)["awaiting"] == []


def test_every_state_of_a_long_campaign_is_shown(ledger: Ledger) -> None:
    """The made-up campaign has each state that the ledger alone can show; the document contains no key of a row."""
    fill(ledger, months=60, is_whole=True)
    document = campaign_overview(ledger, FILLED, SETTINGS)
    shown = {stage["state"] for cell in document["cells"] for stage in cell["stages"]}
    shown |= set(document["totals"]["by_state"])
    from_elsewhere = {ShownState.QUEUED, ShownState.WAITING, ShownState.INTERRUPTED, ShownState.ROLLED_BACK}
    assert shown == set(ShownState) - from_elsewhere
    text = json.dumps(document, default=str)
    assert "UNABLE_TO_LOCK_ROW" in text
    assert "SECRET-KEY" not in text


def test_the_number_of_queries_does_not_grow_with_the_campaign(ledger: Ledger, tmp_path: Path) -> None:
    """Thirty times as many partitions are read with as many statements."""
    large = open_ledger(f"sqlite:///{tmp_path / 'large.db'}", clock=lambda: NOW, is_durable=False)
    counts = []
    for opened, months in ((ledger, 2), (large, 60)):
        fill(opened, months=months, is_whole=True)
        statements: list[str] = []
        event.listen(opened.database.engine, "before_cursor_execute", lambda *given, to=statements: to.append(given[2]))
        campaign_overview(opened, FILLED, SETTINGS)
        counts.append(len([each for each in statements if each.startswith("SELECT")]))
    large.close()
    assert counts[0] == counts[1] <= 25


def test_pauses_and_quota_are_part_of_it(ledger: Ledger) -> None:
    """What is paused by whom, and how much may still be loaded today."""
    ledger.pauses.start(FILLED, PauseScope.PHASE, "sales", actor="airflow:somchai", reason="index")
    document = told(ledger, Story(LINES).whole())
    assert document["pauses"][0] == {
        "kind": "phase", "name": "sales", "actor": "airflow:somchai", "reason": "index", "paused_utc": NOW,
    }  # fmt: skip
    assert document["quota"]["rows"] == {"used": 0, "others": 0, "allowed": 142_500_000, "free": 142_500_000}
