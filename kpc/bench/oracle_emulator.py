"""The Oracle emulator as a separate process, with the tables that a benchmark reads."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from kpc.errors import Terminal
from kpc.processes import Keeper

_NAME = "Oracle emulator"
_START_S = 180.0
_SEEDED_PER_S = 20_000  # at least
_REPLY_S = 300.0


@dataclass(frozen=True, slots=True)
class Emulator:
    """`login` holds the driver's connect arguments: dsn, user, password."""

    login: dict[str, str]
    _admin_url: str
    _keeper: Keeper

    def cpu_s(self) -> float:
        """CPU seconds that the server has used so far."""
        return self._keeper.cpu_s()[_NAME]

    def execute(self, *statements: str) -> None:
        """Run SQL as the owner of the tables, through the server's admin endpoint."""
        for statement in statements:
            self._ask("POST", "sql", {"sql": statement, "schema": self.login["user"]})

    def forget_scans(self) -> None:
        self._ask("DELETE", "counters")

    def rows_scanned(self) -> int:
        """Rows that statements had to read, over all tables, since `forget_scans`."""
        counted: dict[str, int] = self._ask("GET", "counters")["rows_scanned"]
        return sum(counted.values())

    def _ask(self, method: str, name: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._admin_url}/{name}", data, method=method)  # noqa: S310  our own server
        try:
            with urllib.request.urlopen(request, timeout=_REPLY_S) as reply:  # noqa: S310  our own server
                return json.load(reply)
        except urllib.error.HTTPError as error:
            raise Terminal(f"The emulator refused {name}: {error.read().decode()}", "This is a defect.") from None


@contextmanager
def started_emulator(rows: int, month: str) -> Iterator[Emulator]:
    """Start the server with `rows` seeded rows over the catalog's tables, and always stop it."""
    with TemporaryDirectory(prefix="kpc-bench-") as place, Keeper() as keeper:
        ready = Path(place, "ready.json")
        command = [sys.executable, "-m", "kpc.emulators.oracle", "--port", "0", "--admin", "--ready-file", str(ready)]
        command += ["--rows", str(rows), "--months", month]
        server = keeper.start(_NAME, command, log=Path(place, "oracle.log"))
        keeper.wait_for(server, ready.exists, timeout_s=_START_S + rows / _SEEDED_PER_S)
        facts = json.loads(ready.read_text(encoding="utf-8"))
        yield Emulator({name: facts[name] for name in ("dsn", "user", "password")}, facts["admin_url"], keeper)
