"""What an asset function needs besides its partition: settings, files, ledger, and which two systems these are."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from kpc.errors import ConfigError, Transient
from kpc.ledger import Ledger, open_ledger
from kpc.salesforce import Salesforce, connect
from kpc.settings import Settings
from kpc.storage.manifests import RootMarker
from kpc.storage.store import Environment, Store, open_store

if TYPE_CHECKING:
    from kpc.oracle.session import Oracle

Clock = Callable[[], datetime]


def _marker(token: str) -> str:
    return f"root-{token}.json"


def utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Workspace:
    """One process's view of the campaign. `run_id` is the Airflow run, or one made up for `kpc run`.

    `asked_utc` is when that run began, where it is known: an extract that another run began later is as fresh as asked.
    """

    settings: Settings
    ledger: Ledger
    run_id: str
    actor: str
    clock: Clock = utc_now
    asked_utc: datetime | None = None
    _checked_roots: set[Environment] = field(default_factory=set, init=False, repr=False)

    @cached_property
    def store(self) -> Store:
        staging = self.settings.staging
        return open_store(staging.root, staging.scratch, staging.free_bytes)

    def check_root(self, environment: Environment) -> None:
        """Raises `ConfigError` if this worker sees another staging root than the environment's first worker did."""
        if environment in self._checked_roots:
            return
        store, own = self.store, secrets.token_hex(8)
        recorded = self.ledger.root_of(environment)
        if recorded is None:
            # The marker lies there before its token is known: whoever finds the token in the ledger finds the marker.
            store.publish(store.root, RootMarker(claimed_utc=self.clock()), name=_marker(own))
            recorded = self.ledger.claim_root(environment, own)
            if recorded != own:
                store.remove(store.root / _marker(own))
        if store.manifest(store.root, RootMarker, _marker(recorded)) is None:
            place = self.settings.staging.root
            raise ConfigError(
                f"The staging root {place} of this worker is not the one that the migration from "
                f"{environment.source_id} to {environment.target_id} works in: {_marker(recorded)} is not there.",
                "Let KPC__STAGING__ROOT name the same directory or object store on every worker. If the root was "
                f"moved, move its files too; if it is lost for good, put a file {_marker(recorded)} with the content "
                "{} into the new one.",
            )
        self._checked_roots.add(environment)

    @cached_property
    def oracle(self) -> Oracle:
        from kpc.oracle.session import Oracle  # noqa: PLC0415  a worker that only loads has no use for the driver

        return Oracle(self.settings.oracle)

    @cached_property
    def salesforce(self) -> Salesforce:
        """Logged in on first use; raises `ConfigError` or `SalesforceDown`."""
        return connect(self.settings.salesforce)

    @cached_property
    def environment(self) -> Environment:
        """Which database and which org.

        Each is asked itself. One that does not answer is remembered by its address from when it last did, so that a
        partition can be restaged while Oracle is away; a stage that works on the system finds out by itself.
        """
        oracle = self.settings.oracle
        return Environment(
            self._identity("oracle", f"{oracle.user}@{oracle.dsn}", self.oracle.identity),
            self._identity("salesforce", self.settings.salesforce.base_url, lambda: self.salesforce.org_id),
        )

    def _identity(self, kind: str, address: str, ask: Callable[[], str]) -> str:
        try:
            identity = ask()
        except Transient:
            remembered = self.ledger.identity_of(kind, address)
            if remembered is None:
                raise
            return remembered
        self.ledger.remember_endpoint(kind, address, identity)
        return identity


@contextmanager
def open_workspace(
    settings: Settings, *, run_id: str, actor: str, asked_utc: datetime | None = None
) -> Iterator[Workspace]:
    """A workspace whose connections are closed at the end."""
    ledger = open_ledger(settings.ledger_url.get_secret_value())
    workspace = Workspace(settings, ledger, run_id, actor, asked_utc=asked_utc)
    try:
        yield workspace
    finally:
        if "salesforce" in workspace.__dict__:
            workspace.salesforce.close()
        if "store" in workspace.__dict__:
            workspace.store.close()
        ledger.close()
