"""The names of stages, hubs and pools, as used in Airflow, the ledger and the command line."""

from __future__ import annotations

from dataclasses import dataclass

from kpc.catalog import Phase, Table
from kpc.errors import ConfigError

ORACLE_EXTRACT = "oracle_extract"
STAGED_CSV = "staged_csv"
SF_LOADED = "sf_loaded"
RECONCILED = "reconciled"
STAGES = (ORACLE_EXTRACT, STAGED_CSV, SF_LOADED, RECONCILED)

MIGRATION = "migration"
DATA_DOCS = "data_docs"
PREFLIGHT = "preflight"
CAMPAIGN = "campaign"
INCREMENTAL_CAMPAIGN = "incremental_campaign"
ALERTS = "alerts"
MISSED_EVENTS = "missed_events"
SIGN_OFF_PREFIX = "sign_off_"  # of the DAGs whose runs wait for a person

# The reconciliation states in which a partition counts as reconciled.
RECONCILED_STATES = ("reconciled", "reconciled_with_exceptions")


def asset_name(table: Table, stage: str) -> str:
    """The name of a table's asset and of the DAG that materializes it, e.g. `kps_t_sales_md__sf_loaded`."""
    return f"{table.slug}__{stage}"


def phase_hub(phase: Phase) -> str:
    """The hub over a phase's reconciled assets, and its DAG, e.g. `phase_pre_invoice`."""
    return f"phase_{phase.value.replace('-', '_')}"


def sign_off_dag(subject: str) -> str:
    """The DAG that asks for the sign-off of a phase, or of `migration`, e.g. `sign_off_pre_invoice`."""
    return f"{SIGN_OFF_PREFIX}{subject.replace('-', '_')}"


def sign_off_run(certificates_sha256: str) -> str:
    """The id of the run that asks about these certificates, whoever starts it: Airflow makes no second one."""
    return f"certificates-{certificates_sha256}"


def find_stage(name: str) -> str:
    """Check that `name` is a stage, and return it. Raises `ConfigError` listing the four."""
    if name not in STAGES:
        raise ConfigError(f"There is no stage {name!r}.", f"The stages are {', '.join(STAGES)}.")
    return name


# Celery queues. Extracts and staged chunks are written by workers near the staging disk; every other task runs on any
# worker, in Airflow's default queue. Other executors ignore queues.
EXTRACT_QUEUE = "extract"
DEFAULT_QUEUE = "default"
QUEUES = (EXTRACT_QUEUE, DEFAULT_QUEUE)


def queue_of(stage: str) -> str:
    """The queue of a stage's tasks."""
    return EXTRACT_QUEUE if stage in (ORACLE_EXTRACT, STAGED_CSV) else DEFAULT_QUEUE


@dataclass(frozen=True, slots=True)
class Pool:
    """How many tasks of a kind may hold a slot at once."""

    name: str
    slots: int
    includes_deferred: bool
    description: str


EXTRACT_POOL = Pool("oracle_extract", 10, includes_deferred=False, description="Sessions that read Oracle")
# A deferred task still has its ingest job: if it released its slot, there would be more jobs than slots.
LOAD_POOL = Pool("salesforce_bulk", 15, includes_deferred=True, description="Ingest jobs in flight, deferred ones too")
QUERY_POOL = Pool("salesforce_query", 3, includes_deferred=True, description="Reconciliations that query Salesforce")
DOCS_POOL = Pool(DATA_DOCS, 1, includes_deferred=False, description="Data Docs are built by one task at a time")
POOLS = (EXTRACT_POOL, LOAD_POOL, QUERY_POOL, DOCS_POOL)
