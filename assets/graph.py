"""The graph of the migration: each table's four declared assets in a chain, and the hubs that join the chains.

    oracle_extract -> staged_csv -> sf_loaded -> reconciled -> phase hub -> migration

`dags` turns it into Airflow DAGs; `materialize_lineage` runs it in one process. Nothing here depends on Airflow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from assets.oracle_extract import oracle_extract
from assets.reconciled import reconciled
from assets.sf_loaded import sf_loaded
from assets.staged_csv import staged_csv
from kpc.catalog import TABLES, Phase, Table
from kpc.errors import ConfigError
from kpc.stages.asset import StageAsset
from kpc.stages.names import MIGRATION, RECONCILED, asset_name, phase_hub

if TYPE_CHECKING:
    from kpc.stages.context import Mode, PartitionContext
    from kpc.stages.result import StageResult

LINEAGE = (oracle_extract, staged_csv, sf_loaded, reconciled)


@dataclass(frozen=True, slots=True)
class AssetSpec:
    """A declared asset of one table. `upstream` triggers it; its load waits for the loads in `parents`."""

    table: Table
    asset: StageAsset

    @property
    def stage(self) -> str:
        return self.asset.stage

    @property
    def name(self) -> str:
        return asset_name(self.table, self.stage)

    @property
    def upstream(self) -> str | None:
        return asset_name(self.table, self.asset.upstream.stage) if self.asset.upstream else None

    @property
    def parents(self) -> tuple[str, ...]:
        if not self.asset.waits_for_parents:
            return ()
        names = (f"{lookup.parent.lower()}__{self.stage}" for lookup in self.table.lookups)
        return tuple(dict.fromkeys(names))

    @property
    def uri(self) -> str:
        return f"kpc://{self.stage}/{self.table.slug}"

    @property
    def description(self) -> str:
        return f"{self.asset.purpose}: {self.table.name} to {self.table.target}."

    @property
    def tags(self) -> tuple[str, ...]:
        return (self.table.name, self.stage, self.table.phase.value)


@dataclass(frozen=True, slots=True)
class HubSpec:
    """An asset materialized once all its upstream assets are. `phase` is None for the whole migration."""

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
    """The assets of each table, in load order."""
    return tuple(AssetSpec(table, asset) for table in tables for asset in LINEAGE)


def materialize_lineage(
    context: PartitionContext, mode: Mode = "incremental", stages: Iterable[str] = (), *, same_scn: bool = False
) -> Iterator[StageResult]:
    """Materialize a partition's assets in this process, all or only those of the given stages; yields each result.

    In Airflow the scheduler does this. `same_scn` as in `oracle_extract`. Raises `ConfigError` before loading if a
    parent is not loaded.
    """
    from kpc.load.plan import missing_parents  # noqa: PLC0415  heavy; see kpc.stages.asset

    wanted = set(stages)
    for asset in LINEAGE:
        if wanted and asset.stage not in wanted:
            continue
        if asset.waits_for_parents and (missing := missing_parents(context)):
            raise ConfigError(
                f"{context} cannot be loaded before {', '.join(map(str, missing))}.",
                f"Run `kpc run {missing[0].table.name} {missing[0].key}` first.",
            )
        options = {"same_scn": True} if same_scn and asset is oracle_extract else {}
        yield asset.materialize(context, mode, **options)


def find_asset(name: str) -> AssetSpec:
    """The asset of that name. Raises `ConfigError`."""
    for spec in asset_specs():
        if spec.name == name:
            return spec
    raise ConfigError(f"There is no asset {name!r}.", "Asset names look like kps_t_sales_md__sf_loaded.")


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
