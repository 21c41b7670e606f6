"""Systems that cannot be reached: detected by failed tries, confirmed by asking the system itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kpc.campaign.alerts.sightings import Place, Sightings, partitions
from kpc.errors import KpcError, Transient
from kpc.ledger import AlertCondition, FailureReport
from kpc.ledger.states import AlertKind, StageState
from kpc.salesforce import connect
from kpc.stages.names import ORACLE_EXTRACT, RECONCILED, SF_LOADED
from kpc.stages.workspace import Workspace


@dataclass(frozen=True, slots=True)
class System:
    """`causes` are the errors of a system that does not answer, `stages` those that need it."""

    name: str
    causes: tuple[str, ...]
    stages: tuple[str, ...]
    ask: Callable[[Workspace], None]
    remedy: str


def _ask_oracle(workspace: Workspace) -> None:
    workspace.oracle.identity()


def _ask_salesforce(workspace: Workspace) -> None:
    connect(workspace.settings.salesforce).close()


ORACLE = System(
    "Oracle",
    ("OracleDown",),
    (ORACLE_EXTRACT,),
    _ask_oracle,
    "Ask the DBA whether the database and its listener run; `kpc preflight --airflow` shows what a worker sees. "
    "Partitions that Airflow is still retrying continue by themselves.",
)
SALESFORCE = System(
    "Salesforce",
    ("SalesforceDown", "NotReached", "UnusableAnswer"),
    (SF_LOADED, RECONCILED),
    _ask_salesforce,
    "Check status.salesforce.com and the proxy; `kpc preflight --airflow` shows what a worker sees. Partitions "
    "that Airflow is still retrying continue by themselves.",
)
SYSTEMS = (ORACLE, SALESFORCE)
SYSTEM_OF = {cause: system.name for system in SYSTEMS for cause in system.causes}


def outages(seen: Sightings) -> Iterator[AlertCondition]:
    """A system is asked only if a try failed because of it, or if it was down at the last check."""
    for system in SYSTEMS:
        failed = [one for one in seen.failures if one.cause in system.causes]
        known = seen.open_alert(AlertKind.OUTAGE, system.name)
        if not (failed or known) or _answers(system, seen.workspace):
            continue
        places = _waiting(system, failed, seen)
        since = [known.since_utc] if known else [one.reported_utc for one in failed]
        stage = failed[0] if failed else None
        yield seen.condition(
            AlertKind.OUTAGE,
            system.name,
            f"{system.name} cannot be reached: {partitions(len(places)) if places else 'nothing'} "
            f"{'waits' if len(places) <= 1 else 'wait'}.",
            system.remedy,
            since_utc=min(since),
            places=places,
            page=seen.stage_page(stage.table_name, stage.stage) if stage else "",
        )


def _answers(system: System, workspace: Workspace) -> bool:
    """Whether the system gave any answer; even a refused log-in counts, which its stage reports."""
    try:
        system.ask(workspace)
    except Transient:
        return False
    except KpcError:
        return True
    return True


def _waiting(system: System, failed: list[FailureReport], seen: Sightings) -> set[Place]:
    running = {
        (run.table_name, run.partition_key)
        for run in seen.runs
        if run.stage in system.stages and run.state is StageState.RUNNING
    }
    return running | {(one.table_name, one.partition_key) for one in failed}
