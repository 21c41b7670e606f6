"""What the pages show besides numbers: the plan, what needs a person, who did what, and the commands to run next."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from reconciliation_samples import CHECKSUMS, FIRST_RUN_UTC, agreeing, changed, minutes_later
from remedies import Checker, Text

from expectations import build_data_docs, validate
from expectations.campaign_facts import (
    CampaignFacts,
    NewestEntry,
    ObjectFacts,
    PartitionFacts,
    Reached,
    SignOffFacts,
    keep_campaign,
    kept_campaign,
)
from expectations.files import Project
from expectations.run_record import ExceptionCause, JobFacts, RestrictedFile, RunRecord, StageFacts
from expectations.timeline import timeline_of
from kpc.catalog import find_table
from kpc.ledger import FinishedRun
from kpc.ledger.states import FailureClass, StageState
from kpc.reconcile.comparison import Comparison

PAYMENTS = find_table("KPS_T_SALESPAY_MD")
EXTRACT = StageFacts(
    "oracle_extract", "done", "airflow:malee", "manual__1", minutes_later(0), minutes_later(1), 6000, 9
)
RECORD = RunRecord(
    verdict="reconciled_with_exceptions",
    tool_version="1.2.3",
    mapping_version="4f" * 32,
    scn_utc=FIRST_RUN_UTC - timedelta(minutes=3),
    is_scn_time_exact=True,
    stages=(EXTRACT,),
    jobs=(JobFacts("750000000000001AAA", "chunk", "complete", 998, 998),),
    causes=(
        ExceptionCause("rejected", "text_too_long", 1),
        ExceptionCause("transient", "UNABLE_TO_LOCK_ROW", 1),
        ExceptionCause("data", "INVALID_EMAIL_ADDRESS", 1),
    ),
    files=(RestrictedFile("keys", "/staging/keys.csv"), RestrictedFile("rejected rows", "s3://bucket/rejected.csv")),
)


def reconcile(
    root: Path, key: str, numbers: Sequence[Comparison], *, minute: int, record: RunRecord | None = None
) -> None:
    facts = {"SCN": "8123", "of a later version": "anything"}
    name = f"{key}__run-{minute}"
    validate(
        PAYMENTS,
        key,
        numbers,
        run_name=name,
        root=root,
        facts=facts,
        record=record,
        clock=lambda: minutes_later(minute),
    )


def facts_of(*partitions: PartitionFacts, **changes: Any) -> CampaignFacts:
    given: dict[str, Any] = {
        "read_utc": minutes_later(100),
        "source_id": "1-KPC",
        "target_id": "00D",
        "months": ("2024-01",),
        "planned_utc": minutes_later(0),
        "planned_by": "malee",
        "partitions": partitions,
        "sign_offs": (),
        "objects": (),
        "audit": None,
        "timeline": None,
    }
    return CampaignFacts(**given | changes)


def at(key: str, reached: Reached, verdict: str = "", trouble: str = "") -> PartitionFacts:
    return PartitionFacts(PAYMENTS.name, key, reached, verdict, trouble)


def site(root: Path) -> Path:
    return root / "gx" / "uncommitted" / "data_docs" / "migration"


def page_of(root: Path, key: str) -> Path:
    (page,) = (site(root) / "validations").rglob(f"*{key}__run-*/*/*.html")
    return page


def text_of(page: Path) -> str:
    html = page.read_text(encoding="utf-8")
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def commands_of(page: Path) -> list[str]:
    return [
        unescape(each) for each in re.findall(r"<code>((?:kpc|python) [^<]+)</code>", page.read_text(encoding="utf-8"))
    ]


def test_planned_partitions_stand_on_the_overview(tmp_path: Path) -> None:
    """Each with where it is; nothing is claimed of what was not compared."""
    Project(tmp_path).folder.mkdir()
    planned = (
        at("2024-01", Reached.PLANNED),
        at("2024-02", Reached.STAGED, trouble="sf_loaded failed"),
        at("2024-03", Reached.LOADED),
    )
    keep_campaign(Project(tmp_path), facts_of(*planned))
    text = text_of(build_data_docs(tmp_path))
    assert "Nothing has been reconciled yet" in text
    assert "Partitions 3 3 without a result" in text
    assert "0 of 3 partitions" in text
    assert "2024-01 not yet extracted" in text
    assert "2024-02 staged; sf_loaded failed" in text
    assert "2024-03 loaded, not yet compared" in text


def test_overview_opens_on_what_needs_a_person(tmp_path: Path) -> None:
    """Mismatches first, then what was loaded again, then samples; a result that is missing before all."""
    wrong = changed(agreeing(PAYMENTS), "rows", target=Decimal(999))
    sample = changed(agreeing(PAYMENTS), CHECKSUMS, source=Decimal(50), target=Decimal(50))
    reconcile(tmp_path, "2024-01", sample, minute=1)
    reconcile(tmp_path, "2024-02", agreeing(PAYMENTS), minute=2)
    reconcile(tmp_path, "2024-03", wrong, minute=3)
    reconcile(tmp_path, "2024-04", agreeing(PAYMENTS), minute=4)
    compared = Reached.COMPARED
    known = (
        at("2024-01", compared, "sampled"),
        at("2024-02", Reached.LOADED),
        at("2024-03", compared, "mismatch"),
        at("2024-04", compared, "reconciled"),
        at("2024-05", compared, "reconciled"),
    )
    keep_campaign(Project(tmp_path), facts_of(*known))
    text = text_of(build_data_docs(tmp_path))
    opening = text[text.index("4 partitions need a person") : text.index("Partitions 5")]
    assert re.findall(r"2024-0\d", opening) == ["2024-05", "2024-03", "2024-02", "2024-01"]
    assert "2024-05 was compared, but its result is missing here" in opening
    assert "2024-02 was extracted or loaded again since it was compared" in opening
    assert "Reconciled 1 every number agrees" in text
    assert "No longer the current data" in text_of(page_of(tmp_path, "2024-02"))


def test_facts_that_are_older_than_a_result_do_not_outdate_it(tmp_path: Path) -> None:
    """The ledger was read before the partition was compared: that it had no verdict then says nothing."""
    reconcile(tmp_path, "2024-01", agreeing(PAYMENTS), minute=200)
    keep_campaign(Project(tmp_path), facts_of(at("2024-01", Reached.LOADED)))
    assert "Reconciled 1 every number agrees" in text_of(build_data_docs(tmp_path))


def test_page_says_who_did_what_when_and_where_the_keys_are(tmp_path: Path) -> None:
    """Person, tool and mapping version, the SCN's time, jobs, causes; a fact of a later version is shown as it is."""
    reconcile(tmp_path, "2024-01", agreeing(PAYMENTS, excepted=3), minute=1, record=RECORD)
    build_data_docs(tmp_path)
    page = page_of(tmp_path, "2024-01")
    text = text_of(page)
    assert "oracle_extract airflow:malee manual__1 2026-01-31 18:00:00 6,000 60.0 100" in text
    assert "SCN 8123 Time of the SCN, UTC 2026-01-31 17:57:00 of a later version anything" in text
    assert f"mapping version {'4f' * 32} tool version 1.2.3" in text
    assert "750000000000001AAA chunk complete 998 998" in text
    assert "transient UNABLE_TO_LOCK_ROW 1" in text
    assert 'href="file:///staging/keys.csv"' in page.read_text(encoding="utf-8")
    assert "Rejected rows: s3://bucket/rejected.csv" in text


def test_a_given_verdict_never_improves_the_numbers(tmp_path: Path) -> None:
    """Whatever a record says, numbers that differ are a mismatch, and too few compared records are a sample."""
    wrong = changed(agreeing(PAYMENTS), "rows", target=Decimal(999))
    sample = changed(agreeing(PAYMENTS), CHECKSUMS, source=Decimal(50), target=Decimal(50))
    good = RunRecord(verdict="reconciled")
    reconcile(tmp_path, "2024-01", wrong, minute=1, record=good)
    reconcile(tmp_path, "2024-02", sample, minute=2, record=good)
    reconcile(tmp_path, "2024-03", agreeing(PAYMENTS), minute=3, record=RunRecord(verdict="mismatch"))
    reconcile(tmp_path, "2024-04", agreeing(PAYMENTS), minute=4, record=RunRecord(verdict="sampled"))
    html = build_data_docs(tmp_path).read_text(encoding="utf-8")
    assert "Mismatch: all numbers agree, and another check found a difference" in text_of(page_of(tmp_path, "2024-03"))
    rows = re.findall(r'<tr class="partition (\S+)" id="KPS_T_SALESPAY_MD-(\S+)"', html)
    assert sorted(rows) == [
        ("mismatch", "2024-01"),
        ("mismatch", "2024-03"),
        ("sampled", "2024-02"),
        ("sampled", "2024-04"),
    ]


def test_another_check_of_records_does_not_stand_for_their_checksums(tmp_path: Path) -> None:
    """A further number of level 3 is shown under its own name; without the checksums it is a sample all the same."""
    other = Comparison(3, "records of a second opinion", Decimal(1000), Decimal(1000))
    reconcile(tmp_path, "2024-01", [*agreeing(PAYMENTS), other], minute=1)
    reconcile(tmp_path, "2024-02", [*agreeing(PAYMENTS)[:-1], other], minute=2)
    html = build_data_docs(tmp_path).read_text(encoding="utf-8")
    assert re.findall(r'<tr class="partition (\S+)" id', html) == ["reconciled", "sampled"]
    assert "records of a second opinion 1,000 of 1,000" in text_of(page_of(tmp_path, "2024-01"))


def test_new_sign_off_renders_only_the_pages_it_is_about(tmp_path: Path) -> None:
    """A sign-off of the phase stands on the newest page of its partitions; older runs' pages stay as they are."""
    for minute in (1, 2):
        reconcile(tmp_path, "2024-01", agreeing(PAYMENTS), minute=minute)
    certified = PartitionFacts(
        PAYMENTS.name, "2024-01", Reached.COMPARED, "reconciled", "", "9c" * 32, "/staging/certificate-7.json"
    )
    facts = facts_of(certified)
    keep_campaign(Project(tmp_path), facts)
    build_data_docs(tmp_path)
    older, newest = sorted((site(tmp_path) / "validations").rglob("*.html"), key=lambda page: page.parent.name)
    assert "Nobody has signed off anything yet." in text_of(newest)
    assert f"has the sha256 {'9c' * 32} ." in text_of(newest)
    assert commands_of(newest)[-1] == "kpc certificate verify /staging/certificate-7.json"
    before = older.stat().st_mtime_ns

    signed = SignOffFacts(
        "sales", "accepted", "airflow:malee", minutes_later(101), "ab" * 32, "stands", "known to Airflow", True, 7
    )
    other = SignOffFacts("reference", "refused", "airflow:somchai", minutes_later(102), "cd" * 32, "expired", "typed")
    audit = NewestEntry(7, "ef" * 32, minutes_later(102))
    counted = (ObjectFacts(PAYMENTS.name, 1001, 1000, 1, minutes_later(99)),)
    partitions = {"sign_offs": (signed, other), "audit": audit, "objects": counted}
    keep_campaign(Project(tmp_path), facts_of(*facts.partitions, **partitions))
    overview = text_of(build_data_docs(tmp_path))

    assert "sales accepted stands airflow:malee known to Airflow 2026-01-31 19:41:00 7" in text_of(newest)
    assert "airflow:somchai" not in text_of(newest)
    assert older.stat().st_mtime_ns == before
    assert "reference refused expired airflow:somchai typed, not authenticated" in overview
    assert f"with the hash {'ef' * 32}" in overview
    assert "KPS_T_SALESPAY_MD 1,001 1,000 1 kpc reconcile KPS_T_SALESPAY_MD" in overview


def test_every_run_stays_reachable_from_the_newest(tmp_path: Path) -> None:
    """However often a partition was compared."""
    for minute in range(30):
        reconcile(tmp_path, "2024-01", agreeing(PAYMENTS), minute=minute)
    build_data_docs(tmp_path)
    pages = sorted((site(tmp_path) / "validations").rglob("*.html"), key=lambda page: page.parent.name)
    newest = pages[-1].read_text(encoding="utf-8")
    assert len(pages) == 30
    assert all(f"run-{minute}/" in newest for minute in range(29))


@pytest.mark.parametrize("cause", FailureClass)
def test_every_command_on_a_page_exists(tmp_path: Path, cause: FailureClass) -> None:
    """In every state, and for every kind of exception."""
    record = RunRecord(verdict="reconciled_with_exceptions", causes=(ExceptionCause(cause.value, "X", 1),))
    wrong = changed(agreeing(PAYMENTS), "rows", target=Decimal(999))
    reconcile(tmp_path, "2024-01", agreeing(PAYMENTS), minute=1)
    reconcile(tmp_path, "2024-02", agreeing(PAYMENTS, excepted=1), minute=2, record=record)
    reconcile(tmp_path, "2024-03", wrong, minute=3)
    reconcile(tmp_path, "2024-05", wrong, minute=5, record=RunRecord(verdict="mismatch", keys_file="'a file.csv'"))
    reconcile(
        tmp_path, "2024-04", changed(agreeing(PAYMENTS), CHECKSUMS, source=Decimal(5), target=Decimal(5)), minute=4
    )
    certified = PartitionFacts(PAYMENTS.name, "2024-01", Reached.COMPARED, "reconciled", "", "9c" * 32, "FILE")
    keep_campaign(Project(tmp_path), facts_of(certified))
    build_data_docs(tmp_path)
    checker = Checker()
    found = [(page.name, each) for page in site(tmp_path).rglob("*.html") for each in commands_of(page)]
    assert {"kpc rerun KPS_T_SALESPAY_MD 2024-01", "kpc failed KPS_T_SALESPAY_MD 2024-02"} <= {
        each for _, each in found
    }
    assert [fault for name, each in found for fault in checker.wrong(Text(name, f"Run `{each}`."))] == []


def test_facts_survive_their_file(tmp_path: Path) -> None:
    """What is kept is what is read; what another version wrote is read as nothing."""
    project = Project(tmp_path)
    runs = [
        FinishedRun(
            1, "T", "ALL", "sf_loaded", "g", "malee", StageState.DONE, 600, minutes_later(0), minutes_later(10)
        ),
        FinishedRun(
            2, "T", "ALL", "reconciled", "g", "malee", StageState.SAMPLED, 600, minutes_later(10), minutes_later(12)
        ),
    ]
    facts = facts_of(at("2024-01", Reached.STAGED), timeline=timeline_of(runs, planned=3), audit=None)
    keep_campaign(project, facts)
    assert kept_campaign(project) == facts
    (tmp_path / "gx" / "uncommitted" / "campaign.json").write_text("{}")
    assert kept_campaign(project) is None


def test_timeline_spreads_rows_over_the_time_they_took() -> None:
    """600 rows in ten minutes are one per second, whatever the intervals; a sample is no partition reconciled."""
    runs = [
        FinishedRun(
            1, "T", "ALL", "sf_loaded", "g", "malee", StageState.DONE, 600, minutes_later(0), minutes_later(10)
        ),
        FinishedRun(
            2, "T", "ALL", "sf_loaded", "g", "malee", StageState.FAILED, None, minutes_later(10), minutes_later(11)
        ),
        FinishedRun(
            3, "T", "ALL", "reconciled", "g", "malee", StageState.SAMPLED, 600, minutes_later(11), minutes_later(12)
        ),
    ]
    found = timeline_of(runs, planned=1)
    assert found is not None
    assert found.interval_s == 15
    by_stage = {series.stage: series for series in found.stages}
    assert by_stage["sf_loaded"].rows_per_s[:40] == (1.0,) * 40
    assert sum(by_stage["sf_loaded"].rows_per_s) * 15 == 600
    assert by_stage["sf_loaded"].partitions[-1] == 1
    assert by_stage["reconciled"].partitions[-1] == 0
    assert timeline_of([], planned=1) is None
