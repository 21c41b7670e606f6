"""Everything that needs an alert now, read from the ledger; each condition covers all partitions of its kind."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

from kpc.campaign.alerts.outages import SYSTEM_OF, outages
from kpc.campaign.alerts.sightings import Place, Sightings, partitions
from kpc.campaign.alerts.stalls import stalls
from kpc.campaign.completeness import completeness
from kpc.campaign.planned_partitions import partitions_in_scope
from kpc.campaign.sign_off_list import is_signed_off
from kpc.catalog import Phase
from kpc.errors import QuotaExhausted
from kpc.ledger import AlertCondition, FailureReport, QuotaRequest
from kpc.ledger.states import AlertKind, SignOffDecision, StageState
from kpc.salesforce.constants import BATCH_ROWS
from kpc.stages.names import MIGRATION, RECONCILED, RECONCILED_STATES, sign_off_dag
from kpc.stages.quota_governor import allowance_of
from kpc.storage.object_store import is_url

# Airflow retries these by itself, so a run that only the ledger knows has not failed for good.
_PASSING = (
    *SYSTEM_OF,
    *(
        "Transient",
        "RateLimited",
        "AirflowDown",
        "AirflowNotReached",
        "LeaseLost",
        "LeaseTaken",
        "SnapshotLost",
        "OutcomeUnknown",
    ),
)
_TOLD_OTHERWISE = ("Mismatch", "QuotaExhausted", "AllowanceRefused", "Paused", "")
_MEANING = {
    "ConfigError": "a setting, a log-in or a right is wrong",
    "SchemaDrift": "a live schema differs from the catalog",
    "JobFailed": "Salesforce failed an ingest job",
    "OutOfSpace": "the staging disk is full",
    "DamagedFile": "a staged file differs from its manifest",
    "RowsRejected": "more rows were rejected than allowed",
    "CallTimedOut": "Oracle needed longer than a setting allows",
    "OracleDown": "Oracle did not answer in any try",
    "SalesforceDown": "Salesforce did not answer in any try",
}
_GIB = 1 << 30
_ENOUGH = 0.05  # an open alert ends when this share of the quota, or of the disk limit, is free in addition


def conditions(seen: Sightings) -> list[AlertCondition]:
    """All conditions that hold; an outage also covers the failures that it caused."""
    down = list(outages(seen))
    quota = list(_quota(seen))
    stalled = stalls(seen, is_waiting_for_quota=bool(quota)) if not down else ()
    return [*down, *_failures(seen, down), *_mismatches(seen), *quota, *stalled, *_disk(seen), *_sign_offs(seen)]


def is_final(report: FailureReport) -> bool:
    """Whether Airflow will not retry this failure by itself."""
    return report.is_final and (bool(report.dag_id) or report.cause not in _PASSING)


def _failures(seen: Sightings, down: list[AlertCondition]) -> Iterator[AlertCondition]:
    groups: dict[tuple[str, str], list[FailureReport]] = defaultdict(list)
    silent = {condition.subject for condition in down}
    for report in seen.failures:
        is_of_outage = SYSTEM_OF.get(report.cause) in silent
        if is_final(report) and report.cause not in _TOLD_OTHERWISE and not is_of_outage:
            groups[report.stage, report.cause].append(report)
    for (stage, cause), found in groups.items():
        first = found[0]
        command = f"kpc rerun {first.table_name} {first.partition_key} --stage {stage}"
        yield seen.condition(
            AlertKind.FAILURE,
            f"{stage} {cause}",
            f"{stage} failed for good in {partitions(len(found))}: {_MEANING.get(cause, cause)}.",
            f"`kpc show {first.table_name} {first.partition_key}` shows the reason; once it is removed: `{command}`.",
            since_utc=min(one.reported_utc for one in found),
            places=[(one.table_name, one.partition_key) for one in found],
            page=seen.run_page(first.dag_id, first.run_id)
            if first.dag_id
            else seen.stage_page(first.table_name, stage),
        )


def _mismatches(seen: Sightings) -> Iterator[AlertCondition]:
    tables: dict[str, list[Place]] = defaultdict(list)
    found = [run for run in seen.runs if run.stage == RECONCILED and run.state is StageState.MISMATCH]
    for run in found:
        tables[run.table_name].append((run.table_name, run.partition_key))
    for table, places in tables.items():
        ended = [run.finished_utc for run in found if run.table_name == table and run.finished_utc]
        key = places[0][1]
        yield seen.condition(
            AlertKind.MISMATCH,
            table,
            f"Source and target differ in {partitions(len(places))} of {table}.",
            f"`kpc show {table} {key}` names the file with every differing record; correct them, then "
            f"`kpc rerun {table} {key}`.",
            since_utc=min(ended, default=seen.now),
            places=places,
            page=seen.stage_page(table, RECONCILED),
        )


def _quota(seen: Sightings) -> Iterator[AlertCondition]:
    """No room for one more batch in the rolling 24 hours; ends when there is room for a twentieth of them.

    The window frees a few batches at a time, which are used at once: otherwise each would close and reopen the alert.
    """
    allowance, org = allowance_of(seen.workspace.settings.salesforce), seen.environment.target_id
    batches = 1
    if seen.open_alert(AlertKind.QUOTA, "Salesforce"):
        batches = max(1, int(allowance.batches * allowance.share * _ENOUGH))
    try:
        seen.workspace.ledger.quota.check(org, QuotaRequest(batches * BATCH_ROWS, batches), allowance)
    except QuotaExhausted as full:
        yield seen.condition(
            AlertKind.QUOTA,
            "Salesforce",
            f"The org's quota of 24 hours is used up until {full.next_free_utc:%Y-%m-%d %H:%M} UTC.",
            "Loads then continue by themselves. `kpc status` shows its use; our limit: KPC__SALESFORCE__QUOTA_SHARE.",
            since_utc=seen.now,
        )


def _disk(seen: Sightings) -> Iterator[AlertCondition]:
    """The disk with the staging root, as the worker that runs this check sees it."""
    staging, least = seen.workspace.settings.staging, seen.workspace.settings.alerts.disk_free_bytes
    place = str(staging.scratch) if is_url(staging.root) else staging.root
    try:
        free = shutil.disk_usage(place).free
    except OSError:
        return  # not created yet, or not on this worker
    is_open = seen.open_alert(AlertKind.DISK, "staging") is not None
    if free < least * (1 + _ENOUGH if is_open else 1):
        yield seen.condition(
            AlertKind.DISK,
            "staging",
            f"The staging disk ({place}) has {free / _GIB:,.1f} GiB left, less than {least / _GIB:,.1f}.",
            "Free space: `kpc purge` removes files older than their retention. At "
            f"{staging.free_bytes / _GIB:,.1f} GiB no new file is started.",
            since_utc=seen.now,
        )


def _sign_offs(seen: Sightings) -> Iterator[AlertCondition]:
    """Complete phases without a decision; finally the migration, when only its own sign-off is left."""
    workspace = seen.workspace
    scope = workspace.ledger.scope.current(seen.environment)
    if scope is None or is_signed_off(MIGRATION, workspace):
        return
    waiting = False
    for phase in (*Phase, None):
        places = [(one.table.name, one.key) for one in partitions_in_scope(phase, scope)]
        subject = phase.value if phase else MIGRATION
        if not places or (phase and is_signed_off(subject, workspace)):
            continue
        if (phase is None and waiting) or not _is_complete(phase, places, seen):
            waiting = True
            continue
        waiting = True
        ended = [seen.newest[table, key, RECONCILED].finished_utc for table, key in places]
        since = max((one for one in ended if one), default=seen.now)
        if not _is_refused(subject, since, seen):
            yield _waiting_sign_off(phase, since, seen)


def _waiting_sign_off(phase: Phase | None, since: datetime, seen: Sightings) -> AlertCondition:
    subject = phase.value if phase else MIGRATION
    return seen.condition(
        AlertKind.SIGN_OFF,
        subject,
        f"{'The migration' if phase is None else f'Phase {subject}'} is complete and waits for its sign-off.",
        f"Look at `kpc report{f' {subject}' if phase else ''}`, then decide in Airflow, or with "
        f"`kpc sign-off {subject} --note TEXT`.",
        since_utc=since,
        page=seen.run_page(sign_off_dag(subject)),
    )


def _is_complete(phase: Phase | None, places: list[Place], seen: Sightings) -> bool:
    if not _looks_complete(places, seen):
        return False
    found = completeness(phase, seen.workspace)
    return found is not None and found.is_complete


def _is_refused(subject: str, since: datetime, seen: Sightings) -> bool:
    """Whether somebody has refused the current state: then the work is waited for, not the decision."""
    made = [one for one in seen.workspace.ledger.sign_offs.all(seen.environment) if one.subject == subject]
    return bool(made) and made[-1].decision is SignOffDecision.REFUSED and made[-1].signed_utc >= since


def _looks_complete(places: list[Place], seen: Sightings) -> bool:
    """Whether the newest runs allow completeness; cheaper than `completeness`, which queries each partition."""
    runs = (seen.newest.get((table, key, RECONCILED)) for table, key in places)
    return all(run is not None and run.state in RECONCILED_STATES for run in runs)
