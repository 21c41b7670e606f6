"""What all stages need besides their partition: settings, files, ledger, and the two live systems."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from kpc.errors import ConfigError, Transient
from kpc.ledger import Ledger, open_ledger
from kpc.partition import Environment
from kpc.salesforce import Salesforce, connect
from kpc.settings import Settings
from kpc.stages.quota_governor import Governor
from kpc.stages.setting_folders import naming_settings
from kpc.stages.source_identity import recognise
from kpc.storage.manifests import RootMarker
from kpc.storage.store import Store, open_store

if TYPE_CHECKING:
    from kpc.catalog.table import Table
    from kpc.oracle.session import Oracle

_LOGIN_PAUSE_S = 60.0

Clock = Callable[[], datetime]


def _marker(token: str) -> str:
    return f"root-{token}.json"


def utc_now() -> datetime:
    return datetime.now(UTC)


class Workspace:
    """One process's view of the migration: settings, ledger, files, and the two live systems.

    `run_id` is the Airflow run's, or is generated for `kpc run`. `asked_utc` is when that run was started, if known: an
    extract that another run started later is recent enough for it. The files and the clients are opened on first use,
    unless they are given.
    """

    def __init__(  # noqa: PLR0913  the last five are optional
        self,
        settings: Settings,
        ledger: Ledger,
        run_id: str,
        actor: str,
        *,
        clock: Clock = utc_now,
        asked_utc: datetime | None = None,
        oracle: Oracle | None = None,
        salesforce: Salesforce | None = None,
        environment: Environment | None = None,
    ) -> None:
        self.settings = settings
        self.ledger = ledger
        self.run_id = run_id
        self.actor = actor
        self.clock = clock
        self.asked_utc = asked_utc
        self._oracle = oracle
        self._salesforce = salesforce
        self._environment = environment
        self._failed_login: tuple[Transient | None, float] = (None, 0.0)
        self._store: Store | None = None
        self._checked_roots: set[Environment] = set()
        self.checked_constants: set[tuple[Environment, Table, str]] = set()  # already compared with the pinned ones
        self._opening = threading.RLock()

    @property
    def store(self) -> Store:
        """The store of the staging root. Raises `ConfigError` if the root cannot be used."""
        with self._opening:
            if self._store is None:
                staging = self.settings.staging
                self._store = open_store(staging.root, staging.scratch, staging.free_bytes)
            return self._store

    @property
    def oracle(self) -> Oracle:
        with self._opening:
            if self._oracle is None:
                from kpc.oracle.session import Oracle  # noqa: PLC0415  a worker that only loads needs no Oracle driver

                is_known = self.ledger.endpoints.identity_of("oracle", self._oracle_address) is not None
                self._oracle = Oracle(self.settings.oracle, is_known=is_known)
            return self._oracle

    @property
    def salesforce(self) -> Salesforce:
        """The client, logged in on first use. Raises `ConfigError` or `SalesforceDown`."""
        with self._opening:
            if self._salesforce is None:
                self._salesforce = self._connected()
            return self._salesforce

    def _connected(self) -> Salesforce:
        """The client. After repeated log-ins failed, the same command does not try again for a minute."""
        error, failed_s = self._failed_login
        if error is not None and time.monotonic() - failed_s < _LOGIN_PAUSE_S:
            raise error
        try:
            return connect(self.settings.salesforce)
        except Transient as failed:
            self._failed_login = (failed, time.monotonic())
            raise

    @property
    def governor(self) -> Governor:
        """The quota governor of the org that this process is logged in to."""
        client = self.salesforce
        return Governor(self.ledger, self.settings.salesforce, client.org_id, client.limits, self.run_id)

    @property
    def environment(self) -> Environment:
        """The identities of the database and the org.

        Each system is asked. If one does not answer, the identity that it last gave at this address is used, so that a
        partition can be staged again while Oracle is down; a stage that needs the system fails by itself.
        """
        with self._opening:
            if self._environment is None:
                source_id = self._source_id()
                target = self.settings.salesforce.base_url
                target_id = self._identity("salesforce", target, lambda: self.salesforce.org_id)
                self._environment = Environment(source_id, target_id)
            return self._environment

    def _source_id(self) -> str:
        """The database's key; from now on its sessions must have the incarnation that the ledger knows."""
        found = self._identity("oracle", self._oracle_address, lambda: recognise(self.ledger, self.oracle.identity()))
        row = self.ledger.sources.of_key(found)
        if row is not None:
            self.oracle.expected = (row.live_id, row.incarnation)
        return found

    def is_of_former_incarnation(self, read_utc: datetime) -> bool:
        """Whether something was read before the database's current incarnation was adopted."""
        row = self.ledger.sources.of_key(self.environment.source_id)
        return row is not None and row.incarnation_utc is not None and read_utc < row.incarnation_utc

    @property
    def _oracle_address(self) -> str:
        return f"{self.settings.oracle.user}@{self.settings.oracle.dsn}"

    def _identity(self, kind: str, address: str, ask: Callable[[], str]) -> str:
        try:
            identity = ask()
        except Transient:
            remembered = self.ledger.endpoints.identity_of(kind, address)
            if remembered is None:
                raise
            return remembered
        self.ledger.endpoints.remember(kind, address, identity)
        return identity

    def check_root(self, environment: Environment) -> None:
        """Raise `ConfigError` if this worker sees a different staging root than the environment's first worker."""
        if environment in self._checked_roots:
            return
        store, own = self.store, secrets.token_hex(8)
        recorded = self.ledger.endpoints.root_of(environment)
        if recorded is None:
            # Write the marker before its token: a worker that reads the token in the ledger must find the marker.
            store.publish(store.root, RootMarker(claimed_utc=self.clock()), name=_marker(own))
            recorded = self.ledger.endpoints.claim_root(environment, own)
            if recorded != own:
                store.remove(store.root / _marker(own))
        if store.manifest(store.root, RootMarker, _marker(recorded)) is None:
            place = self.settings.staging.root
            raise ConfigError(
                f"The staging root {place} of this worker is not the one used by the migration from "
                f"{environment.source_id} to {environment.target_id}: it does not contain {_marker(recorded)}.",
                "Set KPC__STAGING__ROOT to the same directory or object store on every worker. If the root was "
                f"moved, move its files too; if it is lost, create a file {_marker(recorded)} with the content "
                "{} in the new one.",
            )
        self._checked_roots.add(environment)

    def close(self) -> None:
        """Close the clients, the store and the ledger, including those that were given."""
        if self._salesforce is not None:
            self._salesforce.close()
        if self._store is not None:
            self._store.close()
        self.ledger.close()


def ledger_of(settings: Settings) -> Ledger:
    """The ledger that the settings name. Only the folder of the default ledger is created."""
    url = settings.ledger_url.get_secret_value()
    return open_ledger(url, makes_folder=settings.ledger_url == Settings.model_fields["ledger_url"].default)


@contextmanager
def open_workspace(
    settings: Settings, *, run_id: str, actor: str, asked_utc: datetime | None = None
) -> Iterator[Workspace]:
    """A workspace whose connections are closed at the end.

    An operating system error becomes a `KpcError` that names the setting of the folder concerned.
    """
    ledger = ledger_of(settings)
    workspace = Workspace(settings, ledger, run_id, actor, asked_utc=asked_utc)
    try:
        with naming_settings(settings):
            yield workspace
    finally:
        workspace.close()
