"""A sign-off names the certificates that it covers, and is valid only as long as they are."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from emulated_org import Emulator
from lineage import results_by_stage
from oracle_source import OracleServer

from assets.reconciled import reconciled
from assets.sf_loaded import sf_loaded
from kpc.campaign.alerts import Looked, look
from kpc.campaign.audit import check_audit, places_of
from kpc.campaign.certificates import current_certificates
from kpc.campaign.completeness import counted_completeness
from kpc.campaign.plan import plan_campaign
from kpc.campaign.sign_off import revoke_sign_off, sign_off
from kpc.campaign.sign_off_list import SignOffStanding, is_signed_off, list_sign_offs
from kpc.catalog import find_table
from kpc.errors import ConfigError
from kpc.ledger import Signer
from kpc.partition import find_partition
from kpc.settings import AlertSettings, SignOffSettings
from kpc.stages.context import PartitionContext
from kpc.stages.names import MIGRATION
from kpc.stages.workspace import Workspace

PARTITION = find_partition("KPS_R_EMAIL_TENANT", "ALL")
PHASE = "reference"


def _standings(workspace: Workspace) -> list[SignOffStanding]:
    return [one.standing for one in list_sign_offs(workspace)]


def test_a_sign_off_stands_as_long_as_its_certificates(
    oracle: OracleServer, emulated: Callable[..., Emulator], workspaces: Callable[..., Workspace]
) -> None:
    """It expires with a load and a new verdict, can be revoked, says how its signer was identified, and is audited."""
    workspace = workspaces(oracle, emulated().settings)
    plan_campaign(workspace, (find_table(PARTITION.table.name),), (), "full")
    context = PartitionContext(workspace, PARTITION)
    results_by_stage(context)
    (certificate,) = current_certificates(workspace)
    first = sign_off(PHASE, None, workspace, accepts=True, note="checked")
    assert first.certificates == {"KPS_R_EMAIL_TENANT ALL": certificate.sha256}
    assert not first.signer.is_authenticated
    assert "operating system user on" in first.signer.identified
    assert _standings(workspace) == [SignOffStanding.STANDS]
    sf_loaded.materialize(context)
    (listed,) = list_sign_offs(workspace)
    assert (listed.standing, "KPS_R_EMAIL_TENANT ALL" in listed.reason) == (SignOffStanding.EXPIRED, True)
    with pytest.raises(ConfigError, match="reference cannot be signed off"):
        sign_off(PHASE, None, workspace, accepts=True, note="too early")
    reconciled.materialize(context)
    assert _standings(workspace) == [SignOffStanding.EXPIRED]
    manager = Signer("somsri", "Airflow user", is_authenticated=True)
    second = sign_off(PHASE, None, workspace, accepts=True, note="", signer=manager)
    assert second.evidence_sha256 != first.evidence_sha256
    assert _standings(workspace) == [SignOffStanding.REPLACED, SignOffStanding.STANDS]
    with pytest.raises(ConfigError, match="needs its reason"):
        revoke_sign_off(second.number, workspace, note="")
    revoke_sign_off(second.number, workspace, note="a wrong phase")
    listed = list_sign_offs(workspace)[1]
    assert (listed.standing, listed.sign_off.is_authenticated) == (SignOffStanding.REVOKED, True)
    with pytest.raises(ConfigError, match="already revoked"):
        revoke_sign_off(second.number, workspace, note="again")
    assert check_audit(workspace.ledger, places_of(workspace.settings)).findings == []
    environment = workspace.environment
    record = workspace.store.root / environment.source_id / environment.target_id / "sign-offs" / "sign-off-1.json"
    document = json.loads(record.read_text())
    assert document["certificates"] == first.certificates
    record.write_text(json.dumps(document | {"note": "forged"}))
    (finding,) = check_audit(workspace.ledger, places_of(workspace.settings)).findings
    assert "sign-off-1.json" in finding


def test_a_phase_is_signed_off_by_two_people_where_four_eyes_are_needed(
    oracle: OracleServer, emulated: Callable[..., Emulator], workspaces: Callable[..., Workspace]
) -> None:
    """The same person counts once, whoever did not log in is refused, and one load takes both signatures back."""
    workspace = workspaces(oracle, emulated().settings)
    workspace.settings.sign_off = SignOffSettings(four_eyes=True)
    plan_campaign(workspace, (find_table(PARTITION.table.name),), (), "full")
    context = PartitionContext(workspace, PARTITION)
    results_by_stage(context)
    with pytest.raises(ConfigError, match=r"only by people who log in to Airflow.*sign_off_reference"):
        sign_off(PHASE, None, workspace, accepts=True, note="")
    first, second = (Signer(name, f"Airflow user {name}", is_authenticated=True) for name in ("somsri", "anan"))
    for signer, is_enough in ((first, False), (first, False), (second, True)):
        sign_off(PHASE, None, workspace, accepts=True, note="", signer=signer)
        assert is_signed_off(PHASE, workspace) is is_enough
    assert _standings(workspace) == [SignOffStanding.REPLACED, SignOffStanding.STANDS, SignOffStanding.STANDS]
    sf_loaded.materialize(context)
    assert not is_signed_off(PHASE, workspace)
    reconciled.materialize(context)
    assert not is_signed_off(PHASE, workspace)
    assert _standings(workspace)[1:] == [SignOffStanding.EXPIRED] * 2


def test_a_refusal_takes_an_acceptance_back(
    oracle: OracleServer, emulated: Callable[..., Emulator], workspaces: Callable[..., Workspace]
) -> None:
    """A phase that somebody refuses after its sign-off is not signed off until somebody accepts it again."""
    workspace = workspaces(oracle, emulated().settings)
    plan_campaign(workspace, (find_table(PARTITION.table.name),), (), "full")
    results_by_stage(PartitionContext(workspace, PARTITION))
    found = []
    for accepts in (True, False, True):
        sign_off(PHASE, None, workspace, accepts=accepts, note="")
        found.append(is_signed_off(PHASE, workspace))
    assert found == [True, False, True]


def test_a_complete_phase_is_told_of_until_somebody_decides(
    oracle: OracleServer, emulated: Callable[..., Emulator], workspaces: Callable[..., Workspace]
) -> None:
    """First the phase, then the migration; a refusal is a decision too."""
    workspace = workspaces(oracle, emulated().settings)
    workspace.settings.alerts = AlertSettings(disk_free_bytes=0)
    plan_campaign(workspace, (find_table(PARTITION.table.name),), (), "full")
    assert look(workspace, ()).opened == ()
    results_by_stage(PartitionContext(workspace, PARTITION))
    counted_completeness(None, workspace)
    assert look(workspace, ()).opened == ("Phase reference is complete and waits for its sign-off",)
    assert look(workspace, ()).opened == ()
    sign_off(PHASE, None, workspace, accepts=True, note="")
    after = look(workspace, ())
    assert after.closed == ("Over: The sign-off of reference is no longer pending",)
    assert after.opened == ("The migration is complete and waits for its sign-off",)
    sign_off(MIGRATION, None, workspace, accepts=False, note="not yet")
    assert len(look(workspace, ()).closed) == 1
    sign_off(MIGRATION, None, workspace, accepts=True, note="")
    assert look(workspace, ()) == Looked()
