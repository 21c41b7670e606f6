"""Pausing and resuming loads, with an entry in the audit log: for the command line and the Migration page."""

from __future__ import annotations

from kpc.ledger import Ledger
from kpc.ledger.states import PauseScope
from kpc.partition import Environment


def pause_loads(
    ledger: Ledger,
    environment: Environment,
    kind: PauseScope,
    name: str,
    *,
    actor: str,
    run_id: str,
    reason: str = "",
) -> bool:
    """Stop creating ingest jobs for what is named; False if exactly this is already paused."""
    with ledger.together():
        is_new = ledger.pauses.start(environment, kind, name, actor=actor, reason=reason or None)
        if is_new:
            detail = {"kind": kind, "name": name, "reason": reason}
            ledger.audit.append("loads paused", actor=actor, run_id=run_id, environment=environment, detail=detail)
    return is_new


def resume_loads(
    ledger: Ledger, environment: Environment, kind: PauseScope, name: str, *, actor: str, run_id: str
) -> int:
    """End one pause, or all with `PauseScope.ALL`; returns how many."""
    with ledger.together():
        lifted = ledger.pauses.lift(environment, kind, name, actor=actor)
        if lifted:
            detail = {"kind": kind, "name": name, "lifted": lifted}
            ledger.audit.append("loads resumed", actor=actor, run_id=run_id, environment=environment, detail=detail)
    return lifted
