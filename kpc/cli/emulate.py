"""`kpc emulate oracle` and `kpc emulate salesforce`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from kpc.cli.extras import require_extra
from kpc.cli.output import explaining_errors
from kpc.errors import ConfigError
from kpc.partition import month_keys

app = typer.Typer(no_args_is_help=True, help="Start an emulator of Oracle or Salesforce on this machine.")

Port = Annotated[int, typer.Option(min=0, max=65_535, help="TCP port on 127.0.0.1; 0 takes a free one.")]
PasswordFile = Annotated[
    Path | None, typer.Option(help="Password of user KPC, so that clients of an earlier emulator can log in.")
]
ReadyFile = Annotated[
    Path | None, typer.Option(help="Write the connection details here as JSON once connections are accepted.")
]
LayoutName = Annotated[
    Literal["heap", "index", "partitions"],
    typer.Option(help="Monthly tables: a heap, with an index on the date, or partitioned by month."),
]
CharacterSetName = Annotated[
    Literal["AL32UTF8", "WE8MSWIN1252", "WE8ISO8859P1", "US7ASCII", "TH8TISASCII"],
    typer.Option(help="The database character set, from which the server converts to UTF-8."),
]
StoredThrough = Annotated[
    Literal["TIS620", "MSWIN874"] | None,
    typer.Option(help="Seed text in the bytes of this character set, as a wrong NLS_LANG stores it."),
]
Faults = Annotated[
    list[str] | None, typer.Option(help="ACTION=VALUE[,option=value...], repeatable; see docs/oracle-emulator.md.")
]
ClientCertificates = Annotated[bool, typer.Option("--client-certificates", help="Require one from each TLS client.")]
Verbose = Annotated[bool, typer.Option(help="Print one line per request.")]


Scale = Annotated[
    int, typer.Option(min=0, help="How many rows each row counts as in a statement's simulated cost; 0: no cost.")
]


@contextmanager
def _explaining_options() -> Iterator[None]:
    """The emulators do not know `kpc`: their errors about wrong options become errors of this command."""
    from kpc.emulators.errors import OptionError

    try:
        yield
    except OptionError as error:
        raise ConfigError(error.what, error.remedy) from error


@app.command()
@explaining_errors
def oracle(
    port: Port = 1521,
    rows: Annotated[int, typer.Option(help="Rows to seed, spread over all 16 tables.")] = 250_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same rows.")] = 42,
    months: Annotated[int, typer.Option(min=1, max=120, help="Months of sales, starting with 2024-01.")] = 3,
    scale: Scale = 1,
    layout: LayoutName = "heap",
    character_set: CharacterSetName = "AL32UTF8",
    stored_through: StoredThrough = None,
    with_bad_rows: Annotated[int, typer.Option(help="Rows that a staging rule must reject.")] = 0,
    fault: Faults = None,
    service: Annotated[list[str] | None, typer.Option(help="A service name; repeatable. Default: KPCDB.")] = None,
    pdb: Annotated[list[str] | None, typer.Option(help="Another pluggable database; repeatable.")] = None,
    reader: Annotated[list[str] | None, typer.Option(help="A user who may only read the tables; repeatable.")] = None,
    tls: Annotated[bool, typer.Option(help="Also listen on a port that speaks TLS.")] = False,
    client_certificates: ClientCertificates = False,
    admin: Annotated[bool, typer.Option("--admin", help="Open the admin endpoint (faults and counters).")] = False,
    ready_file: ReadyFile = None,
    password_file: PasswordFile = None,
    verbose: Verbose = False,
) -> None:
    """Start a server that speaks Oracle's wire protocol, with a seeded KPS schema. Ends on SIGTERM or Ctrl-C."""
    require_extra("emulators", "kpc emulate oracle")
    from kpc.emulators.oracle.command import SERVICE, OracleOptions, run

    with _explaining_options():
        options = OracleOptions(
            port=port,
            rows=rows,
            seed=seed,
            months=month_keys("2024-01", months),
            with_bad_rows=with_bad_rows,
            scale=scale,
            layout=layout,
            character_set=character_set,
            stored_through=stored_through,
            ready_file=ready_file,
            password_file=password_file,
            faults=fault or (),
            readers=reader or (),
            services=service or (SERVICE,),
            pdbs=pdb or (),
            tls=tls,
            client_certificates=client_certificates,
            admin=admin,
            verbose=verbose,
        )
        raise typer.Exit(run(options))


@app.command()
@explaining_errors
def salesforce(
    port: Port = 8443,
    data_file: Annotated[Path | None, typer.Option(help="Keep the org's data in this file across restarts.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of ids and of the order of results.")] = 42,
    workers: Annotated[int, typer.Option(help="Ingest jobs processed at the same time.")] = 4,
    tls: Annotated[bool, typer.Option("--tls", help="Also serve HTTPS, with a throw-away CA, and CONNECT.")] = False,
    scale: Annotated[
        int, typer.Option(min=0, help="How many records each record counts as in a query's simulated cost; 0: no cost.")
    ] = 1,
    speed: Annotated[float, typer.Option(help="Speed of the org's clock; 1 is real time.")] = 1.0,
    switch: Annotated[list[str] | None, typer.Option(help="NAME=VALUE: a behaviour of the org; repeatable.")] = None,
    fault: Annotated[list[str] | None, typer.Option(help="A fault rule as JSON; repeatable.")] = None,
    ready_file: ReadyFile = None,
    verbose: Verbose = False,
) -> None:
    """Start a server that speaks Salesforce's OAuth, Bulk API 2.0 and SOQL. Ends on SIGTERM or Ctrl-C."""
    require_extra("emulators", "kpc emulate salesforce")
    from kpc.emulators.salesforce.command import run
    from kpc.emulators.salesforce.options import fault_of, switch_of

    with _explaining_options():
        code = run(
            port=port,
            ready_file=ready_file,
            data_file=data_file,
            verbose=verbose,
            seed=seed,
            workers=workers,
            tls=tls,
            scale=scale,
            speed=speed,
            switches=dict(switch_of(given) for given in switch or ()),
            faults=[fault_of(given) for given in fault or ()],
        )
    raise typer.Exit(code)
