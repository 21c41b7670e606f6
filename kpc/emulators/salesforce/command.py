"""Starting and ending the emulator's process."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import uvicorn
from starlette.applications import Starlette

from kpc.emulators.errors import OptionError
from kpc.emulators.salesforce.app import SalesforceEmulator
from kpc.emulators.salesforce.bulk.processing import Processor
from kpc.emulators.salesforce.bulk.query_worker import QueryWorker
from kpc.emulators.salesforce.bulk_v1.jobs import BulkV1Jobs
from kpc.emulators.salesforce.http.connection import HttpConnection, tunnelling_to
from kpc.emulators.salesforce.http.faults import HttpFaults
from kpc.emulators.salesforce.http.tls import Certificates, make_certificates
from kpc.emulators.salesforce.oauth.tokens import Tokens
from kpc.emulators.salesforce.org.clock import Clock
from kpc.emulators.salesforce.org.org import Org
from kpc.emulators.salesforce.server import build_app
from kpc.emulators.salesforce.settings import StartOptions, Switches
from kpc.emulators.salesforce.soql.queries import Queries

_KEEP_ALIVE_S = 75
_SHUTDOWN_S = 5


def run(  # noqa: PLR0913  the options of one command
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    ready_file: Path | None = None,
    data_file: Path | None = None,
    verbose: bool = False,
    seed: int = 42,
    workers: int = 4,
    tls: bool = False,
    scale: int = 1,
    speed: float = 1.0,
    switches: dict[str, object] | None = None,
    faults: Sequence[dict[str, object]] = (),
) -> int:
    """Serve until SIGTERM or Ctrl-C, then answer 0. Raises `OptionError` for a port or file that cannot be used."""
    options = StartOptions(host, port, ready_file, data_file, verbose, seed, workers, tls)
    chosen = Switches()
    chosen.change({"scale": scale} | (switches or {}))
    rules = _rules(seed, faults)
    if ready_file:
        _remove_ready(ready_file)  # left by a process that was killed; a reader would take it for this process's file
    listener = _listen(host, port)
    org = Org(data_file, clock=Clock(speed=speed), switches=replace(chosen), seed=seed)
    emulator = _assembled(org, rules, options)
    if not data_file and not tls:

        def reset() -> dict[str, object]:
            org = Org(None, clock=Clock(speed=speed), switches=replace(chosen), seed=seed)
            return _exchange(emulator, _assembled(org, _rules(seed, faults), options), ready_file)

        emulator.reset = reset
    try:
        emulator.processor.resume()
        emulator.query_worker.resume()
        asyncio.run(_serve(emulator, listener, options))
    finally:
        emulator.close()
        if ready_file:
            _remove_ready(ready_file)
    return 0


def _assembled(org: Org, rules: HttpFaults, options: StartOptions) -> SalesforceEmulator:
    queries = Queries(org)
    processor, worker = Processor(org, options.workers), QueryWorker(org, queries)
    bulk_v1_jobs = BulkV1Jobs(org, queries)
    return SalesforceEmulator(org, Tokens(org), processor, queries, worker, rules, bulk_v1_jobs, options.verbose)


def _rules(seed: int, faults: Sequence[dict[str, object]]) -> HttpFaults:
    rules = HttpFaults(seed)
    for rule in faults:
        rules.add(rule)
    return rules


def _exchange(emulator: SalesforceEmulator, fresh: SalesforceEmulator, ready_file: Path | None) -> dict[str, object]:
    """Serve a new org under the same address; returns how to log in to it."""
    old = replace(emulator)
    emulator.serve(fresh)
    if ready_file:
        _write_secret(_key_file(ready_file), emulator.tokens.jwt_private_key_pem)
    old.close()
    return _credentials(emulator)


def _listen(host: str, port: int) -> socket.socket:
    # With its protocol named, or asyncio leaves Nagle's algorithm on and every answer waits 40 ms for an ACK.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OptionError(
            f"The Salesforce emulator cannot listen on {host}:{port}: {error.strerror}.",
            "Choose another --port, or 0 for any free one.",
        ) from error
    return listener


class _Server(uvicorn.Server):
    """uvicorn, without its signal handling: it would end the process by the signal instead of with exit code 0."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.accepting = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.accepting.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(emulator: SalesforceEmulator, listener: socket.socket, options: StartOptions) -> None:
    """Serve HTTP on the listener, and HTTPS on a port of its own, until a signal comes."""
    app = build_app(emulator)
    secure: tuple[_Server, socket.socket] | None = None
    certificates = None
    if options.tls:
        certificates = make_certificates(emulator.org.folder)
        secure_listener = _listen(options.host, 0)
        secure = _server(app, tunnelling_to(None), certificates), secure_listener
    tls_port = secure[1].getsockname()[1] if secure else None
    servers = [(_server(app, tunnelling_to(tls_port)), listener), *([secure] if secure else [])]

    def end() -> None:
        for server, _ in servers:
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    serving = [asyncio.create_task(server.serve(sockets=[each])) for server, each in servers]
    for server, _ in servers:
        await server.accepting.wait()
    base_url = f"http://{options.host}:{listener.getsockname()[1]}"
    facts = {"base_url": base_url}
    if certificates:
        facts |= {"https_url": f"https://{options.host}:{tls_port}", "ca_file": str(certificates.ca_file)}
    if options.ready_file:
        _write_ready(options.ready_file, emulator, facts)
    print(f"Salesforce emulator ready at {base_url} (org {emulator.org.identity.org_id})", file=sys.stderr, flush=True)  # noqa: T201
    await asyncio.gather(*serving)


def _server(app: Starlette, protocol: type[HttpConnection], certificates: Certificates | None = None) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            http=protocol,
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_SHUTDOWN_S,
            server_header=False,
            ws="none",
            ssl_certfile=certificates.certificate_file if certificates else None,
            ssl_keyfile=certificates.key_file if certificates else None,
        )
    )


def _write_ready(path: Path, emulator: SalesforceEmulator, addresses: dict[str, str]) -> None:
    """How to connect, written atomically and readable by the owner only."""
    key_file = _key_file(path)
    _write_secret(key_file, emulator.tokens.jwt_private_key_pem)
    facts = {
        "emulator": "salesforce",
        **addresses,
        **_credentials(emulator),
        "jwt_private_key_file": str(key_file),
        "pid": os.getpid(),
    }
    _write_secret(path, json.dumps(facts, indent=2).encode())


def _credentials(emulator: SalesforceEmulator) -> dict[str, object]:
    """How to log in to the org as it is now, and who it is."""
    return {"access_token": emulator.tokens.issue(), **asdict(emulator.org.identity)}


def _key_file(ready_file: Path) -> Path:
    return ready_file.with_name(ready_file.name + ".jwt-key.pem")


def _remove_ready(ready_file: Path) -> None:
    for each in (ready_file, _key_file(ready_file)):
        each.unlink(missing_ok=True)


def _write_secret(path: Path, content: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    partial.replace(path)
