"""The demo's sign-off: it answers the request as a person would, logged in to Airflow as the user who signs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from kpc.airflow_client.hitl import open_requests, respond
from kpc.campaign.completeness import counted_completeness
from kpc.campaign.sign_off_evidence import certificates_digest, standing_certificates
from kpc.campaign.sign_off_list import is_signed_off, list_sign_offs
from kpc.demo.servers import World
from kpc.demo.users import SIGNER
from kpc.stages.names import MIGRATION, sign_off_dag, sign_off_run
from kpc.stages.workspace import Workspace

_TIMEOUT_S = 120.0
_POLL_S = 1.0

T = TypeVar("T")


def sign_migration_off(world: World, workspace: Workspace) -> str:
    """Approve the request for the sign-off of the migration; returns who signed, or why it is not signed off."""
    found = counted_completeness(None, workspace)
    if found is None or not found.is_complete:
        return f"The migration cannot be signed off: {found.summary if found else 'nothing is planned'}"
    standing = standing_certificates(MIGRATION, workspace.ledger, workspace.environment)
    dag_id, run_id = sign_off_dag(MIGRATION), sign_off_run(certificates_digest(standing))
    waiting = _soon(world, lambda: [one for one in open_requests(world.api, dag_id) if one.run_id == run_id])
    if not waiting:
        return f"Nobody was asked for the sign-off; see the runs of the DAG {dag_id}."
    with world.api_as(SIGNER) as api:
        respond(api, waiting[0], approves=True, note="a demo, not a production migration")
    _soon(world, lambda: world.api.run(dag_id, run_id).is_final)
    if not is_signed_off(MIGRATION, workspace):
        return f"The migration is not signed off. {world.api.failure(world.api.run(dag_id, run_id))}"
    signer = list_sign_offs(workspace)[-1].sign_off
    return f"The migration is signed off by {signer.actor}, {signer.identified}, by {len(standing)} certificates."


def _soon(world: World, ask: Callable[[], T]) -> T:
    """The first answer that is not empty; the last one when the time limit passes."""
    until = time.monotonic() + _TIMEOUT_S
    while not (answer := ask()) and time.monotonic() < until:
        world.keeper.check()
        time.sleep(_POLL_S)
    return answer
