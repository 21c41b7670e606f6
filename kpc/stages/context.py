"""What an engine needs to work on one partition: its paths, the ledger, the two clients and the clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from kpc.stages.quota_governor import Governor
from kpc.storage.layout import PartitionPaths

if TYPE_CHECKING:
    from kpc.catalog.table import Table
    from kpc.ledger import Lease, Ledger
    from kpc.oracle.session import Oracle
    from kpc.partition import Environment, Partition
    from kpc.salesforce import Salesforce
    from kpc.settings import Settings
    from kpc.stages.workspace import Workspace
    from kpc.storage.store import Store

Mode = Literal["full", "incremental"]


@dataclass(frozen=True)
class PartitionContext:
    """A partition in a workspace. `pinned` are the two systems, if a plan has already identified them.

    Without them, the live systems are asked for their identity on first use.
    """

    workspace: Workspace
    partition: Partition
    pinned: Environment | None = None

    def __str__(self) -> str:
        return str(self.partition)

    @property
    def table(self) -> Table:
        return self.partition.table

    @property
    def key(self) -> str:
        return self.partition.key

    @property
    def environment(self) -> Environment:
        return self.pinned or self.workspace.environment

    @cached_property
    def paths(self) -> PartitionPaths:
        """The paths of the partition's files."""
        environment = self.environment
        return PartitionPaths.below(
            self.store.root, environment.source_id, environment.target_id, self.table.slug, self.key
        )

    @property
    def settings(self) -> Settings:
        return self.workspace.settings

    @property
    def ledger(self) -> Ledger:
        return self.workspace.ledger

    @property
    def store(self) -> Store:
        return self.workspace.store

    @property
    def oracle(self) -> Oracle:
        return self.workspace.oracle

    @property
    def salesforce(self) -> Salesforce:
        return self.workspace.salesforce

    @property
    def governor(self) -> Governor:
        """The quota governor of the org that this worker is logged in to."""
        return self.workspace.governor

    @property
    def run_id(self) -> str:
        return self.workspace.run_id

    @property
    def actor(self) -> str:
        return self.workspace.actor

    @property
    def asked_utc(self) -> datetime | None:
        return self.workspace.asked_utc

    def clock(self) -> datetime:
        return self.workspace.clock()

    def of(self, partition: Partition) -> PartitionContext:
        """Another partition between the same systems: a parent, or a child."""
        return PartitionContext(self.workspace, partition, self.pinned)


@dataclass(frozen=True)
class LeasedContext(PartitionContext):
    """The context while this run holds the lease of one of the partition's stages."""

    lease: Lease = field(kw_only=True)


@dataclass(frozen=True)
class StageContext(LeasedContext):
    """The context of a running stage: `stage_run` is its id in the ledger, `mode` the requested mode."""

    stage_run: int = field(kw_only=True)
    mode: Mode = field(kw_only=True)
