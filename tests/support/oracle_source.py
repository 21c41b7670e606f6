"""An Oracle emulator as its own process, for tests, and settings that join it with an org."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import oracledb
from pydantic import SecretStr

from kpc.settings import OracleSettings, ReconcileSettings, SalesforceSettings, Settings, StagingSettings

START_S = 60.0


@dataclass
class OracleServer:
    """An Oracle emulator in a process of its own, or the database that ORACLE_TEST_... names."""

    settings: OracleSettings
    process: subprocess.Popen[bytes] | None = None
    admin_url: str = ""

    def admin(self, method: str, name: str, body: object = None) -> Any:
        """One request to the emulator's own door; an error of the door is raised with its text."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.admin_url}/{name}", data, method=method)  # noqa: S310  our own server
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310  our own server
                return json.load(reply)
        except urllib.error.HTTPError as error:
            raise ValueError(error.read().decode()) from None

    def fault(self, action: str, value: float | str = "", **options: float | str) -> None:
        self.admin("POST", "faults", {"action": action, "value": value, **options})

    @contextmanager
    def without_faults(self) -> Iterator[OracleServer]:
        """For one of the tests that share the server: no fault before and after, and counters at nought."""
        self.admin("DELETE", "faults")
        self.admin("DELETE", "counters")
        yield self
        self.admin("DELETE", "faults")

    def connect(self) -> oracledb.Connection:
        """A session outside the pipeline, for planting differences."""
        return oracledb.connect(
            user=self.settings.user, password=self.settings.password.get_secret_value(), dsn=self.settings.dsn
        )

    def execute(self, *statements: str) -> None:
        with self.connect() as connection:
            for statement in statements:
                connection.cursor().execute(statement)
            connection.commit()

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(15)
        finally:
            self.process.kill()


def start_oracle(folder: Path, *options: str) -> OracleServer:
    """Start a seeded emulator and wait until it accepts connections."""
    folder.mkdir(parents=True, exist_ok=True)
    ready = folder / "ready.json"
    command = [sys.executable, "-m", "kpc.emulators.oracle", "--port", "0", "--admin", "--ready-file", str(ready)]
    command += options
    with (folder / "oracle.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603  our own program
    deadline = time.monotonic() + START_S
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise RuntimeError((folder / "oracle.log").read_text())
        time.sleep(0.05)
    facts = json.loads(ready.read_text())
    settings = OracleSettings(
        dsn=facts["dsn"], user=facts["user"], password=SecretStr(facts["password"]), connect_timeout_s=5, retry_s=0
    )
    return OracleServer(settings, process, facts.get("admin_url", ""))


def road_settings(folder: Path, oracle: OracleSettings, salesforce: SalesforceSettings) -> Settings:
    """Settings of a whole road under `folder`; small waits, so that a test that hangs ends soon."""
    return Settings(
        oracle=oracle,
        salesforce=salesforce,
        staging=StagingSettings(root=folder / "staging"),
        reconcile=ReconcileSettings(docs_root=folder / "data_docs"),
        ledger_url=SecretStr(f"sqlite:///{folder / 'ledger.db'}"),
        hash_key=SecretStr("not-a-secret-only-a-test"),
        lease_wait_s=20,
    )
