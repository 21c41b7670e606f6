"""What the wire tests share: a listener over a stand-in for the SQL side, once per protocol mode."""

from __future__ import annotations

from collections.abc import Iterator

import oracledb
import pytest
from oracle_wire_double import MODE_NAMES, MODES, FixedDatabase, connect

from kpc.emulators.oracle.wire.server import Listener


@pytest.fixture
def database() -> FixedDatabase:
    """Answers that a test, or its file, adds to."""
    return FixedDatabase()


@pytest.fixture(params=MODES, ids=MODE_NAMES)
def server(request: pytest.FixtureRequest, database: FixedDatabase) -> Iterator[Listener]:
    with Listener(database, options=request.param) as server:
        yield server


@pytest.fixture
def connection(server: Listener) -> Iterator[oracledb.Connection]:
    with connect(server) as connection:
        yield connection
