"""Decisions of people: sign off, list, revoke."""

from __future__ import annotations

from typing import Annotated

import typer

from kpc.cli.arguments import AsJson, user_workspace
from kpc.cli.output import emit, explaining_errors, grid, say
from kpc.errors import ConfigError

_WEAKER = "The name comes from the operating system: a sign-off by a user logged in to Airflow is stronger evidence."


def register(app: typer.Typer) -> None:
    """Add this module's command to the application."""
    app.command()(sign_off)


@explaining_errors
def sign_off(
    subject: Annotated[
        str,
        typer.Argument(help="A phase, `migration`, or a table with what is decided; or `list`, or `revoke NUMBER`."),
    ],
    key: Annotated[str | None, typer.Argument(metavar="[UNASSIGNED|FOREIGN|KEY|NUMBER]")] = None,
    refuse: Annotated[bool, typer.Option("--refuse", help="Refuse it; a later decision may accept it.")] = False,
    note: Annotated[str, typer.Option(help="Why, for the record.")] = "",
    as_json: AsJson = False,
) -> None:
    """Record your decision about a phase, the migration, rows without a partition, or later changes in Oracle.

    `list` shows every decision and whether it still stands; `revoke NUMBER` takes one back.
    """
    if subject == "list" and key is None:
        _list(as_json=as_json)
    elif subject == "revoke":
        _revoke(key, note, as_json=as_json)
    else:
        _decide(subject, key, note, refuse=refuse, as_json=as_json)


def _decide(subject: str, key: str | None, note: str, *, refuse: bool, as_json: bool) -> None:
    from kpc.campaign.sign_off import sign_off as file_decision

    with user_workspace() as workspace:
        made = file_decision(subject, key, workspace, accepts=not refuse, note=note)
    facts = {
        "number": made.number,
        "subject": made.subject,
        "decision": made.decision,
        "evidence": made.evidence,
        "identified": made.signer.identified,
        "is_authenticated": made.signer.is_authenticated,
    }
    numbers = ", ".join(f"{name} {value}" for name, value in made.evidence.items())
    text = f"{made.subject}: {made.decision}, based on {numbers} (sha256 {made.evidence_sha256[:12]}...)."
    emit({**facts, "evidence_sha256": made.evidence_sha256}, as_json=as_json, text=text)
    say(f"Recorded as sign-off {made.number} by {made.signer.actor}, {made.signer.identified}. {_WEAKER}")


def _list(*, as_json: bool) -> None:
    from kpc.campaign.sign_off_list import list_sign_offs

    with user_workspace() as workspace:
        found = [one.as_json() for one in list_sign_offs(workspace)]
    names = ("number", "subject", "decision", "standing", "reason", "actor", "identified", "signed_utc", "note")
    cells = [["" if one[name] is None else one[name] for name in names] for one in found]
    emit({"sign_offs": found}, as_json=as_json, text=grid("Sign-offs", names, cells))


def _revoke(number: str | None, note: str, *, as_json: bool) -> None:
    from kpc.campaign.sign_off import revoke_sign_off

    if number is None or not number.isdecimal():
        raise ConfigError(
            "The number of the sign-off to revoke is missing.",
            "`kpc sign-off list` shows it; then `kpc sign-off revoke NUMBER --note REASON`.",
        )
    with user_workspace() as workspace:
        made = revoke_sign_off(int(number), workspace, note=note)
    facts = {"number": made.number, "subject": made.subject, "decision": made.decision, "revokes": made.revokes}
    emit(facts, as_json=as_json, text=f"Sign-off {made.revokes} of {made.subject} is revoked.")
