"""Which database a migration reads: told apart from its siblings, and adopted after a failover with nothing lost."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from emulated_org import Emulator
from lineage import results_by_stage
from oracle_source import OracleServer, start_oracle

from assets.oracle_extract import oracle_extract
from kpc.errors import ConfigError, OracleDown
from kpc.extract.one_pass import read_in_one_pass
from kpc.extract.pass_files import find_month
from kpc.ledger.states import GenerationState
from kpc.oracle.session import Oracle
from kpc.partition import Partition, find_partition
from kpc.rollback.partition_rollback import plan_rollback, roll_back
from kpc.settings import SalesforceSettings
from kpc.stages.context import PartitionContext
from kpc.stages.current_manifests import sealed_extract
from kpc.stages.source_identity import Adoption
from kpc.stages.source_identity import adopt as adopt_source
from kpc.stages.workspace import Workspace

HEADERS = find_partition("KPS_T_SALES_M", "2024-01")
WEB = find_partition("KPS_WEB_SALES", "ALL")
EMAILS = find_partition("KPS_R_EMAIL_TENANT", "ALL")
WHY = "failover on 2026-11-27"
Workspaces = Callable[..., Workspace]


@pytest.fixture
def source(oracles: Callable[..., OracleServer]) -> OracleServer:
    return oracles("--rows", "1500", "--months", "2024-01")


def live(source: OracleServer, **settings: object) -> Any:
    return Oracle(source.settings.model_copy(update=settings)).identity()


def adopt(workspace: Workspace, reason: str, *, is_new: bool = False) -> Adoption:
    """As the command does."""
    live_now = workspace.oracle.identity()
    return adopt_source(workspace.ledger, live_now, reason=reason, actor="test", run_id="adopt", is_new=is_new)


def extract(workspace: Workspace, partition: Partition = HEADERS) -> Any:
    oracle_extract.materialize(PartitionContext(workspace, partition))
    return sealed_extract(PartitionContext(workspace, partition))


def scns_read(source: OracleServer) -> set[int]:
    """Those at which statements read a table."""
    texts = [each["sql"] for each in source.admin("GET", "statements")]
    return {int(found) for text in texts for found in re.findall(r"AS OF SCN (\d+)", text)}


def test_pluggable_databases_and_owners_differ(tmp_path: Path) -> None:
    """Two databases of one container, and two schemas of one database, are three sources; a restart is none."""
    server = start_oracle(tmp_path, "--rows", "0", "--pdb", "SALES2")
    try:
        other = json.loads((tmp_path / "ready.json").read_text())["pdbs"]["SALES2"]
        found = [live(server), live(server, dsn=other), live(server, owner="ARCHIVE"), live(server, owner='od d"')]
    finally:
        server.stop()
    assert len({each.source_id for each in found}) == len(found)
    assert len({each.dbid for each in found}) == 1
    assert found[0].source_id == f"ora-{found[0].con_dbid}-KPC"
    assert [each.con_name for each in found] == ["KPCDB", "SALES2", "KPCDB", "KPCDB"]
    assert all(re.fullmatch(r"ora-\d+-\w+", each.source_id) for each in found)


def test_another_incarnation_is_refused_until_it_is_adopted(
    source: OracleServer, salesforce: SalesforceSettings, workspaces: Workspaces
) -> None:
    """With the command; adopting leaves an audit entry and the same identity, and is done once."""
    before = workspaces(source, salesforce)
    environment = before.environment
    source.admin("POST", "failover")
    after = workspaces(source, salesforce, "after")
    with pytest.raises(ConfigError, match=r"RESETLOGS.*`kpc source adopt --reason TEXT`"):
        after.environment  # noqa: B018  reading it is what fails
    with pytest.raises(ConfigError, match="reason is empty"):
        adopt(after, " ")
    adopted = adopt(after, WHY)
    assert (adopted.source_id, adopted.former_incarnation) == (environment.source_id, 1)
    assert after.environment == environment
    (entry,) = [each for each in after.ledger.audit.entries() if each.action == "source adopted"]
    assert entry.actor == "test"
    assert entry.detail["reason"] == WHY
    assert (entry.detail["former_incarnation"], entry.detail["incarnation"]) == (1, live(source).incarnation)
    assert after.ledger.audit.verify() == []
    with pytest.raises(ConfigError, match="nothing to adopt"):
        adopt(after, WHY)


def test_adopting_orphans_nothing(
    source: OracleServer, emulated: Callable[..., Emulator], workspaces: Workspaces
) -> None:
    """The next load sends no row again, and a rollback still deletes what was created before."""
    org = emulated().settings
    before = workspaces(source, org)
    first = results_by_stage(PartitionContext(before, EMAILS))
    source.admin("POST", "failover")
    after = workspaces(source, org, "after")
    adopt(after, WHY)
    assert after.ledger.stages.is_loaded(after.environment, EMAILS)
    again = results_by_stage(PartitionContext(after, EMAILS))
    assert again["staged_csv"].detail["unchanged"] == first["staged_csv"].rows > 0
    assert again["sf_loaded"].detail["jobs"] == 0
    assert again["reconciled"].state == "reconciled"
    assert plan_rollback(PartitionContext(after, EMAILS)).created == first["staged_csv"].rows
    assert roll_back(PartitionContext(after, EMAILS)).created == first["staged_csv"].rows


def test_an_interrupted_extract_is_not_carried_on_after_a_failover(
    source: OracleServer, salesforce: SalesforceSettings, workspaces: Workspaces
) -> None:
    """Its SCN belongs to the former history: it is abandoned, and no statement names it again."""
    before = workspaces(source, salesforce)
    before.settings.oracle.sessions = 1
    before.settings.staging.chunk_rows = 60
    source.fault("cut", "rst", skip=1, times=1, table="KPS_T_SALES_M", sql="ROWID BETWEEN")
    with pytest.raises(OracleDown):
        extract(before)
    (former,) = scns_read(source)
    source.admin("POST", "failover")
    source.admin("DELETE", "counters")
    after = workspaces(source, salesforce, "after")
    assert adopt(after, WHY).abandoned == 1
    manifest = extract(after)
    assert manifest.rows == manifest.control_totals.rows > 0
    assert former not in scns_read(source)
    unfinished = [path.parent.parent.name for path in after.store.root.rglob("plan.json")]
    states = {row.state for name in unfinished if (row := after.ledger.generations.find(name)) is not None}
    assert states == {GenerationState.ABANDONED, GenerationState.SEALED}


def test_a_database_that_fails_over_while_it_is_read_stops_the_extract(
    source: OracleServer, salesforce: SalesforceSettings, workspaces: Workspaces
) -> None:
    """Nothing is sealed from two histories, although the next session connects at once."""
    workspace = workspaces(source, salesforce)
    workspace.environment  # noqa: B018  the identity is known before the failover
    source.admin("POST", "failover")
    with pytest.raises(ConfigError, match=r"opened with RESETLOGS.*kpc source adopt"):
        extract(workspace)
    assert workspace.ledger.generations.current(workspace.environment, HEADERS) is None


def test_what_was_read_before_is_no_base_of_an_incremental_read(
    source: OracleServer, emulated: Callable[..., Emulator], workspaces: Workspaces
) -> None:
    """It may hold changes that the new incarnation never saw: the whole partition is read once, then only changes."""
    org = emulated().settings
    before = workspaces(source, org)
    before.settings.oracle.overlap_s = 0
    results_by_stage(PartitionContext(before, WEB))
    assert extract(before, WEB).base is not None
    source.admin("POST", "failover")
    after = workspaces(source, org, "after")
    after.settings.oracle.overlap_s = 0
    adopt(after, WHY)
    assert extract(after, WEB).base is None
    results_by_stage(PartitionContext(after, WEB))
    assert extract(after, WEB).base is not None


def test_a_pass_of_the_former_incarnation_is_not_taken(
    source: OracleServer, salesforce: SalesforceSettings, workspaces: Workspaces
) -> None:
    """Neither a finished one nor one to carry on."""
    before = workspaces(source, salesforce)
    pass_scn = int(read_in_one_pass(PartitionContext(before, HEADERS), ("2024-01",)).detail["scn"])
    source.admin("POST", "failover")
    after = workspaces(source, salesforce, "after")
    adopt(after, WHY)
    assert find_month(PartitionContext(after, HEADERS)) is None
    assert int(read_in_one_pass(PartitionContext(after, HEADERS), ("2024-01",)).detail["scn"]) >= pass_scn
    month = find_month(PartitionContext(after, HEADERS))
    assert month is not None
    assert len(list(after.store.root.rglob("ONE-PASS/*/plan.json"))) == 1


# Ledgers of earlier versions, which keyed by the container's DBID and the incarnation


def former_ledger(source: OracleServer, workspace: Workspace, incarnation: int = 1) -> str:
    """Make the ledger one that an earlier version has used with this database."""
    former = f"ora-{live(source).dbid}-{incarnation}"
    workspace.ledger.endpoints.remember("oracle", f"{source.settings.user}@former/address", former)
    return former


def test_a_former_ledger_is_recognised_and_kept_by_command(
    source: OracleServer, salesforce: SalesforceSettings, workspaces: Workspaces
) -> None:
    """Everything stays under the former identity, so that nothing has to be moved."""
    former = former_ledger(source, workspaces(source, salesforce))
    workspace = workspaces(source, salesforce)
    with pytest.raises(ConfigError, match=rf"as {former}, an identity of an earlier version.*`kpc source adopt"):
        workspace.environment  # noqa: B018  reading it is what fails
    adopted = adopt(workspace, "update")
    assert (adopted.source_id, adopted.abandoned) == (former, 0)
    assert workspace.environment.source_id == former
    assert extract(workspace).source_id == former
    source.admin("POST", "failover")
    after = workspaces(source, salesforce, "after")
    with pytest.raises(ConfigError, match="RESETLOGS"):
        after.environment  # noqa: B018  reading it is what fails
    assert adopt(after, WHY).source_id == former


def test_a_former_ledger_of_another_owner_is_left_alone(
    source: OracleServer, salesforce: SalesforceSettings, workspaces: Workspaces
) -> None:
    """`--new` begins beside it."""
    former = former_ledger(source, workspaces(source, salesforce))
    workspace = workspaces(source, salesforce)
    adopted = adopt(workspace, "another owner", is_new=True)
    assert workspace.environment.source_id == adopted.source_id == live(source).source_id != former


def test_a_former_ledger_of_an_earlier_incarnation_is_adopted_at_once(
    source: OracleServer, salesforce: SalesforceSettings, workspaces: Workspaces
) -> None:
    """An update of this program and a failover at the same time."""
    former = former_ledger(source, workspaces(source, salesforce), incarnation=77)
    workspace = workspaces(source, salesforce)
    adopted = adopt(workspace, "update and failover")
    assert (adopted.source_id, adopted.former_incarnation, adopted.incarnation) == (former, 77, 1)
    assert workspace.environment.source_id == former
