"""The graph of the migration as plain data: 64 assets in 16 chains, and the hubs that join them.

    oracle_extract -> staged_csv -> sf_loaded -> reconciled -> phase hub -> migration

`dags` turns this into Airflow DAGs; nothing here knows Airflow.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kpc.catalog import TABLES, Phase, Table
from kpc.errors import ConfigError
from kpc.stages.names import (
    DATA_DOCS,
    MIGRATION,
    ORACLE_EXTRACT,
    POOLS,
    RECONCILED,
    SF_LOADED,
    STAGED_CSV,
    STAGES,
    asset_name,
    find_stage,
)

__all__ = [
    "DATA_DOCS",
    "MIGRATION",
    "ORACLE_EXTRACT",
    "POOLS",
    "RECONCILED",
    "SF_LOADED",
    "STAGED_CSV",
    "STAGES",
    "AssetSpec",
    "HubSpec",
    "asset_name",
    "asset_specs",
    "find_asset",
    "find_hub",
    "find_stage",
    "hub_specs",
    "phase_hub",
]

STAGE_PURPOSE = {
    ORACLE_EXTRACT: "Reads the partition out of Oracle as of one SCN into Parquet, with Oracle's own counts and sums",
    STAGED_CSV: "Maps, converts and checks every row and cuts the gzip CSV chunks that Salesforce will take",
    SF_LOADED: "Upserts the chunks with Bulk API 2.0 ingest jobs, at most 15 in flight, parents before children",
    RECONCILED: "Compares Oracle with Salesforce: counts, sums and averages, checksums of records",
}


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
