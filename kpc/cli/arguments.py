"""Arguments shared by many commands: table, key, mode, `--json`; and the calling user's workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout; progress goes to stderr.")]
TableName = Annotated[str, typer.Argument(metavar="TABLE", help="Oracle table name, in any case.")]
Key = Annotated[str, typer.Argument(metavar="KEY", help="A month such as 2024-01, or ALL.")]
Mode = Annotated[str, typer.Option(help="incremental: new and changed rows only; full: all rows.")]
OnlyKeys = Annotated[
    Path | None,
    typer.Option(
        help="Send these records again, even if the load has recorded them as sent: a differences file of "
        "`kpc reconcile`, or one external id per line."
    ),
]
SameScn = Annotated[
    bool, typer.Option("--same-scn", help="Read at the SCN of the last read of a parent or child with this key.")
]


def user_workspace() -> Any:
    """A workspace with the user's settings and name; a context manager."""
    from ulid import ULID

    from kpc.calling_user import calling_user
    from kpc.settings import load_settings
    from kpc.stages.workspace import open_workspace

    return open_workspace(load_settings(), run_id=f"kpc-{ULID()}", actor=calling_user())
