"""The graph of the migration as plain data: 64 assets in 16 chains, the hubs that join them, and the pools.

    oracle_extract -> staged_csv -> sf_loaded -> reconciled -> phase hub -> migration

`dags` turns this into Airflow DAGs; nothing here knows Airflow.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kpc.catalog import TABLES, Phase, Table
from kpc.errors import ConfigError

ORACLE_EXTRACT = "oracle_extract"
STAGED_CSV = "staged_csv"
SF_LOADED = "sf_loaded"
RECONCILED = "reconciled"
STAGES = (ORACLE_EXTRACT, STAGED_CSV, SF_LOADED, RECONCILED)

MIGRATION = "migration"
DATA_DOCS = "data_docs"

STAGE_PURPOSE = {
    ORACLE_EXTRACT: "Reads the partition out of Oracle as of one SCN into Parquet, with Oracle's own counts and sums",
    STAGED_CSV: "Maps, converts and checks every row and cuts the gzip CSV chunks that Salesforce will take",
    SF_LOADED: "Upserts the chunks with Bulk API 2.0 ingest jobs, at most 15 in flight, parents before children",
    RECONCILED: "Compares Oracle with Salesforce: counts, sums and averages, checksums of records",
}


def asset_name(table: Table, stage: str) -> str:
    """The name of a table's asset and of the DAG that makes it, e.g. `kps_t_sales_md__sf_loaded`."""
    return f"{table.slug}__{stage}"


@dataclass(frozen=True, slots=True)
class AssetSpec:
    """One table at one station. `upstream` starts it; `parents` are the loads that its own load waits for."""

    table: Table
    stage: str
    upstream: str | None
    parents: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return asset_name(self.table, self.stage)

    @property
    def uri(self) -> str:
        return f"kpc://{self.stage}/{self.table.slug}"

    @property
    def description(self) -> str:
        return f"{STAGE_PURPOSE[self.stage]}: {self.table.name} to {self.table.target}."

    @property
    def tags(self) -> tuple[str, ...]:
        return (self.table.name, self.stage, self.table.phase.value)


@dataclass(frozen=True, slots=True)
class HubSpec:
    """An asset that is made when everything below it is reconciled. `phase` is None for the whole migration."""

    name: str
    upstream: tuple[str, ...]
    phase: Phase | None = None

    @property
    def uri(self) -> str:
        return f"kpc://sign_off/{self.name}"

    @property
    def description(self) -> str:
        what = f"phase {self.phase}" if self.phase else "the whole migration"
        return f"Every partition in scope of {what} is reconciled at its current generation."


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """How many tasks of a kind may hold a slot at once."""

    name: str
    slots: int
    includes_deferred: bool
    description: str


POOLS = (
    PoolSpec("oracle_extract", 10, includes_deferred=False, description="Partitions read from Oracle at the same time"),
    # A deferred task still owns its ingest job; if it gave the slot back there would be more jobs than slots.
    PoolSpec(
        "salesforce_bulk", 15, includes_deferred=True, description="Ingest jobs in flight, deferred ones included"
    ),
    PoolSpec(DATA_DOCS, 1, includes_deferred=False, description="Data Docs are built by one task at a time"),
)


def asset_specs(tables: Iterable[Table] = TABLES.values()) -> tuple[AssetSpec, ...]:
    """The four assets of each table, in load order."""
    specs = []
    for table in tables:
        upstream: str | None = None
        for stage in STAGES:
            parents = tuple(f"{lookup.parent.lower()}__{SF_LOADED}" for lookup in table.lookups)
            spec = AssetSpec(table, stage, upstream, tuple(dict.fromkeys(parents)) if stage == SF_LOADED else ())
            specs.append(spec)
            upstream = spec.name
    return tuple(specs)


def find_asset(name: str) -> AssetSpec:
    """The asset of that name. Raises `ConfigError`."""
    for spec in asset_specs():
        if spec.name == name:
            return spec
    raise ConfigError(f"There is no asset {name!r}.", "Assets are called like kps_t_sales_md__sf_loaded.")


def phase_hub(phase: Phase) -> str:
    return f"phase_{phase.value.replace('-', '_')}"


def hub_specs() -> tuple[HubSpec, ...]:
    """One hub per phase over its reconciled assets, and `migration` over the phases."""
    phases = tuple(
        HubSpec(
            phase_hub(phase),
            tuple(asset_name(table, RECONCILED) for table in TABLES.values() if table.phase is phase),
            phase,
        )
        for phase in Phase
    )
    return (*phases, HubSpec(MIGRATION, tuple(hub.name for hub in phases)))


def find_hub(name: str) -> HubSpec | None:
    return next((hub for hub in hub_specs() if hub.name == name), None)


def find_stage(name: str) -> str:
    """The stage called `name`. Raises `ConfigError` naming the four."""
    if name not in STAGES:
        raise ConfigError(f"There is no stage {name!r}.", f"The stages are {', '.join(STAGES)}.")
    return name
