"""Each way to write a connection leads to a session with a real server: both emulators, without a running Airflow."""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from oracle_source import OracleServer
from salesforce_emulator_process import EmulatorProcess
from worker_settings import settings_of

from kpc.errors import ConfigError, SalesforceDown
from kpc.oracle.session import Oracle
from kpc.salesforce import connect
from kpc.settings import OracleSettings, SalesforceSettings


@pytest.fixture(scope="module")
def org(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmulatorProcess]:
    process = EmulatorProcess(tmp_path_factory.mktemp("org"), ("--port", "0")).start()
    yield process
    process.stop()


def salesforce(extra: dict[str, Any], **fields: object) -> dict[str, str]:
    return {"AIRFLOW_CONN_KPC_SALESFORCE": json.dumps({"conn_type": "salesforce", "extra": extra, **fields})}


def settings_from(folder: Path, environment: dict[str, str]) -> SalesforceSettings:
    (answer,) = settings_of(folder, environment)
    assert "error" not in answer, answer
    return SalesforceSettings(**answer["salesforce"])


def forms(facts: dict[str, Any]) -> dict[str, dict[str, str]]:
    """A connection for each way to log in."""
    app = {"consumer_key": facts["client_id"]}
    secret = {**app, "consumer_secret": facts["client_secret"]}
    there = {"instance_url": facts["base_url"]}
    user = {"login": facts["username"], "password": facts["password"]}
    token = {"security_token": facts["security_token"]}
    key = Path(facts["jwt_private_key_file"]).read_text()
    jwt = {**app, **there, "private_key": key.replace("\n", "")}
    return {
        "ours": salesforce({}, host=facts["base_url"], login=facts["client_id"], password=facts["client_secret"]),
        "client credentials": salesforce({**secret, **there}),
        "OAuth with a password": salesforce({**secret, **there, **token}, **user),
        "SOAP with a security token": salesforce({**there, **token}, **user),
        "SOAP from a trusted address": salesforce({**there, "organization_id": facts["org_id"]}, **user),
        "JWT with the key": salesforce(jwt, login=facts["username"]),
        "JWT with its file": salesforce(
            {**app, **there, "private_key_file_path": facts["jwt_private_key_file"]}, login=facts["username"]
        ),
        "a session": salesforce({**there, "session_id": facts["access_token"]}),
        "an older version of the API": salesforce({**secret, **there, "version": 60}),
    }


def test_each_way_to_log_in_leads_to_the_org(org: EmulatorProcess, tmp_path: Path) -> None:
    given = forms(org.ready)
    answers = dict(zip(given, settings_of(tmp_path, *given.values()), strict=True))
    for name, answer in answers.items():
        assert "error" not in answer, (name, answer)
        with closing(connect(SalesforceSettings(**answer["salesforce"]))) as client:
            assert client.org_id == org.ready["org_id"], name
            assert client.limits().keys(), name


WRONG = {"password": "Correct KPC__SALESFORCE__USERNAME", "organization_id": "but only 00D000000000999 may be used"}


@pytest.mark.parametrize("field", WRONG)
def test_a_wrong_value_is_named(field: str, org: EmulatorProcess, tmp_path: Path) -> None:
    facts = org.ready
    extra = {"instance_url": facts["base_url"], "organization_id": facts["org_id"]}
    fields = {"login": facts["username"], "password": facts["password"]}
    (fields if field == "password" else extra)[field] = "00D000000000999"
    with pytest.raises(ConfigError, match=WRONG[field]):
        connect(settings_from(tmp_path, salesforce(extra, **fields)))


def test_the_proxy_of_a_connection_is_used(org: EmulatorProcess, tmp_path: Path) -> None:
    """Every request goes through it, this machine's own address included; without it there is no session."""
    extra = {"instance_url": org.ready["base_url"], "session_id": org.ready["access_token"]}
    with forwarding_proxy() as (address, requests):
        settings = settings_from(tmp_path, salesforce({**extra, "proxies": json.dumps({"http": address})}))
        with closing(connect(settings)) as client:
            assert client.org_id == org.ready["org_id"]
        assert any("/services/oauth2/userinfo" in line for line in requests)
    with pytest.raises(SalesforceDown, match="named by KPC__SALESFORCE__PROXY"):
        connect(settings.model_copy(update={"connect_timeout_s": 1.0}))


@contextmanager
def forwarding_proxy() -> Iterator[tuple[str, list[str]]]:
    """A proxy for plain http on this machine, and the first line of each request that came through it."""
    lines: list[str] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = server.accept()
                    threading.Thread(target=_forward, args=(client, lines), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", lines
        server.shutdown(socket.SHUT_RDWR)


def _forward(client: socket.socket, lines: list[str]) -> None:
    with client, suppress(OSError):
        head = client.recv(65_536)
        method, url, rest = head.split(b" ", 2)
        lines.append(f"{method.decode()} {url.decode()}")
        place, _, path = url.partition(b"://")[2].partition(b"/")
        host, _, port = place.decode().partition(":")
        with socket.create_connection((host, int(port))) as server:
            server.sendall(method + b" /" + path + b" " + rest)
            while True:
                for ready in select.select([client, server], [], [], 10)[0] or [None]:
                    data = ready.recv(65_536) if ready else b""
                    if not data:
                        return
                    (server if ready is client else client).sendall(data)


def test_each_address_of_oracle_leads_to_a_session(oracle: OracleServer, tmp_path: Path) -> None:
    """By service_name, by SID, by a descriptor and by a name in tnsnames.ora."""
    address, _, service = oracle.settings.dsn.partition("/")
    host, _, port = address.rpartition(":")
    user = {"login": oracle.settings.user, "password": oracle.settings.password.get_secret_value()}
    at = {"host": host, "port": int(port)}
    descriptor = (
        f"(DESCRIPTION=(ADDRESS=(PROTOCOL=TCP)(HOST={host})(PORT={port}))(CONNECT_DATA=(SERVICE_NAME={service})))"
    )
    (tmp_path / "tnsnames.ora").write_text(f"KPCPROD = {descriptor}\n")
    owner = oracle.settings.user.lower()
    given = [
        {**at, "schema": service},
        {**at, "schema": owner, "extra": {"service_name": service}},
        {**at, "schema": owner, "extra": {"sid": service}},
        {"extra": {"dsn": descriptor}},
        {"host": "KPCPROD", "extra": {"thick_mode_config_dir": str(tmp_path), "expire_time": "1", "events": True}},
    ]
    connections = [{"AIRFLOW_CONN_KPC_ORACLE": json.dumps({"conn_type": "oracle", **user, **each})} for each in given]
    wanted = Oracle(oracle.settings).identity()
    for answer, each in zip(settings_of(tmp_path, *connections), given, strict=True):
        assert "error" not in answer, (each, answer)
        assert Oracle(OracleSettings(**answer["oracle"])).identity() == wanted, each
