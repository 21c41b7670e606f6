"""Checks of both systems before anything is read or sent: log-ins, and live schemas against the catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from kpc.catalog import TABLES
from kpc.errors import ConfigError, KpcError
from kpc.extract.live_schema import check_columns
from kpc.ledger.constants import PinnedConstant
from kpc.load.target_schema import check_object
from kpc.oracle.driver_mode import mode
from kpc.stages.campaign_constants import Constant, constants_for, is_hashed
from kpc.stages.places import naming_settings, places, write_into
from kpc.stages.source_identity import recognise
from kpc.stages.workspace import Workspace
from kpc.storage.object_store import is_url


@dataclass(frozen=True, slots=True)
class SystemCheck:
    """One check. `message` is the live identity, or the error with its remedy."""

    system: str
    subject: str
    is_ok: bool
    message: str


def check_systems(workspace: Workspace) -> list[SystemCheck]:
    """The results of all checks. If a login fails, that system's tables are not checked."""
    systems = [*_oracle(workspace), *_salesforce(workspace)]
    return [*systems, *_folders(workspace), _staging(workspace), *_constants(workspace)]


def _oracle(workspace: Workspace) -> Iterator[SystemCheck]:
    oracle = workspace.oracle
    driver = _check("Oracle", "driver", lambda: mode(oracle.settings))
    yield driver
    if not driver.is_ok:
        return
    login = _check("Oracle", oracle.settings.dsn, lambda: str(oracle.identity()))
    yield login
    if login.is_ok:
        yield _check("Oracle", "identity", lambda: recognise(workspace.ledger, oracle.identity()))
    if not login.is_ok:
        return
    with oracle.session("preflight") as connection:
        for table in TABLES.values():
            yield _check("Oracle", table.name, lambda table=table: check_columns(connection, oracle, table))  # type: ignore[misc]


def _salesforce(workspace: Workspace) -> Iterator[SystemCheck]:
    login = _check("Salesforce", workspace.settings.salesforce.base_url, lambda: workspace.salesforce.org_id)
    yield login
    if not login.is_ok:
        return
    for table in TABLES.values():
        yield _check("Salesforce", table.target, lambda table=table: check_object(workspace.salesforce, table))  # type: ignore[misc]


def _folders(workspace: Workspace) -> Iterator[SystemCheck]:
    """Whether this worker can write into each folder that it will use; what is missing is made."""
    staging = workspace.settings.staging
    unused = set() if is_url(staging.root) else {"KPC__STAGING__SCRATCH"}
    unused |= set() if staging.after_reconciliation == "archive" else {"KPC__STAGING__ARCHIVE_ROOT"}
    for name, folder in places(workspace.settings):
        if name not in unused:
            yield _check("Folder", name, lambda folder=folder: write_into(folder, workspace.settings))  # type: ignore[misc]


def _staging(workspace: Workspace) -> SystemCheck:
    def check_root() -> str:
        with naming_settings(workspace.settings):
            workspace.check_root(workspace.environment)
        return "the same root on all workers"

    return _check("Staging", workspace.settings.staging.root, check_root)


def _constants(workspace: Workspace) -> Iterator[SystemCheck]:
    """The hash key that tables with hashed columns need, and the constants that are pinned."""
    hashed = [table for table in TABLES.values() if is_hashed(table)]
    key = workspace.settings.hash_key.get_secret_value()

    def has_key() -> str:
        if hashed and not key:
            raise ConfigError(
                f"KPC__HASH_KEY is empty, but {', '.join(table.name for table in hashed)} have hashed columns.",
                "Set it to the campaign's key; it must be the same for every run.",
            )
        return "set"

    yield _check("Constants", "hash_key", has_key)
    mine = {constant.name: constant for table in TABLES.values() for constant in constants_for(table, key)}
    try:
        all_pinned = workspace.ledger.constants.all(workspace.environment)
    except KpcError:
        return  # what cannot be reached is a failed check already
    for pinned in all_pinned:
        if pinned.name in mine:
            yield _check("Constants", pinned.name, lambda pinned=pinned: _same(mine[pinned.name], pinned))  # type: ignore[misc]


def _same(constant: Constant, pinned: PinnedConstant) -> str:
    if not constant.has(pinned.fingerprint):
        raise ConfigError(
            f"{constant.where} is not what this campaign began with on {pinned.pinned_utc:%Y-%m-%d %H:%M} UTC.",
            f"Restore it, or change it deliberately with `kpc constants adopt {constant.name} --reason TEXT`.",
        )
    return "as pinned"


def _check(system: str, subject: str, check: Callable[[], str | None]) -> SystemCheck:
    try:
        return SystemCheck(system, subject, is_ok=True, message=check() or "as declared")
    except KpcError as error:
        return SystemCheck(system, subject, is_ok=False, message=str(error))
