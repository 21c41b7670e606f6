"""The sign-offs of an overview: the newest decision about each subject, and whether it still stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kpc.campaign.overview.cells import PartitionName
from kpc.catalog import TABLES, Phase
from kpc.ledger import Ledger, NewestRun, SignOff
from kpc.ledger.states import SignOffDecision
from kpc.partition import Environment
from kpc.stages.names import MIGRATION, SF_LOADED


def standing_certificates(
    ledger: Ledger,
    environment: Environment,
    runs: Mapping[PartitionName, Mapping[str, NewestRun]],
    generations: Mapping[PartitionName, str],
) -> dict[PartitionName, str]:
    """The sha256 of the certificate of each partition that was neither loaded nor rolled back since."""
    found = {}
    for verdict in ledger.overview.certified_verdicts(environment):
        name = (verdict.table_name, verdict.partition_key)
        load = runs.get(name, {}).get(SF_LOADED)
        if (load is None or load.id < verdict.id) and generations.get(name) == verdict.generation:
            found[name] = verdict.sha256
    return found


def decisions_of(
    made: Sequence[SignOff], certificates: Mapping[PartitionName, str], planned: Sequence[PartitionName]
) -> list[dict[str, Any]]:
    """The newest decision on each subject, oldest first. `stands` is null if only `kpc sign-off list` can tell."""
    revoked = {one.revokes for one in made if one.revokes}
    newest = {one.subject: one for one in made if one.decision is not SignOffDecision.REVOKED}
    return [
        {
            "number": one.id,
            "subject": one.subject,
            "decision": one.decision,
            "actor": one.actor,
            "identified": one.identified or "not recorded",
            "is_authenticated": bool(one.is_authenticated),
            "signed_utc": one.signed_utc,
            "stands": False if one.id in revoked else _stands(one, certificates, planned),
        }
        for one in sorted(newest.values(), key=lambda each: each.id)
    ]


def _stands(one: SignOff, certificates: Mapping[PartitionName, str], planned: Sequence[PartitionName]) -> bool | None:
    """A phase's sign-off covers one certificate of each of its partitions; it ends if one is replaced or missing."""
    if one.subject not in (*Phase, MIGRATION):
        return None
    if one.decision is SignOffDecision.REFUSED:
        return True
    if one.certificates is None:
        return False
    mine = [name for name in planned if one.subject in (MIGRATION, TABLES[name[0]].phase)]
    return one.certificates == {f"{table} {key}": certificates.get((table, key), "") for table, key in mine}
