"""Every way in which Oracle can refuse gives one error that says what happened and what to do."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import oracledb
import pytest
from checkout import PROJECT
from pydantic import SecretStr

from kpc.errors import (
    CallTimedOut,
    ConfigError,
    DataUnreadable,
    KpcError,
    OracleDown,
    SchemaDrift,
    SnapshotLost,
    Terminal,
)
from kpc.oracle import failures
from kpc.oracle.failures import OperationContext, TimeLimit, classify
from kpc.oracle.session import Oracle
from kpc.settings import OracleSettings

OPERATION = OperationContext("db.example:1521/KPCDB", "kpc", "KPC.KPS_T_SALES_MD", TimeLimit("SCAN_TIMEOUT_S", 0.1))

CASES = {
    "ORA-01017: invalid username/password; logon denied": (ConfigError, "KPC__ORACLE__PASSWORD"),
    "ORA-28000: The account is locked.": (ConfigError, "unlock"),
    "DPY-6005: cannot connect to database. DPY-6001: Service \"X\" is not registered with the listener. "
    "(Similar to ORA-12514)": (ConfigError, "service name"),
    "DPY-6005: cannot connect to database (CONNECTION_ID=x). [Errno 111] Connection refused": (OracleDown, "repeated"),
    "DPY-4011: the database or network closed the connection": (OracleDown, "repeated"),
    "DPY-4024: call timeout of 100 ms exceeded": (CallTimedOut, "Raise KPC__ORACLE__SCAN_TIMEOUT_S"),
    "ORA-00018: maximum number of sessions exceeded": (OracleDown, "repeated"),
    "ORA-00942: table or view does not exist": (SchemaDrift, "GRANT SELECT, FLASHBACK ON KPC.KPS_T_SALES_MD TO kpc"),
    'ORA-00904: "VAT_AMT": invalid identifier': (SchemaDrift, "kpc/catalog"),
    "ORA-01031: insufficient privileges": (ConfigError, "GRANT SELECT, FLASHBACK"),
    "ORA-01555: snapshot too old: rollback segment number 5 too small": (SnapshotLost, "UNDO_RETENTION"),
    "ORA-01466: unable to read data - table definition has changed": (SnapshotLost, "new generation"),
    "ORA-08103: object no longer exists": (SnapshotLost, "new generation"),
    "ORA-01410: invalid ROWID": (SnapshotLost, "new generation"),
    "DPY-4042: the Arrow decimal value does not fit": (DataUnreadable, "Correct the value"),
    "ORA-00600: internal error code, arguments: [x]": (Terminal, "DBA"),
    "DPY-4011: the database or network closed the connection ORA-00600: internal error code": (Terminal, "alert log"),
    "DPY-4011: the database or network closed the connection ORA-00028: your session has been killed":
        (OracleDown, "repeated"),
    "ORA-12801: error signaled in parallel query server P001 ORA-01555: snapshot too old": (SnapshotLost, "UNDO"),
    "ORA-12345: something nobody has seen": (Terminal, "was not extracted"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "verdict"), CASES.items(), ids=[text[:10] + text[-8:] for text in CASES])
def test_each_failure_has_its_verdict(text: str, verdict: tuple[type[KpcError], str]) -> None:
    """The class decides between repeat, new SCN and stop; the message names the remedy."""
    kind, remedy = verdict
    error = classify(oracledb.DatabaseError(text), OPERATION)
    assert type(error) is kind
    assert remedy in str(error)


def test_a_missing_column_is_named() -> None:
    """ORA-00904 quotes the column; so do we, as data too."""
    error = classify(oracledb.DatabaseError('ORA-00904: "VAT_AMT": invalid identifier'), OPERATION)
    assert isinstance(error, SchemaDrift)
    assert error.differences == ("VAT_AMT: declared in the catalog, missing in Oracle",)


def oracle_at(port: int, connect_timeout_s: float = 1.0) -> Oracle:
    return Oracle(
        OracleSettings(
            dsn=f"127.0.0.1:{port}/KPCDB", user="kpc", password=SecretStr("wrong"), connect_timeout_s=connect_timeout_s
        )
    )


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A listener that accepts and never says a word."""
    listener = socket.create_server(("127.0.0.1", 0))
    accepted: list[socket.socket] = []

    def accept() -> None:
        try:
            while True:
                accepted.append(listener.accept()[0])
        except OSError:
            return

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()
    for connection in accepted:
        connection.close()


def test_a_silent_listener_is_given_up_in_time(silent_port: int) -> None:
    """The driver would wait for ever; our watchdog does not."""
    began = time.monotonic()
    with pytest.raises(OracleDown, match=r"silent|sent nothing|did not answer"), oracle_at(silent_port).session("test"):
        pytest.fail("a silent listener gave a session")
    assert time.monotonic() - began < 30


def test_an_unreachable_port_is_given_up_in_time() -> None:
    """Nothing listens: the error names the address and may be repeated."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(OracleDown, match=f"127.0.0.1:{port}"), oracle_at(port).session("test"):
        pytest.fail("a closed port gave a session")


def test_an_unknown_host_is_named() -> None:
    """A host name that does not resolve is said to be unreachable, with the name."""
    settings = OracleSettings(dsn="no-such-host.invalid:1521/X", user="kpc", password=SecretStr("x"))
    with pytest.raises(OracleDown, match="no-such-host"), Oracle(settings).session("test"):
        pytest.fail("an unknown host gave a session")


def test_missing_settings_say_what_to_set() -> None:
    """Without an address nothing is tried."""
    with pytest.raises(ConfigError, match="KPC__ORACLE__DSN"), Oracle(OracleSettings()).session("test"):
        pytest.fail("no address gave a session")


def test_no_message_holds_the_password() -> None:
    """A failed log-in names the user, never the secret."""
    settings = OracleSettings(dsn="127.0.0.1:1/X", user="kpc", password=SecretStr("s3cret-Value"))
    with pytest.raises(KpcError) as caught, Oracle(settings).session("test"):
        pytest.fail("port 1 gave a session")
    assert "s3cret-Value" not in str(caught.value)
    assert "s3cret-Value" not in repr(settings)


def test_every_verdict_has_an_entry_in_the_runbook() -> None:
    """An operator finds each class of failure by one of its numbers."""
    runbook = PROJECT.joinpath("RUNBOOK.md").read_text(encoding="utf-8")
    numbers: dict[object, list[str]] = {}
    for code, verdict in failures._BY_CODE.items():  # noqa: SLF001  the one table of verdicts
        numbers.setdefault(verdict, []).append(code)
    for verdict, codes in numbers.items():
        assert any(code in runbook for code in codes), (verdict, codes)
