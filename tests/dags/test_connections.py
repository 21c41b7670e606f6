"""What Airflow's connections hand over is used, or refused in one sentence that names the connection.

Each answer comes from a process without a running Airflow: connections are read from variables or a secrets backend.
"""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from checkout import PROJECT
from worker_settings import Answer, settings_of

KEY_LINES = ["-----BEGIN PRIVATE KEY-----", "QUJD" * 16, "REVG", "-----END PRIVATE KEY-----"]
PEM = "\n".join(KEY_LINES)


def oracle(**fields: object) -> dict[str, str]:
    return {"AIRFLOW_CONN_KPC_ORACLE": json.dumps({"conn_type": "oracle", "login": "u", **fields})}


def salesforce(extra: object = None, **fields: object) -> dict[str, str]:
    given = {"conn_type": "salesforce", **fields, "extra": extra or {}}
    return {"AIRFLOW_CONN_KPC_SALESFORCE": json.dumps(given)}


SID = "(DESCRIPTION=(ADDRESS=(PROTOCOL=TCP)(HOST=h)(PORT=1521))(CONNECT_DATA=(SID=ORCL)))"
TCPS_SID = "(DESCRIPTION=(ADDRESS=(PROTOCOL=tcps)(HOST=h)(PORT=2484))(CONNECT_DATA=(SID=ORCL)))"
WALLET = {"wallet_location": "/w", "wallet_password": "p", "ssl_server_dn_match": "false", "ssl_server_cert_dn": "CN=x"}
THICK = {"thick_mode": "True", "thick_mode_lib_dir": "/opt/ic", "thick_mode_config_dir": "/opt/tns"}
UNUSED = {"fetch_decimals": True, "fetch_lobs": "false", "events": True, "purity": "new", "cclass": "x", "module": "m"}

# What a connection says, and the fields of OracleSettings that follow.
ORACLE = {
    "schema as the service": (oracle(host="h", schema="KPC", password="p w"), {"dsn": "h:1521/KPC", "password": "p w"}),
    "service_name": (oracle(host="h", port=1, extra={"service_name": "S"}), {"dsn": "h:1/S", "owner": ""}),
    "service_name and schema": (oracle(host="h", schema="OPS", extra={"service_name": "S"}), {"owner": "OPS"}),
    "sid": (oracle(host="h", schema="OPS", extra={"sid": "ORCL"}), {"dsn": SID, "owner": "OPS"}),
    "sid by TLS": (oracle(host="tcps://h", port=2484, extra={"sid": "ORCL"}), {"dsn": TCPS_SID}),
    "dsn": (oracle(extra={"dsn": "KPCPROD"}), {"dsn": "KPCPROD", "owner": ""}),
    "dsn and schema": (oracle(schema="OPS", extra={"dsn": SID}), {"dsn": SID, "owner": "OPS"}),
    "dsn beside a host": (oracle(host="h", extra={"dsn": SID}), {"dsn": SID}),
    "a name in tnsnames.ora as host": (oracle(host="KPCPROD"), {"dsn": "KPCPROD"}),
    "an IPv6 address": (oracle(host="fd00::1", schema="S"), {"dsn": "[fd00::1]:1521/S"}),
    "wallet": (
        oracle(host="h", schema="S", extra=WALLET),
        {"wallet_location": "/w", "wallet_password": "p", "ssl_server_dn_match": False, "ssl_server_cert_dn": "CN=x"},
    ),
    "thick mode": (
        oracle(host="h", schema="S", extra=THICK),
        {"thick_mode": True, "client_lib_dir": "/opt/ic", "config_dir": "/opt/tns"},
    ),
    "expire_time": (oracle(host="h", schema="S", extra={"expire_time": 7}), {"expire_time_min": 7}),
    "mode default": (oracle(host="h", schema="S", extra={"mode": "DEFAULT"}), {"dsn": "h:1521/S"}),
    "without effect": (oracle(host="h", schema="S", extra=UNUSED), {"dsn": "h:1521/S"}),
    "our own names": (oracle(extra={"dsn": "h/S", "owner": "OPS", "sessions": "2\n"}), {"owner": "OPS", "sessions": 2}),
    "empty fields of a form": (oracle(host="h", schema="S", extra={"sid": "", "dsn": None}), {"dsn": "h:1521/S"}),
    "line ends of a secret store": (oracle(host="h", schema="S", password="p w\r\n"), {"password": "p w"}),
    "a URI": (
        {"AIRFLOW_CONN_KPC_ORACLE": "oracle://u:p%40ss@h:1522/OPS?service_name=S&sessions=3&thick_mode=false"},
        {"dsn": "h:1522/S", "user": "u", "password": "p@ss", "owner": "OPS", "sessions": 3, "thick_mode": False},
    ),
    "the environment for what is missing": (
        {**oracle(login="", password="p"), "KPC__ORACLE__DSN": "other:1/x", "KPC__ORACLE__USER": "v"},
        {"dsn": "other:1/x", "user": "v", "password": "p"},
    ),
}

APP = {"consumer_key": "ck"}
ACME = "https://acme.my.salesforce.com"
JWT = {**APP, "private_key": PEM, "domain": "test"}
PROXIES = {"http": "http://plain:1", "https": "http://user:s3@tls:2"}

# What a connection says, and the fields of SalesforceSettings that follow.
SALESFORCE = {
    "ours": (
        salesforce(host=ACME, login="id", password="secret"),
        {"base_url": ACME, "client_id": "id", "client_secret": "secret", "username": ""},
    ),
    "ours without https://": (salesforce(host="acme.my.salesforce.com", login="id"), {"base_url": ACME}),
    "ours with a port": (salesforce(host="http://127.0.0.1", port=8080), {"base_url": "http://127.0.0.1:8080"}),
    "ours with version and proxies": (
        salesforce({"version": "v61", "proxies": "http://p:3"}, host=ACME),
        {"api_version": "61.0", "proxy": "http://p:3"},
    ),
    "ours with a key": (
        salesforce({"client_id": "id", "username": "u", "private_key": PEM}, host=ACME),
        {"client_id": "id", "username": "u", "private_key": PEM},
    ),
    "user, password and token": (
        salesforce({"security_token": "tok"}, login="u@x", password="pw"),
        {"base_url": "https://login.salesforce.com", "username": "u@x", "password": "pw", "security_token": "tok",
         "client_id": ""},
    ),
    "with the old prefix": (
        salesforce({"extra__salesforce__security_token": "tok", "extra__salesforce__domain": "test",
                    "extra__salesforce__version": ""}, login="u@x", password="pw"),
        {"base_url": "https://test.salesforce.com", "security_token": "tok", "username": "u@x"},
    ),
    "client credentials": (
        salesforce({**APP, "consumer_secret": "cs", "domain": "acme.my"}),
        {"base_url": ACME, "client_id": "ck", "client_secret": "cs", "username": ""},
    ),
    "a domain written in full": (
        salesforce({**APP, "consumer_secret": "cs", "domain": f"{ACME}/"}), {"base_url": ACME},
    ),
    "OAuth with a password": (
        salesforce({**APP, "consumer_secret": "cs", "instance_url": ACME}, login="u@x", password="pw"),
        {"base_url": ACME, "client_id": "ck", "client_secret": "cs", "username": "u@x", "password": "pw"},
    ),
    "JWT": (
        salesforce({**JWT, "client_id": "caller"}, login="u@x"),
        {"base_url": "https://test.salesforce.com", "client_id": "ck", "username": "u@x", "private_key": PEM},
    ),
    "JWT with a file": (
        salesforce({**APP, "private_key_file_path": "/k.pem", "instance_url": ACME}, login="u@x"),
        {"base_url": ACME, "private_key_file": "/k.pem"},
    ),
    "a key pasted into one line": (
        salesforce({**APP, "private_key": "".join(KEY_LINES)}, login="u@x"), {"private_key": PEM},
    ),
    "a key with escaped line ends": (
        salesforce({**APP, "private_key": "\\n".join(KEY_LINES)}, login="u@x"), {"private_key": PEM},
    ),
    "a session": (
        salesforce({"session_id": "00D!x", "instance": "acme.my.salesforce.com"}),
        {"base_url": ACME, "access_token": "00D!x"},
    ),
    "the only org": (
        salesforce({"organization_id": "00D000000000001", "domain": "acme.my"}, login="u@x", password="pw"),
        {"org_id": "00D000000000001", "username": "u@x"},
    ),
    "proxies as an object": (
        salesforce({"proxies": PROXIES}, host=ACME), {"proxy": "http://user:s3@tls:2"},
    ),
    "proxies as the form's text": (
        salesforce({"proxies": json.dumps(PROXIES), "security_token": "t"}, login="u", password="p"),
        {"proxy": "http://user:s3@tls:2"},
    ),
    "proxies of one host": (
        salesforce({"proxies": {**PROXIES, ACME: "http://own:4"}}, host=ACME), {"proxy": "http://own:4"},
    ),
    "a URI": (
        {"AIRFLOW_CONN_KPC_SALESFORCE": "salesforce://u%40x:p%40w@/?security_token=t&domain=acme--uat.sandbox.my"},
        {"base_url": "https://acme--uat.sandbox.my.salesforce.com", "username": "u@x", "password": "p@w",
         "security_token": "t"},
    ),
    "the environment for the address": (
        {**salesforce({"security_token": "t"}, login="u", password="p"), "KPC__SALESFORCE__BASE_URL": ACME},
        {"base_url": ACME},
    ),
}  # fmt: skip

# What cannot be used, and what the one sentence names; no value of it may stand there.
S3CRET = {"password": "s3cret"}
WRONG = {
    "no JSON": ({"AIRFLOW_CONN_KPC_ORACLE": '{"conn_type": "oracle", '}, "kpc_oracle"),
    "a port that is no number": (oracle(port="s3cret"), "kpc_oracle"),
    "an extra that is no JSON": (oracle(extra="{s3cret"), "extra of Airflow's connection kpc_oracle"),
    "an extra that is no object": (oracle(extra="[1]"), "extra of Airflow's connection kpc_oracle"),
    "an unknown field": (
        oracle(extra={"session": 2}),
        "an extra session, which is no field of it; the nearest is sessions",
    ),
    "an unknown field of Salesforce": (salesforce({"consumerkey": "s3cret"}), "the nearest is consumer_key"),
    "a password with a line end": (oracle(password="s3cret\nx"), "KPC__ORACLE__PASSWORD"),
    "sid and service_name": (oracle(host="h", extra={"sid": "a", "service_name": "b"}), "service_name and sid"),
    "dsn and sid": (oracle(host="h", extra={"sid": "a", "dsn": "b"}), "sid and dsn"),
    "dsn, host and schema": (oracle(host="h", schema="S", extra={"dsn": "b"}), "Host with Schema and the extra dsn"),
    "sid without a host": (oracle(extra={"sid": "a"}), "has a sid but no Host"),
    "a sid that is none": (oracle(host="h", extra={"sid": "a)(b"}), "has a sid with a bracket"),
    "SYSDBA": (oracle(host="h", schema="S", extra={"mode": "sysdba"}, **S3CRET), "never logs in as SYSDBA"),
    "a resident pool": (oracle(host="h", schema="S", extra={"pool_name": "p"}), "Remove pool_name"),
    "two names of one setting": (
        oracle(host="h", schema="S", extra={"config_dir": "/a", "thick_mode_config_dir": "/b"}),
        "both thick_mode_config_dir and config_dir",
    ),
    "a password as a list": (salesforce({"security_token": ["s3cret"]}, login="u"), "security_token that is no text"),
    "only a consumer_key": (salesforce(APP, login="u", **S3CRET), "neither consumer_secret nor private_key"),
    "a key without consumer_key": (salesforce({"private_key": PEM}, login="u"), "no consumer_key"),
    "a key without a user": (salesforce(JWT), "a private key but no Login"),
    "a key that is none": (salesforce({**APP, "private_key": "s3cret"}, login="u"), "no key in PEM form"),
    "a token without a password": (salesforce({"security_token": "s3cret"}, login="u"), "no complete way to log in"),
    "a session of no org": (salesforce({"session_id": "s3cret"}), "does not say of which org"),
    "two addresses": (salesforce({**JWT}, host=ACME, login="u"), "two addresses, Host and domain"),
    "proxies that are none": (salesforce({"proxies": '{"https": s3cret}'}, host=ACME), "proxies that are no object"),
    "two keys": (
        salesforce({**JWT, "private_key_file_path": "/a", "private_key_file": "/b"}, login="u"),
        "both private_key_file_path and private_key_file",
    ),
    "a mistyped variable": ({**oracle(), "KPC__LEDGER__URL": "x"}, "KPC__LEDGER__URL is no setting"),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """To all of the above, by table and name."""
    tables: dict[str, dict[str, Any]] = {"oracle": ORACLE, "salesforce": SALESFORCE, "wrong": WRONG}
    names = [f"{table}: {name}" for table, cases in tables.items() for name in cases]
    given = [environment for cases in tables.values() for environment, _ in cases.values()]
    return dict(zip(names, settings_of(tmp_path_factory.mktemp("airflow"), *given), strict=True))


@pytest.mark.parametrize("name", ORACLE)
def test_fields_of_an_oracle_connection(name: str, answers: dict[str, Answer]) -> None:
    _, expected = ORACLE[name]
    found = answers[f"oracle: {name}"]
    assert "error" not in found, found
    assert {field: found["oracle"][field] for field in expected} == expected


@pytest.mark.parametrize("name", SALESFORCE)
def test_fields_of_a_salesforce_connection(name: str, answers: dict[str, Answer]) -> None:
    _, expected = SALESFORCE[name]
    found = answers[f"salesforce: {name}"]
    assert "error" not in found, found
    assert {field: found["salesforce"][field] for field in expected} == expected


@pytest.mark.parametrize("name", WRONG)
def test_a_connection_that_cannot_be_used_is_named(name: str, answers: dict[str, Answer]) -> None:
    found = answers[f"wrong: {name}"]
    assert found.get("error") == "ConfigError", found
    assert WRONG[name][1] in found["message"]
    assert "s3cret" not in found["message"]


def test_every_field_of_the_official_types_is_documented() -> None:
    """Each field that the installed providers know stands on the page, as used, refused or without effect."""
    page = (PROJECT / "docs" / "airflow-connections.md").read_text(encoding="utf-8")
    read: set[str] = set()
    for module, pattern in (
        ("airflow.providers.oracle.hooks", r'extra_dejson\.get\("(\w+)"\)'),
        ("airflow.providers.salesforce.hooks", r'_get_field\(extras, "(\w+)"\)'),
    ):
        spec = find_spec(module)
        assert spec is not None
        for file in Path(str(spec.origin)).parent.glob("*.py"):
            read |= set(re.findall(pattern, file.read_text(encoding="utf-8")))
    assert len(read) > 20
    assert [name for name in sorted(read) if f"`{name}`" not in page] == []


def test_a_secrets_backend_has_the_connections(tmp_path: Path) -> None:
    """Airflow's file backend, in each form that it reads; nothing else names the connections."""
    file = tmp_path / "connections.json"
    file.write_text(
        json.dumps(
            {
                "kpc_oracle": "oracle://u:p@h:1522/?service_name=S",
                "kpc_salesforce": {
                    "conn_type": "salesforce", "login": "u@x", "password": "pw", "extra": {"security_token": "t"},
                },
            }
        )
    )  # fmt: skip
    backend = {
        "AIRFLOW__SECRETS__BACKEND": "airflow.secrets.local_filesystem.LocalFilesystemBackend",
        "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({"connections_file_path": str(file)}),
    }
    (found,) = settings_of(tmp_path, {}, **backend)
    assert (found["oracle"]["dsn"], found["oracle"]["password"]) == ("h:1522/S", "p")
    assert found["salesforce"]["security_token"] == "t"


def test_a_secrets_backend_that_fails_is_not_one_without_the_connection(tmp_path: Path) -> None:
    """Airflow says that there is no such connection; the environment may name another database."""
    (tmp_path / "vault.py").write_text(
        "from airflow.secrets import BaseSecretsBackend\n\n"
        "class Sealed(BaseSecretsBackend):\n"
        "    def get_connection(self, conn_id, team_name=None):\n"
        "        raise ConnectionError('sealed')\n"
    )
    environment = {"KPC__ORACLE__DSN": "elsewhere:1521/OLD", "KPC__ORACLE__USER": "u", "KPC__ORACLE__PASSWORD": "p"}
    common = {"AIRFLOW__SECRETS__BACKEND": "vault.Sealed", "PYTHONPATH": str(tmp_path)}
    (found,) = settings_of(tmp_path, environment, **common)
    assert found.get("error") == "AirflowDown", found
    assert "kpc_oracle could not be looked up: Sealed failed (ConnectionError)" in found["message"]


def test_connections_may_be_demanded(tmp_path: Path) -> None:
    """Then the environment's settings never apply in place of one that does not exist."""
    demanded = {"KPC__AIRFLOW_CONNECTIONS_REQUIRED": "true", "KPC__ORACLE__DSN": "elsewhere:1521/OLD"}
    none, one, both = settings_of(
        tmp_path, demanded, demanded | oracle(host="h", schema="S"),
        demanded | oracle(host="h", schema="S") | salesforce(host=ACME, login="id", password="secret"),
    )  # fmt: skip
    assert none.get("error") == one.get("error") == "AirflowDown"
    assert "no connection kpc_oracle or kpc_salesforce" in none["message"]
    assert "no connection kpc_salesforce," in one["message"]
    assert both["oracle"]["dsn"] == "h:1521/S"
