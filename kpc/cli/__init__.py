"""The `kpc` command: parse, call, print, exit code."""

from __future__ import annotations

import logging
import sys

import typer

from kpc.cli import (
    alerts,
    audit,
    bench,
    campaign,
    certificate,
    cleanup,
    cluster,
    constants,
    delta,
    documents,
    emulate,
    journey,
    load,
    missed,
    org,
    proof,
    purge,
    sign_off,
    source,
    state,
)
from kpc.cli.output import Exit, console, end_on_sigterm, fail
from kpc.cli.streams import with_lasting_streams
from kpc.errors import ConfigError, KpcError
from kpc.setting_sources import named_variable, shown_name

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")

app = typer.Typer(
    name="kpc",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Migrate KPC TMS's sales history from Oracle to Salesforce, partition by partition, and reconcile the result.",
)
app.add_typer(alerts.app, name="alerts")
app.add_typer(audit.app, name="audit")
app.add_typer(campaign.app, name="campaign")
app.add_typer(certificate.app, name="certificate")
app.add_typer(cluster.app, name="cluster")
app.add_typer(emulate.app, name="emulate")
app.add_typer(bench.app, name="bench")
app.add_typer(constants.app, name="constants")
app.add_typer(org.app, name="org")
app.add_typer(source.app, name="source")
journey.register(app)
state.register(app)
load.register(app)
proof.register(app)
documents.register(app)
sign_off.register(app)
delta.register(app)
cleanup.register(app)
missed.register(app)
purge.register(app)


def main() -> None:
    """Entry point of the console script."""
    sys.exit(with_lasting_streams(_run))


def _run() -> int:
    try:
        _check_arguments()
        _set_up_logging()
        app()
    except KpcError as error:
        try:
            fail(error)
        except typer.Exit as ended:
            return ended.exit_code
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else Exit.DONE
    return Exit.DONE


def _check_arguments() -> None:
    """Raise `ConfigError` for an argument that cannot be stored or sent as text."""
    for argument in sys.argv[1:]:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise ConfigError(
                f"The argument {shown_name(argument)} is not text in the encoding {sys.getfilesystemencoding()}.",
                "Give it in that encoding, or set PYTHONUTF8=1 if it is UTF-8.",
            ) from None


def _set_up_logging() -> None:
    from rich.logging import RichHandler

    level = named_variable("KPC_LOG").strip().upper() or "INFO"
    if level not in _LEVELS:
        raise ConfigError(
            f"KPC_LOG is not a logging level: {shown_name(level)}.", f"Set it to one of {', '.join(_LEVELS)}."
        )
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=False, show_level=False, log_time_format="%H:%M:%S")
        logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    else:
        logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for package in ("kpc", "assets", "expectations"):
        logging.getLogger(package).setLevel(level)
    end_on_sigterm()
