"""Commands about the org: what was learned about it at run time, and forgetting it."""

from __future__ import annotations

from typing import Annotated

import typer

from kpc.cli.arguments import AsJson, user_workspace
from kpc.cli.output import emit, explaining_errors, grid
from kpc.errors import ConfigError

app = typer.Typer(no_args_is_help=True, help="Show and reset what loads have learned about the org.")


@app.command()
@explaining_errors
def show(as_json: AsJson = False) -> None:
    """Show what loads have learned about the org, e.g. whether it takes gzip uploads."""
    with user_workspace() as workspace:
        target_id = workspace.environment.target_id
        facts = workspace.ledger.org_facts.of_org(target_id)
    cells = [[fact.name, fact.value, f"{fact.learned_utc:%Y-%m-%d %H:%M:%S} UTC"] for fact in facts]
    result = {
        "target_id": target_id,
        "facts": [{"name": one.name, "value": one.value, "learned_utc": one.learned_utc.isoformat()} for one in facts],
    }
    title = f"{target_id}: " + ("`kpc org forget NAME` resets one" if facts else "nothing has been learned yet")
    emit(result, as_json=as_json, text=grid(title, ("name", "value", "learned"), cells) if facts else title)


@app.command()
@explaining_errors
def forget(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name that `kpc org show` lists.")],
    as_json: AsJson = False,
) -> None:
    """Forget one fact, so that the next load learns it again; recorded in the audit log."""
    with user_workspace() as workspace:
        ledger, environment = workspace.ledger, workspace.environment
        value = ledger.org_facts.find(environment.target_id, name)
        if value is None or not ledger.org_facts.forget(environment.target_id, name):
            known = ", ".join(fact.name for fact in ledger.org_facts.of_org(environment.target_id)) or "nothing"
            raise ConfigError(
                f"Nothing named {name!r} was learned about org {environment.target_id}.",
                f"`kpc org show` lists what is known: {known}.",
            )
        ledger.audit.append(
            "org fact forgotten",
            actor=workspace.actor,
            run_id=workspace.run_id,
            environment=environment,
            detail={"name": name, "value": value},
        )
    text = f"Forgot {name} = {value}; the next load learns it again."
    emit({"forgotten": name, "value": value}, as_json=as_json, text=text)
