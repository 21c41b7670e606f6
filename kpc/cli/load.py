"""Commands that control loads: pause, resume, failed, rollback."""

from __future__ import annotations

from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kpc.catalog import Phase, find_table
from kpc.cli.arguments import AsJson, Key, TableName, user_workspace
from kpc.cli.output import Exit, emit, explaining_errors, grid, say
from kpc.cli.state import pauses_as_json
from kpc.errors import ConfigError
from kpc.file_errors import naming
from kpc.partition import Partition, find_partition, stored_partition

if TYPE_CHECKING:
    from kpc.catalog import Table
    from kpc.ledger.states import PauseScope
    from kpc.repair.send_refused import RepairResult
    from kpc.rollback.partition_rollback import RollbackPlan, RollbackResult
    from kpc.stages.context import PartitionContext

_CHANGES_SHOWN = 50
Scope = Annotated[list[str] | None, typer.Argument(metavar="[all | phase NAME | TABLE]", help="Default: all.")]


def register(app: typer.Typer) -> None:
    """Add this module's commands to the application."""
    app.command()(pause)
    app.command()(resume)
    app.command()(failed)
    app.command()(rollback)


@explaining_errors
def pause(
    scope: Scope = None,
    reason: Annotated[str, typer.Option(help="Reason, shown by `kpc status` and in waiting tasks.")] = "",
    as_json: AsJson = False,
) -> None:
    """Stop creating ingest jobs for everything, a phase or a table; running jobs are polled to their end."""
    from kpc.campaign.pausing import pause_loads

    kind, name = _scope(scope)
    with user_workspace() as workspace:
        ledger, environment = workspace.ledger, workspace.environment
        who = {"actor": workspace.actor, "run_id": workspace.run_id}
        is_new = pause_loads(ledger, environment, kind, name, **who, reason=reason)
        running = ledger.jobs.in_flight(environment.target_id)
        paused = ledger.pauses.active(environment)
    head = "Paused" if is_new else "It was already paused"
    lines = [f"{head}; {running:,} jobs in flight continue to their end. `kpc resume` ends it.", *map(_line, paused)]
    facts = {"paused": pauses_as_json(paused), "is_new": is_new, "jobs_in_flight": running}
    emit(facts, as_json=as_json, text="\n".join(lines))


@explaining_errors
def resume(scope: Scope = None, as_json: AsJson = False) -> None:
    """End a pause, or all pauses; new ingest jobs may start again."""
    from kpc.campaign.pausing import resume_loads

    kind, name = _scope(scope)
    with user_workspace() as workspace:
        ledger, environment = workspace.ledger, workspace.environment
        who = {"actor": workspace.actor, "run_id": workspace.run_id}
        lifted = resume_loads(ledger, environment, kind, name, **who)
        paused = ledger.pauses.active(environment)
    head = f"{lifted} pause{'s' if lifted > 1 else ''} ended." if lifted else "No such pause was active."
    rest = ["Still paused:", *map(_line, paused)] if paused else []
    emit({"lifted": lifted, "paused": pauses_as_json(paused)}, as_json=as_json, text="\n".join([head, *rest]))


def _line(pause: object) -> str:
    return f"  {pause}"


def _scope(words: list[str] | None) -> tuple[PauseScope, str]:
    from kpc.ledger.states import PauseScope

    match words or ["all"]:
        case ["all"]:
            return PauseScope.ALL, "all"
        case ["phase", name]:
            if name.lower() not in list(Phase):
                raise ConfigError(f"There is no phase {name!r}.", f"The phases are {', '.join(Phase)}.")
            return PauseScope.PHASE, name.lower()
        case [table]:
            return PauseScope.TABLE, find_table(table).name
        case _:
            raise ConfigError(
                f"{' '.join(words or [])!r} cannot be paused.",
                "Give `all`, `phase NAME` or the name of a table.",
            )


@explaining_errors
def failed(
    table: TableName,
    key: Annotated[str | None, typer.Argument(metavar="[KEY]")] = None,
    limit: Annotated[int, typer.Option(help="List at most this many records.")] = 50,
    retry: Annotated[bool, typer.Option("--retry", help="Send transient failures again; costs no batch.")] = False,
    export: Annotated[Path | None, typer.Option(help="Write the refused rows to this CSV file.")] = None,
    import_file: Annotated[Path | None, typer.Option("--import", help="Send the rows of a corrected export.")] = None,
    allow_fields: Annotated[
        str, typer.Option(help="With --import: comma-separated fields that may change although they were not refused.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List rejected and refused records; export refused ones, import corrections and send them again."""
    from kpc.stages.context import PartitionContext

    if sum(map(bool, (retry, export, import_file))) > 1:
        raise ConfigError("--retry, --export and --import were given together.", "Give only one of them.")
    if allow_fields and import_file is None:
        raise ConfigError("--allow-fields was given without --import.", "Name the corrected file with --import FILE.")
    name = find_partition(table, key).table.name if key else find_table(table).name
    with user_workspace() as workspace:
        counts = workspace.ledger.failures.counts(workspace.environment)
        keys = sorted({found[1] for found in counts if found[0] == name})
        named = [find_partition(name, key)] if key else [stored_partition(name, each) for each in keys]
        partitions = [PartitionContext(workspace, each) for each in named if each is not None]
        if export:
            _export(partitions, find_table(name), export, as_json=as_json)
        elif retry:
            _report_sent(find_table(name), _retried(partitions), as_json=as_json)
        elif import_file:
            sent = _imported(partitions, find_table(name), import_file, allow_fields)
            _report_sent(find_table(name), sent, as_json=as_json)
        else:
            _list(partitions, name, limit, as_json=as_json)


def _list(partitions: list[PartitionContext], name: str, limit: int, *, as_json: bool) -> None:
    found = (each.ledger.failures.of_partition(each.environment, each.partition, limit=limit) for each in partitions)
    rows = list(islice(chain.from_iterable(found), limit))
    columns = ("partition_key", "external_id", "error_class", "error_code", "message", "attempts")
    records = [{column: getattr(row, column) for column in columns} for row in rows]
    cells = [list(record.values()) for record in records]
    emit({"table": name, "records": records}, as_json=as_json, text=grid(name, columns, cells))
    if records:
        raise typer.Exit(Exit.EXCEPTIONS)


def _export(partitions: list[PartitionContext], table: Table, file: Path, *, as_json: bool) -> None:
    from kpc.repair.refused_rows import export_refused

    with naming("--export", file):
        rows = export_refused(partitions, table, file)
    text = (
        f"{rows:,} refused rows are in {file}; it holds their values, personal data too. Correct the refused "
        "cells, keep all columns, remove the lines you leave as they are, save as CSV UTF-8, and send it with "
        "--import. An apostrophe before a value keeps a spreadsheet from rewriting it; --import removes it."
    )
    emit({"rows": rows, "file": str(file)}, as_json=as_json, text=text)


def _retried(partitions: list[PartitionContext]) -> list[RepairResult]:
    from kpc.repair.send_refused import send_refused

    return [send_refused(context) for context in partitions]


def _imported(partitions: list[PartitionContext], table: Table, file: Path, allow_fields: str) -> list[RepairResult]:
    """Check the whole file, then send the rows of each partition."""
    from kpc.repair.corrections import corrections_of
    from kpc.repair.send_refused import send_refused

    with naming("--import", file):
        corrections = corrections_of(file, table, partitions, allow_fields)
    contexts = {context.key: context for context in partitions}
    changed = [
        f"{table.name} {key}, {correction.external_id}: {field} is changed"
        for key, mine in corrections.items()
        for correction in mine.values()
        for field in correction.after
    ]
    for line in changed[:_CHANGES_SHOWN]:
        say(line)
    if more := len(changed[_CHANGES_SHOWN:]):
        say(f"and {more:,} more cells; `kpc audit verify --limit {len(changed)}` lists all of them once they are sent")
    return [send_refused(contexts[key], mine) for key, mine in corrections.items()]


def _report_sent(table: Table, repairs: list[RepairResult], *, as_json: bool) -> None:
    columns = ("key", "sent", "loaded", "parked", "quarantined")
    facts = [repair.as_json() for repair in repairs]
    left = sum(repair.parked + repair.quarantined + repair.sent - repair.loaded for repair in repairs)
    cells = [[one[column] for column in columns] for one in facts]
    emit({"table": table.name, "repairs": facts}, as_json=as_json, text=grid(table.name, columns, cells))
    for repair in repairs:
        if repair.loaded:
            say(f"Verify with `kpc reconcile {repair.partition.table.name} {repair.partition.key}`.")
    raise typer.Exit(Exit.EXCEPTIONS if left else Exit.DONE)


@explaining_errors
def rollback(
    table: TableName,
    key: Key,
    yes: Annotated[bool, typer.Option("--yes", help="Roll back; without it, only show what would happen.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete the records that a partition created and restore those it changed; a dry run without --yes."""
    from kpc.rollback.partition_rollback import plan_rollback, roll_back
    from kpc.stages.context import PartitionContext

    partition = find_partition(table, key)
    with user_workspace() as workspace:
        context = PartitionContext(workspace, partition)
        plan = plan_rollback(context)
        if not yes:
            emit({"dry_run": True, **plan.as_json()}, as_json=as_json, text="\n".join(_plan_lines(plan)))
            return
        done = roll_back(context)
    counts = {name: getattr(done, name) for name in ("restored", "left", "changed", "differing")}
    facts = {"dry_run": False, **plan.as_json(), "deleted": done.created, **counts}
    emit(facts, as_json=as_json, text="\n".join(_done_lines(partition, done)))
    raise typer.Exit(Exit.EXCEPTIONS if done.changed or done.differing else Exit.DONE)


def _plan_lines(plan: RollbackPlan) -> list[str]:
    lines = [f"{plan.created:,} records that {plan.partition} created would be deleted."]
    if plan.imaged:
        lines.append(
            f"{plan.imaged:,} records that existed before would be restored to their pre-image, except those that "
            "somebody has changed since."
        )
    lines.append(_left(plan.updated - plan.imaged))
    if plan.children:
        children = ", ".join(map(str, plan.children))
        lines.append(f"Not possible while these refer to it: {children}. Roll them back first.")
    else:
        lines.append(f"Nothing was done. To perform it: `kpc rollback {plan.partition} --yes`.")
    return lines


def _done_lines(partition: Partition, done: RollbackResult) -> list[str]:
    lines = [f"{done.created:,} records that {partition} had created were deleted."]
    if done.restored:
        lines.append(f"{done.restored:,} records that it had changed have their former values again.")
    if done.changed:
        lines.append(f"{done.changed:,} records have been changed by somebody since and were left as they are.")
    if done.differing:
        lines.append(f"Of the restored records, {done.differing:,} still differ from their pre-image: check the org.")
    lines += [_left(done.left - min(done.left, done.changed))]
    return [*lines, f"The partition counts as not loaded: `kpc rerun {partition}` loads it again."]


def _left(updated: int) -> str:
    return (
        f"{updated:,} records that existed before and were only updated are left as they are: no image of them was "
        "taken before the load. Records that are not in the migration's index are never touched."
    )
