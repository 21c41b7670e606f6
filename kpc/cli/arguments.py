"""What many commands take: a table, a key, a mode, `--json`; and the workspace of whoever calls."""

from __future__ import annotations

import getpass
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout; remarks go to stderr.")]
TableName = Annotated[str, typer.Argument(metavar="TABLE", help="Oracle table name, in any case.")]
Key = Annotated[str, typer.Argument(metavar="KEY", help="A month such as 2024-01, or ALL.")]
Mode = Annotated[str, typer.Option(help="incremental sends new and changed rows only; full sends all.")]


def user_workspace() -> Any:
    """A workspace by the user's settings and under the user's name, to be closed by `with`."""
    from ulid import ULID

    from kpc.settings import load_settings
    from kpc.stages.workspace import open_workspace

    return open_workspace(load_settings(), run_id=f"kpc-{ULID()}", actor=getpass.getuser())
