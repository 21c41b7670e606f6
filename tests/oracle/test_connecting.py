"""Connecting as large sites do: what the server demands, restarts, several addresses, firewalls, wallets."""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import oracledb
import pytest
from oracle_source import OracleServer, start_oracle
from oracledb import errors as driver_errors
from pydantic import SecretStr

from kpc.errors import ConfigError, KpcError, OracleDown, Terminal
from kpc.oracle.failures import OperationContext, classify
from kpc.oracle.session import Oracle

SILENT = "127.0.0.9"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleServer]:
    server = start_oracle(tmp_path_factory.mktemp("oracle"), "--rows", "0")
    yield server
    server.stop()


@pytest.fixture
def source(server: OracleServer) -> Iterator[OracleServer]:
    with server.without_faults() as source:
        yield source


def oracle_of(source: OracleServer, *, is_known: bool = False, **settings: object) -> Oracle:
    return Oracle(source.settings.model_copy(update={"connect_timeout_s": 1.0, **settings}), is_known)


def failure(oracle: Oracle) -> KpcError:
    with pytest.raises(KpcError) as caught, oracle.session("test"):
        pytest.fail("a session was given")
    assert "\n" not in str(caught.value)
    return caught.value


DEMANDS = {
    "native_encryption": ("DPY-3001", "demands native network encryption", "KPC__ORACLE__THICK_MODE=true"),
    "version_11_1": ("DPY-3010", "older than release 12.1", "Oracle's client libraries of release 19 or older"),
    "verifier_10g": ("DPY-3015", "PASSWORD_VERSIONS", "ALTER USER KPC IDENTIFIED BY"),
}


@pytest.mark.parametrize(("kind", "expected"), DEMANDS.items(), ids=list(DEMANDS))
@pytest.mark.parametrize("is_known", [False, True])
def test_what_thin_mode_cannot_do_is_a_setting_to_change(
    source: OracleServer, kind: str, expected: tuple[str, str, str], is_known: bool
) -> None:
    """Nothing is repeated: the next attempt would end alike. The message names the remedy."""
    source.fault("handshake", kind)
    error = failure(oracle_of(source, is_known=is_known, retry_s=60.0))
    assert isinstance(error, ConfigError)
    assert all(words in str(error) for words in expected)
    assert source.admin("GET", "counters")["connections"] == 1


def test_a_refused_encryption_is_a_setting_to_change(source: OracleServer) -> None:
    """ORA-12660, with which a listener refuses in place of an ACCEPT."""
    source.fault("refuse", 12660)
    error = failure(oracle_of(source))
    assert isinstance(error, ConfigError)
    assert "sqlnet.ora" in error.remedy


def test_an_unknown_service_is_a_typing_error_until_the_database_is_known(source: OracleServer) -> None:
    """Before: the service name is corrected. Afterwards: a restart, which passes."""
    source.fault("refuse", 12514, times=2)
    oracle = oracle_of(source, retry_s=30.0)
    error = failure(oracle)
    assert isinstance(error, ConfigError)
    assert "knows no service KPCDB" in error.what
    source.admin("DELETE", "faults")
    oracle.identity()
    source.fault("refuse", 12514, seconds=2.0)
    began = time.monotonic()
    assert oracle.current_scn() > 0
    assert time.monotonic() - began >= 1.5


def test_a_restart_that_lasts_is_given_up_in_time(source: OracleServer) -> None:
    """After `retry_s`, with an error that Airflow repeats later."""
    source.fault("refuse", 12514)
    began = time.monotonic()
    error = failure(oracle_of(source, is_known=True, retry_s=2.0))
    assert isinstance(error, OracleDown)
    assert 2.0 <= time.monotonic() - began < 8.0
    assert source.admin("GET", "counters")["connections"] > 2


@pytest.mark.parametrize("code", [12518, 12528, 2391, 12757, 1033])
def test_a_refusal_that_passes_is_repeated(source: OracleServer, code: int) -> None:
    """A full listener, a profile's limit, an instance that starts."""
    source.fault("refuse", code, times=2)
    assert oracle_of(source, is_known=True, retry_s=30.0).current_scn() > 0
    assert source.admin("GET", "counters")["connections"] == 3


@pytest.mark.parametrize("code", [2399, 12805, 376, 1115, 603, 12571, 28])
def test_a_statement_that_fails_for_the_moment_is_repeated(source: OracleServer, code: int) -> None:
    """In a new session."""
    source.fault("error", code, sql="CURRENT_SCN", times=1)
    assert oracle_of(source, is_known=True, retry_s=30.0).current_scn() > 0
    assert source.admin("GET", "counters")["sessions_opened"] == 2


def test_every_code_that_the_driver_calls_recoverable_is_transient() -> None:
    """Those by which it takes the session for dead too, but for internal errors, which a repeat would meet again."""
    known = OperationContext("db:1521/X", "kpc", is_known=True)
    dead = [code for code, to in driver_errors.ERR_ORACLE_ERROR_XREF.items() if to == 4011]
    for code in [*driver_errors.ERR_RECOVERABLE_ERROR_CODES, *dead]:
        # As the driver makes it: with its own number in front, and the attribute.
        inner = driver_errors._Error(f"ORA-{code:05}: text", code=code)  # noqa: SLF001  no other way to one
        error = classify(oracledb.DatabaseError(inner), known)
        assert type(error) is (Terminal if code == 600 else OracleDown), (code, error)
    unlisted = driver_errors._Error("ORA-12345: text", isrecoverable=True, code=12345)  # noqa: SLF001
    assert isinstance(classify(oracledb.DatabaseError(unlisted), known), OracleDown)


# Several addresses


@pytest.fixture(scope="module")
def silent(server: OracleServer) -> Iterator[str]:
    """The same port on another address of this machine, where a listener accepts and says nothing."""
    port = int(server.settings.dsn.partition("/")[0].rpartition(":")[2])
    listener = socket.create_server((SILENT, port))
    accepted: list[socket.socket] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                accepted.append(listener.accept()[0])

    threading.Thread(target=accept, daemon=True).start()
    yield f"{SILENT}:{port}"
    listener.close()
    for connection in accepted:
        connection.close()


def listed(*hosts: str) -> str:
    return "".join(f"(ADDRESS=(PROTOCOL=tcp)(HOST={h.partition(':')[0]})(PORT={h.rpartition(':')[2]}))" for h in hosts)


def described(*hosts: str, options: str = "") -> str:
    return f"(DESCRIPTION=(ADDRESS_LIST={options}{listed(*hosts)})(CONNECT_DATA=(SERVICE_NAME=KPCDB)))"


@pytest.mark.parametrize("form", ["comma list", "ADDRESS_LIST", "standby", "balanced"])
def test_a_silent_first_address_leaves_the_second_its_time(source: OracleServer, silent: str, form: str) -> None:
    """One second for each, however they are written."""
    live = source.settings.dsn.partition("/")[0]
    dsn = {
        "comma list": f"{silent},{live}/KPCDB",
        "ADDRESS_LIST": described(silent, live),
        "standby": f"(DESCRIPTION_LIST={described(silent)}{described(live)})",
        "balanced": described(silent, live, options="(LOAD_BALANCE=on)"),
    }[form]
    began = time.monotonic()
    assert oracle_of(source, dsn=dsn).identity().source_id.startswith("ora-")
    assert time.monotonic() - began < 6


def test_a_name_with_several_addresses_is_tried_at_each(
    source: OracleServer, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of a SCAN has three; the resolver is the only thing that the test replaces."""
    live, _, port = source.settings.dsn.partition("/")[0].rpartition(":")
    resolve = socket.getaddrinfo

    def resolve_scan(host: Any, *rest: Any, **named: Any) -> Any:
        if host != "scan.example":
            return resolve(host, *rest, **named)
        return [found for one in (SILENT, live) for found in resolve(one, *rest, **named)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve_scan)
    assert oracle_of(source, dsn=f"scan.example:{port}/KPCDB").identity().source_id.startswith("ora-")


def test_each_address_that_failed_is_named(source: OracleServer, silent: str) -> None:
    """With its own reason, and within the time of both."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        closed = f"127.0.0.1:{taken.getsockname()[1]}"
    began = time.monotonic()
    error = failure(oracle_of(source, dsn=described(silent, closed)))
    assert time.monotonic() - began < 8
    assert isinstance(error, OracleDown)
    assert re.search(rf"{silent}: sent nothing for 1 s; {closed}: .*refused", str(error))


def test_failover_off_tries_one_address(source: OracleServer, silent: str) -> None:
    """As the descriptor says."""
    live = source.settings.dsn.partition("/")[0]
    assert "sent nothing" in str(failure(oracle_of(source, dsn=described(silent, live, options="(FAILOVER=off)"))))


def test_a_wrong_password_is_tried_at_one_address(source: OracleServer) -> None:
    """Each further try would bring the account nearer to being locked."""
    live = source.settings.dsn.partition("/")[0]
    error = failure(oracle_of(source, dsn=described(live, live, live), password=SecretStr("wrong")))
    assert "ORA-01017" in str(error)
    assert source.admin("GET", "counters")["connections"] == 1


def test_a_name_of_tnsnames_is_looked_up(source: OracleServer, tmp_path: Path) -> None:
    """In the folder of the setting; a name that is missing there is a wrong address."""
    live = source.settings.dsn.partition("/")[0]
    (tmp_path / "tnsnames.ora").write_text(f"SALES =\n  {described(live)}\n")
    assert oracle_of(source, dsn="SALES", config_dir=tmp_path).identity().source_id.startswith("ora-")
    error = failure(oracle_of(source, dsn="PURCHASES", config_dir=tmp_path))
    assert isinstance(error, ConfigError)
    assert "KPC__ORACLE__CONFIG_DIR" in error.remedy


def keepalive_of(address: tuple[str, int]) -> list[tuple[int, int]]:
    """SO_KEEPALIVE and TCP_KEEPIDLE (s) of this process's sockets to the address."""
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208  names are wanted
        with suppress(OSError), socket.socket(fileno=os.dup(int(name))) as sock:
            if sock.getpeername() == address:
                idle_s = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
                found.append((sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), idle_s))
    return found


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the sockets of a process are listed on Linux only")
@pytest.mark.parametrize(("setting", "expected"), [({}, (1, 120)), ({"expire_time_min": 7}, (1, 420))])
def test_an_idle_session_is_kept_alive(
    source: OracleServer, setting: dict[str, object], expected: tuple[int, int]
) -> None:
    """The system probes it every `expire_time_min` minutes, so that no firewall takes it for dead."""
    port = int(source.settings.dsn.partition("/")[0].rpartition(":")[2])
    with oracle_of(source, **setting).session("test"):
        assert keepalive_of(("127.0.0.1", port)) == [expected]


# Wallets


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OracleServer, dict[str, Any]]]:
    """A listener that wants a certificate of its clients."""
    folder = tmp_path_factory.mktemp("guarded")
    server = start_oracle(folder, "--rows", "0", "--tls", "--client-certificates")
    yield server, json.loads((folder / "ready.json").read_text())
    server.stop()


def test_a_wallet_with_a_password_opens_the_way(guarded: tuple[OracleServer, dict[str, Any]]) -> None:
    """The client shows the certificate in it, and trusts the authority in it."""
    server, facts = guarded
    wallet = {"wallet_location": Path(facts["wallet_location"]), "wallet_password": SecretStr(facts["wallet_password"])}
    assert oracle_of(server, dsn=facts["tcps_dsn"], **wallet).identity().source_id.startswith("ora-")


WRONG_WALLETS = {
    "no password": ({}, "KPC__ORACLE__WALLET_PASSWORD"),
    "wrong password": ({"wallet_password": SecretStr("wr0ng")}, "the password does not open it"),
    "no wallet": ({"wallet_location": Path("nowhere")}, "KPC__ORACLE__WALLET_LOCATION"),
}


@pytest.mark.parametrize(("given", "words"), WRONG_WALLETS.values(), ids=list(WRONG_WALLETS))
def test_a_wrong_wallet_is_named(
    guarded: tuple[OracleServer, dict[str, Any]], given: dict[str, object], words: str
) -> None:
    """The driver would ignore it, or OpenSSL ask for the password on the terminal."""
    server, facts = guarded
    settings = {"dsn": facts["tcps_dsn"], "wallet_location": Path(facts["wallet_location"])} | given
    error = failure(oracle_of(server, **settings))
    assert isinstance(error, ConfigError)
    assert words in str(error)
    assert "wr0ng" not in str(error)


def test_a_missing_client_certificate_is_suspected(guarded: tuple[OracleServer, dict[str, Any]]) -> None:
    """The server ends such a connection without a word; the message says what it may want."""
    server, facts = guarded
    error = failure(oracle_of(server, dsn=facts["tcps_dsn"], ca_file=Path(facts["ca_file"])))
    assert "KPC__ORACLE__WALLET_LOCATION" in error.remedy


NAMES = {
    "the setting": ({"ssl_server_cert_dn": "CN=another"}, {"ssl_server_dn_match": False}),
    "the DSN": ({"dsn": "(SSL_SERVER_CERT_DN=CN=another)"}, {"dsn": "(SSL_SERVER_DN_MATCH=OFF)"}),
}


@pytest.mark.parametrize(("refused", "accepted"), NAMES.values(), ids=list(NAMES))
def test_a_certificate_of_another_name_is_refused_unless_names_are_not_compared(
    guarded: tuple[OracleServer, dict[str, Any]], refused: dict[str, Any], accepted: dict[str, Any]
) -> None:
    """Whoever says so: the driver drops the switch from a descriptor that it writes anew."""
    server, facts = guarded
    wallet = {"wallet_location": Path(facts["wallet_location"]), "wallet_password": SecretStr(facts["wallet_password"])}
    address, _, service = facts["tcps_dsn"].rpartition("/")
    host, _, port = address.rpartition("://")[2].rpartition(":")

    def settings(given: dict[str, Any], **more: Any) -> dict[str, Any]:
        security = f"(SECURITY={given['dsn']}{more.pop('also', '')})" if "dsn" in given else ""
        place = f"(ADDRESS=(PROTOCOL=tcps)(HOST={host})(PORT={port}))"
        dsn = f"(DESCRIPTION={place}(CONNECT_DATA=(SERVICE_NAME={service})){security})"
        return {**wallet, **given, "dsn": dsn, **more}

    error = failure(oracle_of(server, **settings(refused)))
    assert "name" in str(error).lower() or "DN" in str(error), error
    also = {"also": refused["dsn"]} if "dsn" in refused else refused
    assert oracle_of(server, **settings(accepted, **also)).identity().source_id.startswith("ora-")
