"""The whole road for tests: a seeded Oracle emulator, an org, and workspaces that join them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import stamina
from oracle_source import OracleServer, road_settings, start_oracle
from pydantic import SecretStr
from staged_samples import close, make_workspace

from kpc.settings import OracleSettings, SalesforceSettings
from kpc.stages.workspace import Workspace, open_workspace


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


@pytest.fixture
def workspace(salesforce: SalesforceSettings, tmp_path: Path) -> Iterator[Workspace]:
    """A workspace without Oracle, for partitions that are staged by hand."""
    made = make_workspace(tmp_path, salesforce, "run-1")
    yield made
    close(made)


@pytest.fixture
def quick_retries() -> Iterator[None]:
    """Three tries and no wait between them."""
    with stamina.set_testing(testing=True, attempts=3):
        yield
