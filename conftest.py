"""Servers that the tests talk to: they start in processes of their own and are stopped when the session ends."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, text

from kpc.settings import SalesforceSettings

sys.path.insert(
    0, str(Path(__file__).with_name("tests") / "support")
)  # modules that tests share, for the fixtures here as well
from emulated_org import Emulator, EmulatorPool, start_emulator
from parameter_ids import parameter_id

# A busy machine is no failure: examples may take as long as they take.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Every parameter without a name of its own gets a readable one that all test processes agree on."""
    return parameter_id(val)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """An embedded PostgreSQL on a unix socket, as a SQLAlchemy URL of its database `postgres`."""
    # Imported here: most tests can do without.
    from kpc.demo.postgres import SUPERUSER, start_postgres  # noqa: PLC0415
    from kpc.processes import Keeper  # noqa: PLC0415

    folder = Path(tempfile.mkdtemp(prefix="kpc-pg-"))
    with Keeper() as keeper:
        yield start_postgres(keeper, folder / "cluster", folder / "postgres.log").url(SUPERUSER)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """The URL of an empty database of the test's own."""
    name = f"t{uuid.uuid4().hex[:12]}"
    engine = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    yield postgres_url.replace("/postgres?", f"/{name}?", 1)
    with engine.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    engine.dispose()


@pytest.fixture(scope="session")
def _emulators(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorPool]:
    pool = EmulatorPool(tmp_path_factory.mktemp("salesforce"))
    yield pool
    pool.stop()


@pytest.fixture
def emulated(_emulators: EmulatorPool, tmp_path: Path) -> Iterator[Callable[..., Emulator]]:
    """Orgs of the test's own, with fault switches: `emulated("gzip_upload=refuse")`."""
    taken: list[Emulator] = []
    started: list[Emulator] = []

    def give(*switches: str, tls: bool = False) -> Emulator:
        if tls:
            started.append(start_emulator(tmp_path / f"emulator-{len(started)}", *switches, tls=True))
            return started[-1]
        taken.append(_emulators.take(*switches))
        return taken[-1]

    yield give
    for emulator in started:
        emulator.stop()
    for emulator in taken:
        _emulators.give_back(emulator)


@pytest.fixture
def salesforce(request: pytest.FixtureRequest) -> SalesforceSettings:
    """An empty org of the test's own, or the real one that SALESFORCE_TEST_... names."""
    if base_url := os.environ.get("SALESFORCE_TEST_BASE_URL"):
        return SalesforceSettings(
            base_url=base_url,
            client_id=os.environ["SALESFORCE_TEST_CLIENT_ID"],
            client_secret=SecretStr(os.environ["SALESFORCE_TEST_CLIENT_SECRET"]),
        )
    emulated: Callable[..., Emulator] = request.getfixturevalue("emulated")
    return emulated().settings
