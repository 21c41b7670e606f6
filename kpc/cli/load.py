"""Commands about loading: pause, resume, failed, rollback."""

from __future__ import annotations

from typing import Annotated

import typer

from kpc.catalog import Phase, find_table
from kpc.cli.journey import AsJson, _workspace, pauses_as_json
from kpc.cli.output import emit, explaining_errors
from kpc.errors import ConfigError

Scope = Annotated[list[str] | None, typer.Argument(metavar="[all | phase NAME | TABLE]", help="What; all when empty.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands to the application."""
    app.command()(pause)
    app.command()(resume)


@explaining_errors
def pause(
    scope: Scope = None,
    reason: Annotated[str, typer.Option(help="Why; shown by status and in waiting tasks.")] = "",
    as_json: AsJson = False,
) -> None:
    """Create no new ingest job, of everything, a phase or a table; those that run are followed to their end."""
    kind, name = _scope(scope)
    with _workspace() as workspace:
        ledger, environment = workspace.ledger, workspace.environment
        is_new = ledger.pause(environment, kind, name, actor=workspace.actor, reason=reason or None)
        if is_new:
            ledger.append_audit(
                "loads paused",
                actor=workspace.actor,
                run_id=workspace.run_id,
                environment=environment,
                detail={"kind": kind, "name": name, "reason": reason},
            )
        running = ledger.jobs_in_flight(environment.target_id)
        paused = ledger.pauses(environment)
    head = "Paused" if is_new else "It was paused already"
    lines = [f"{head}; {running:,} jobs in flight go on to their end. `kpc resume` lifts it.", *map(_line, paused)]
    facts = {"paused": pauses_as_json(paused), "is_new": is_new, "jobs_in_flight": running}
    emit(facts, as_json=as_json, text="\n".join(lines))


@explaining_errors
def resume(scope: Scope = None, as_json: AsJson = False) -> None:
    """Let new ingest jobs begin again; without a scope, whatever was paused."""
    kind, name = _scope(scope)
    with _workspace() as workspace:
        ledger, environment = workspace.ledger, workspace.environment
        lifted = ledger.resume(environment, kind, name, actor=workspace.actor)
        if lifted:
            ledger.append_audit(
                "loads resumed",
                actor=workspace.actor,
                run_id=workspace.run_id,
                environment=environment,
                detail={"kind": kind, "name": name, "lifted": lifted},
            )
        paused = ledger.pauses(environment)
    head = f"{lifted} pauses lifted." if lifted else "Nothing like that was paused."
    rest = ["Still paused:", *map(_line, paused)] if paused else []
    emit({"lifted": lifted, "paused": pauses_as_json(paused)}, as_json=as_json, text="\n".join([head, *rest]))


def _line(pause: object) -> str:
    return f"  {pause}"


def _scope(words: list[str] | None) -> tuple[str, str]:
    match words or ["all"]:
        case ["all"]:
            return "all", "all"
        case ["phase", name]:
            if name.lower() not in list(Phase):
                raise ConfigError(f"There is no phase {name!r}.", f"The phases are {', '.join(Phase)}.")
            return "phase", name.lower()
        case [table]:
            return "table", find_table(table).name
        case _:
            raise ConfigError(
                f"{' '.join(words or [])!r} names nothing that can be paused.",
                "Write `all`, `phase NAME` or the name of a table.",
            )
