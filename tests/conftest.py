"""The whole road for tests: a seeded Oracle emulator, an org, and workspaces that join them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import oracledb
import pytest
from pydantic import SecretStr

from kpc.settings import OracleSettings, ReconcileSettings, SalesforceSettings, Settings, StagingSettings
from kpc.workspace import Workspace, open_workspace

START_S = 60.0


@dataclass
class OracleServer:
    """An Oracle emulator in a process of its own, or the database that ORACLE_TEST_... names."""

    settings: OracleSettings
    process: subprocess.Popen[bytes] | None = None

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
    command = [sys.executable, "-m", "kpc.emulators.oracle", "--port", "0", "--ready-file", str(ready), *options]
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
        dsn=facts["dsn"], user=facts["user"], password=SecretStr(facts["password"]), connect_timeout_s=5
    )
    return OracleServer(settings, process)


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleServer]:
    """The seeded source that tests only read: about 6,000 rows, three months."""
    if dsn := os.environ.get("ORACLE_TEST_DSN"):
        settings = OracleSettings(
            dsn=dsn,
            user=os.environ["ORACLE_TEST_USER"],
            password=SecretStr(os.environ["ORACLE_TEST_PASSWORD"]),
        )
        yield OracleServer(settings)
        return
    server = start_oracle(tmp_path_factory.mktemp("oracle"), "--rows", "6000", "--months", "2024-01,2024-02,2024-03")
    yield server
    server.stop()


@pytest.fixture
def oracles(tmp_path: Path) -> Iterator[Callable[..., OracleServer]]:
    """Starts sources of the test's own, which it may change: `oracles("--rows", "500")`."""
    started: list[OracleServer] = []

    def start(*options: str) -> OracleServer:
        started.append(start_oracle(tmp_path / f"oracle-{len(started)}", *options))
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def workspaces(tmp_path: Path) -> Iterator[Callable[..., Workspace]]:
    """Opens workspaces over one staging directory and one ledger: `workspaces(oracle, salesforce)`."""
    with ExitStack() as scope:

        def open_one(oracle: OracleServer, salesforce: SalesforceSettings, run_id: str = "test") -> Workspace:
            settings = road_settings(tmp_path, oracle.settings, salesforce)
            return scope.enter_context(open_workspace(settings, run_id=run_id, actor="test"))

        yield open_one


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
