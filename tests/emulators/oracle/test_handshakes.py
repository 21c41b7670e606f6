"""What large sites' servers answer to a log-in, as the unmodified driver reports it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import oracledb
import pytest
from oracle_source import OracleServer, start_oracle

MODES = {"19c": (), "23ai-sdu-512": ("--field-version", "24", "--end-of-response", "--sdu", "512")}


@pytest.fixture(scope="module", params=list(MODES.values()), ids=list(MODES))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleServer]:
    server = start_oracle(tmp_path_factory.mktemp("oracle"), "--rows", "0", *request.param)
    yield server
    server.stop()


@pytest.fixture
def oracle(server: OracleServer) -> Iterator[OracleServer]:
    with server.without_faults() as oracle:
        yield oracle


HANDSHAKES = {
    "native_encryption": r"DPY-6005.*\nDPY-3001: Native Network Encryption",
    "version_11_1": r"DPY-6005.*\nDPY-3010: connections to this database server version",
    "verifier_10g": r"^DPY-3015: password verifier type 0x939",
}


@pytest.mark.parametrize(("kind", "message"), HANDSHAKES.items(), ids=list(HANDSHAKES))
def test_a_handshake_that_thin_mode_cannot_make(oracle: OracleServer, kind: str, message: str) -> None:
    """The error is the driver's own; the next connection, without the fault, is served."""
    oracle.fault("handshake", kind, times=1)
    with pytest.raises(oracledb.Error, match=message):
        oracle.connect()
    with oracle.connect() as connection:
        connection.ping()


def test_a_10g_verifier_belongs_to_one_user(oracle: OracleServer) -> None:
    """Others log in meanwhile."""
    oracle.fault("handshake", "verifier_10g", user="SOMEBODY")
    with oracle.connect() as connection:
        connection.ping()


@pytest.mark.parametrize("code", [12514, 12518, 12660])
def test_a_listener_refuses_for_some_seconds(oracle: OracleServer, code: int) -> None:
    """As after a restart or a relocation, until the service is registered again."""
    oracle.fault("refuse", code, seconds=1.0)
    with pytest.raises(oracledb.OperationalError, match=f"Similar to ORA-{code}"):
        oracle.connect()
    time.sleep(1.1)
    with oracle.connect() as connection:
        connection.ping()


@pytest.mark.parametrize("code", [2391, 12757, 1090])
def test_a_login_is_refused_for_the_moment(oracle: OracleServer, code: int) -> None:
    """A profile's limit, an instance that does not know its service yet, a shutdown."""
    oracle.fault("refuse", code, times=1)
    with pytest.raises(oracledb.DatabaseError, match=f"ORA-{code:05d}"):
        oracle.connect()


@pytest.mark.parametrize(("code", "is_recoverable"), [(2399, False), (12805, False), (376, True), (1115, True)])
def test_a_statement_fails_for_the_moment(oracle: OracleServer, code: int, is_recoverable: bool) -> None:
    """Some of what passes by itself is not in the driver's list of recoverable errors."""
    oracle.fault("error", code, sql="from dual", times=1)
    with oracle.connect() as connection, pytest.raises(oracledb.DatabaseError, match=f"ORA-{code:05d}") as caught:
        connection.cursor().execute("SELECT 1 FROM dual")
    assert caught.value.args[0].isrecoverable is is_recoverable
