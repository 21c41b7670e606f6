"""`kpc constants`: what may not change within a campaign, and changing it deliberately."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from kpc.cli.arguments import AsJson, user_workspace
from kpc.cli.output import emit, explaining_errors, grid
from kpc.errors import ConfigError

if TYPE_CHECKING:
    from kpc.stages.campaign_constants import Constant
    from kpc.stages.workspace import Workspace

app = typer.Typer(no_args_is_help=True, help="Show or change what may not change within a campaign.")


@app.command()
@explaining_errors
def show(as_json: AsJson = False) -> None:
    """List the pinned constants, and whether this process has the same values."""
    with user_workspace() as workspace:
        mine = _mine(workspace)
        pinned = workspace.ledger.constants.all(workspace.environment)
    rows = [(each, mine[each.name].has(each.fingerprint) if each.name in mine else None) for each in pinned]
    facts = [
        {"name": each.name, "same": is_same, "fingerprint": each.fingerprint, "actor": each.actor,
         "pinned_utc": each.pinned_utc.isoformat()}
        for each, is_same in rows
    ]  # fmt: skip
    states = {True: "same", False: "DIFFERS", None: "not set here"}
    cells = [[each.name, states[is_same], f"{each.pinned_utc:%Y-%m-%d %H:%M}", each.actor] for each, is_same in rows]
    text = grid("Campaign constants", ("name", "this process", "pinned", "by"), cells)
    emit({"constants": facts}, as_json=as_json, text=text)


@app.command()
@explaining_errors
def adopt(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `kpc constants show` lists it.")],
    reason: Annotated[str, typer.Option(help="Why it changes; written to the audit log.")],
    as_json: AsJson = False,
) -> None:
    """Pin this process's value of a constant in place of the former one."""
    from kpc.ledger import Vouched, constant_group

    with user_workspace() as workspace:
        constant = _mine(workspace).get(name)
        former = workspace.ledger.constants.find(workspace.environment, name)
        if constant is None or former is None:
            raise ConfigError(
                f"There is no pinned constant {name!r} that this process has a value for.",
                "`kpc constants show` lists them; set KPC__HASH_KEY first if it is the hash key.",
            )
        if not reason.strip():
            raise ConfigError("The reason is empty.", "Say with --reason why the constant changes.")
        fingerprint = constant.fingerprint()
        who: dict[str, Any] = {"actor": workspace.actor, "run_id": workspace.run_id}
        with workspace.ledger.together():
            workspace.ledger.constants.replace(workspace.environment, name, fingerprint, **who)
            workspace.ledger.audit.append(
                "constant changed",
                environment=workspace.environment,
                detail={"name": name, "former": former.fingerprint, "new": fingerprint, "reason": reason},
                vouched=Vouched((constant_group(workspace.environment, name),)),
                **who,
            )
    text = f"{name} was changed. What to load again: {constant.reload}"
    emit({"name": name, "reload": constant.reload}, as_json=as_json, text=text)


def _mine(workspace: Workspace) -> dict[str, Constant]:
    """This process's constants for every table, by name."""
    from kpc.catalog import TABLES
    from kpc.stages.campaign_constants import constants_for

    key = workspace.settings.hash_key.get_secret_value()
    return {constant.name: constant for table in TABLES.values() for constant in constants_for(table, key)}
