"""Runs the emulator as a process: builds the database, listens, reports how to connect, stops on a signal."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from kpc.emulators.errors import OptionError
from kpc.emulators.oracle.admin import AdminChannel
from kpc.emulators.oracle.container import Container
from kpc.emulators.oracle.control import Control
from kpc.emulators.oracle.faults import parse_fault
from kpc.emulators.oracle.wire.login.logon import ListenerOptions
from kpc.emulators.oracle.wire.server import serve
from kpc.emulators.oracle.wire.transport.tls import HOST_NAME, TlsProxy

if TYPE_CHECKING:
    from kpc.emulators.oracle.engine import EmulatedDatabase

USER = "KPC"
SERVICE = "KPCDB"
HOST = "127.0.0.1"
_PASSWORD_BYTES = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class OracleOptions:
    """What the command line says.

    `rows` sizes the seeded tables (0: none are made). Each row stands for `scale` rows when the cost of a statement is
    reckoned (0: statements cost no time). `layout` is how monthly tables are stored: heap, index or partitions.
    `character_set` is the database's; with `stored_through` (TIS620, MSWIN874) the seeded text was stored by a client
    whose bytes nobody converted.
    `ready_file` is where to tell, as JSON, how to connect; standard output without one. `faults` are in force from the
    first connection on. What else is asked for adds to the ready file: `admin` opens the admin channel (`admin_url`),
    which takes faults at run time; `readers` are users with SELECT and FLASHBACK on every table; several `services` are
    listed; `tls` adds `tcps_dsn`, `ca_file` and `wallet_location`, and with `client_certificates` (every TLS client
    must have one) `wallet_password`; `pdbs` are more pluggable databases of the same container, each with tables of its
    own, and are listed with their addresses. `password_file` holds the password of the user KPC, so that clients of an
    emulator that was ended can go on with the next one.
    """

    port: int = 0
    rows: int = 1000
    seed: int = 42
    with_bad_rows: int = 0
    scale: int = 1
    layout: str = "heap"
    character_set: str = "AL32UTF8"
    stored_through: str | None = None
    months: tuple[str, ...] = ()
    ready_file: Path | None = None
    password_file: Path | None = None
    listener: ListenerOptions = field(default_factory=ListenerOptions)
    faults: Sequence[str] = ()
    readers: Sequence[str] = ()
    services: Sequence[str] = (SERVICE,)
    pdbs: Sequence[str] = ()
    tls: bool = False
    client_certificates: bool = False
    admin: bool = False
    verbose: bool = False


def run(options: OracleOptions) -> int:
    """Serve until SIGTERM or SIGINT; 0 after a clean end, 1 if the port cannot be bound.

    The password is new each time, unless there is a `password_file`; it is told with the rest (`dsn`, `user`,
    `password`: what a driver's connect takes) once connections are accepted, and the ready file is removed at the end.
    Raises `OptionError` for a wrong fault or a file that cannot be read.
    """
    logging.basicConfig(level=logging.DEBUG if options.verbose else logging.WARNING, stream=sys.stderr)
    control = _control(options.faults)
    with _stop_on_signals() as stop:
        password = _password(options.password_file)
        database, *others = _open(options, password)
        try:
            _serve(options, database, others, control, _facts(options, database, password), stop)
        except OSError as error:
            remedy = (
                "Choose another --ready-file." if error.filename else "Choose another with --port, or 0 for a free one."
            )
            subject = f"The file {error.filename}" if error.filename else f"Port {options.port}"
            print(f"{subject} cannot be used: {error}. {remedy}", file=sys.stderr)  # noqa: T201 - for people
            return 1
        finally:
            for each in (database, *others):
                each.close()
            if options.ready_file is not None:
                options.ready_file.unlink(missing_ok=True)
    return 0


def _password(file: Path | None) -> str:
    if file is None:
        return secrets.token_urlsafe(_PASSWORD_BYTES)
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"The password file {file} cannot be read: {error}.", "Correct --password-file.") from None


def _open(options: OracleOptions, password: str) -> list[EmulatedDatabase]:
    """The database of the services, then those of `pdbs`, whose rows differ by their seed."""
    from kpc.emulators.oracle.engine import (  # noqa: PLC0415 - `--help` must not wait for DuckDB
        DEFAULT_MONTHS,
        SeedPlan,
        open_database,
    )

    container, months = Container(), options.months or DEFAULT_MONTHS
    names = [tuple(options.services), *((name,) for name in options.pdbs)]
    return [
        open_database(
            user=USER,
            password=password,
            service_names=services,
            seed=SeedPlan(
                options.rows,
                options.seed + number,
                options.with_bad_rows,
                months,
                options.layout,
                options.stored_through,
            )
            if options.rows
            else None,
            scale=options.scale,
            character_set=options.character_set,
            container=container,
        )
        for number, services in enumerate(names)
    ]


def _facts(options: OracleOptions, database: EmulatedDatabase, password: str) -> dict[str, object]:
    """The connection settings, without the addresses."""
    facts: dict[str, object] = {"user": USER, "password": password}
    if len(options.services) > 1:
        facts["services"] = list(options.services)
    if options.readers:
        facts["readers"] = {name.upper(): _make_reader(database, name.upper()) for name in options.readers}
    return facts


def _serve(
    options: OracleOptions,
    database: EmulatedDatabase,
    others: Sequence[EmulatedDatabase],
    control: Control,
    facts: dict[str, object],
    stop: threading.Event,
) -> None:
    """Listen, and report how to connect once connections are accepted. Raises OSError if the port cannot be bound."""
    _keep_limits((database, *others), control)
    service = options.services[0]
    with contextlib.ExitStack() as scope:

        def tell(bound_port: int) -> None:
            facts["dsn"] = f"{HOST}:{bound_port}/{service}"
            if options.pdbs:
                facts["pdbs"] = {name: f"{HOST}:{bound_port}/{name}" for name in options.pdbs}
            if options.tls:
                proxy = TlsProxy(bound_port, host=HOST, demands_certificate=options.client_certificates)
                guard = scope.enter_context(proxy)
                facts["tcps_dsn"] = f"tcps://{HOST_NAME}:{guard.port}/{service}"
                facts["ca_file"], facts["wallet_location"] = str(guard.wallet.ca_file), str(guard.folder)
                if guard.wallet.password:
                    facts["wallet_password"] = guard.wallet.password
            _tell(options.ready_file, facts)
            print(f"The Oracle emulator listens on {facts['dsn']}.", file=sys.stderr)  # noqa: T201 - for people

        if options.admin:
            facts["admin_url"] = scope.enter_context(AdminChannel(control, database, HOST)).url
        serve(
            database,
            host=HOST,
            port=options.port,
            options=options.listener,
            control=control,
            others=others,
            stop=stop,
            on_ready=tell,
        )


def _control(faults: Sequence[str]) -> Control:
    """The fault rules in force from the start. Raises `OptionError` for one that cannot be read."""
    control = Control()
    for text in faults:
        control.faults.add(parse_fault(text))
    return control


def _keep_limits(databases: Sequence[EmulatedDatabase], control: Control) -> None:
    """Apply the fault rules that limit the databases, now and whenever the rules change."""

    def limit() -> None:
        rules = control.faults
        for database in databases:
            database.limit(undo_retention=rules.limit("undo_retention"), session_limit=rules.limit("session_limit"))

    control.faults.on_change = limit
    limit()


def _make_reader(database: EmulatedDatabase, name: str) -> str:
    """Create a user who may read every table at any SCN; returns the password."""
    password = secrets.token_urlsafe(_PASSWORD_BYTES)
    database.create_user(name, password, ("CREATE SESSION",))
    database.run_as_dba(f'GRANT SELECT ON V_$DATABASE TO "{name}"')
    for table in database.store.tables():
        database.run_as_dba(f'GRANT SELECT, FLASHBACK ON "{table.owner}"."{table.name}" TO "{name}"')
    return password


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; the previous handlers are restored."""
    stop = threading.Event()

    def set_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, set_stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(ready_file: Path | None, connection: dict[str, object]) -> None:
    """Written atomically, and readable by the owner only."""
    text = json.dumps(connection)
    if ready_file is None:
        print(text, flush=True)  # noqa: T201 - the only way to learn the password
        return
    ready_file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=ready_file.parent, prefix=f".{ready_file.name}.")
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(ready_file)
