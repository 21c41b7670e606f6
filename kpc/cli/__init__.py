"""The `kpc` command: parse, call, print, exit code."""

from __future__ import annotations

import logging
import os

import typer

from kpc.cli import bench, cleanup, emulate, journey, load, org, proof, state
from kpc.cli.output import console

app = typer.Typer(
    name="kpc",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Migrate KPC TMS's sales history from Oracle to Salesforce, partition by partition, and reconcile the result.",
)
app.add_typer(emulate.app, name="emulate")
app.add_typer(bench.app, name="bench")
app.add_typer(org.app, name="org")
journey.register(app)
state.register(app)
load.register(app)
proof.register(app)
cleanup.register(app)


def main() -> None:
    """Entry point of the console script."""
    from rich.logging import RichHandler

    level = os.environ.get("KPC_LOG", "INFO").upper()
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=False, show_level=False, log_time_format="%H:%M:%S")
        logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    else:
        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for package in ("kpc", "assets", "expectations"):
        logging.getLogger(package).setLevel(level)
    app()
