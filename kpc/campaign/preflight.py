"""Checks of both systems before anything is read or sent: log-ins, live schemas, and the source's actual contents."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from kpc.campaign.plan import planned_rows
from kpc.campaign.source_database import check_database
from kpc.campaign.source_facts import SourceFacts, read_facts
from kpc.campaign.source_samples import check_sample
from kpc.campaign.source_tables import check_table
from kpc.campaign.system_check import CheckSubject, SystemCheck
from kpc.campaign.target_check import TargetPlan, check_target
from kpc.campaign.target_dry_run import run_dry
from kpc.catalog import TABLES
from kpc.catalog.table import Table
from kpc.errors import ConfigError, KpcError, Terminal
from kpc.extract.live_schema import check_columns
from kpc.ledger.constants import PinnedConstant
from kpc.oracle.driver_mode import mode
from kpc.oracle.session import Oracle, ReadSession
from kpc.stages.campaign_constants import Constant, constants_for, is_hashed
from kpc.stages.names import SF_LOADED
from kpc.stages.setting_folders import local_folders, naming_settings, write_into
from kpc.stages.source_identity import recognise
from kpc.stages.workspace import Workspace
from kpc.storage.object_store import is_url


def check_systems(workspace: Workspace, *, dry_run: bool = False) -> list[SystemCheck]:
    """The results of all checks. If a login fails, that system's tables are not checked.

    `dry_run` writes, reads and deletes one made-up row per object; otherwise nothing is changed in either system.
    """
    systems = [*_oracle(workspace), *_salesforce(workspace, is_written=dry_run)]
    return [*systems, *_folders(workspace), _staging(workspace), *_constants(workspace)]


def _oracle(workspace: Workspace) -> Iterator[SystemCheck]:
    """The source, and whether the ledger knows it as the same database in the same incarnation."""
    for check in check_source(workspace.oracle, datetime.now(UTC)):
        yield check
        if check.name == "login" and check.is_ok:
            about = CheckSubject("Oracle", workspace.oracle.settings.dsn)
            yield about.run("identity", lambda: recognise(workspace.ledger, workspace.oracle.identity()))


def check_source(oracle: Oracle, now: datetime) -> Iterator[SystemCheck]:
    """The source alone; `now` is aware. What ends the checks, such as a dropped session, is one more failed check."""
    about = CheckSubject("Oracle", oracle.settings.dsn)
    driver = about.run("driver", lambda: mode(oracle.settings))
    yield driver
    if not driver.is_ok:
        return
    login = about.run("login", lambda: str(oracle.identity()))
    yield login
    if not login.is_ok:
        return
    try:
        scn = oracle.current_scn()
        with oracle.session("preflight") as session:
            facts = read_facts(session, oracle)
            yield from check_database(session, oracle, facts, now)
            for table in TABLES.values():
                yield from _source_table(session, oracle, table, facts, scn)
    except KpcError as error:
        yield about.failed("preflight", error.what, error.remedy)


def _source_table(
    session: ReadSession, oracle: Oracle, table: Table, facts: SourceFacts, scn: int
) -> Iterator[SystemCheck]:
    about = CheckSubject("Oracle", table.name)
    schema = about.run("schema", lambda: check_columns(session, oracle, table))
    yield schema
    yield from check_table(session, oracle, table, facts, scn)
    if schema.is_ok:
        try:
            yield from check_sample(session, oracle, table, facts)
        except (ConfigError, Terminal) as error:  # a lost session ends preflight
            yield about.failed("sample", error.what, error.remedy)


def _salesforce(workspace: Workspace, *, is_written: bool) -> Iterator[SystemCheck]:
    about = CheckSubject("Salesforce", workspace.settings.salesforce.base_url)
    login = about.run("login", lambda: workspace.salesforce.org_id)
    yield login
    if not login.is_ok:
        return
    yield from check_target(workspace.salesforce, _target_plan(workspace))
    if is_written:
        yield from run_dry(workspace.salesforce)


def _target_plan(workspace: Workspace) -> TargetPlan:
    """What is planned and loaded, as far as the ledger can tell without Oracle."""
    staging = workspace.settings.staging
    try:
        environment = workspace.environment
        runs = workspace.ledger.stages.newest(environment)
        loaded = {run.table_name for run in runs if run.stage == SF_LOADED}
        return TargetPlan(planned_rows(workspace.ledger, environment), frozenset(loaded), staging)
    except KpcError:
        return TargetPlan(staging=staging)  # an unreachable system is already a failed check


def _folders(workspace: Workspace) -> Iterator[SystemCheck]:
    """Whether this worker can write into each folder that it will use; missing folders are created."""
    staging = workspace.settings.staging
    unused = set() if is_url(staging.root) else {"KPC__STAGING__SCRATCH"}
    unused |= set() if staging.after_reconciliation == "archive" else {"KPC__STAGING__ARCHIVE_ROOT"}
    for name, folder in local_folders(workspace.settings):
        if name not in unused:
            yield CheckSubject("Folder", name).run(
                "folder",
                lambda folder=folder: write_into(folder, workspace.settings),  # type: ignore[misc]
            )


def _staging(workspace: Workspace) -> SystemCheck:
    def check_root() -> str:
        with naming_settings(workspace.settings):
            workspace.check_root(workspace.environment)
        return "the same root on all workers"

    return CheckSubject("Staging", workspace.settings.staging.root).run("root", check_root)


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

    yield CheckSubject("Constants", "hash_key").run("constant", has_key)
    mine = {constant.name: constant for table in TABLES.values() for constant in constants_for(table, key)}
    try:
        all_pinned = workspace.ledger.constants.all(workspace.environment)
    except KpcError:
        return  # an unreachable system is already a failed check
    for pinned in all_pinned:
        if pinned.name in mine:
            yield CheckSubject("Constants", pinned.name).run(
                "constant",
                lambda pinned=pinned: _same(mine[pinned.name], pinned),  # type: ignore[misc]
            )


def _same(constant: Constant, pinned: PinnedConstant) -> str:
    if not constant.has(pinned.fingerprint):
        raise ConfigError(
            f"{constant.where} is not what this campaign began with on {pinned.pinned_utc:%Y-%m-%d %H:%M} UTC.",
            f"Restore it, or change it deliberately with `kpc constants adopt {constant.name} --reason TEXT`.",
        )
    return "as pinned"
