"""What Airflow's connections hand over is used, or refused in one sentence that names the connection."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kpc.processes import python_env

PROGRAM = """\
from dags.connections import settings_of_connections
from kpc.errors import KpcError
try:
    settings = settings_of_connections()
    password = settings.oracle.password.get_secret_value()
    print(repr((settings.oracle.dsn, settings.oracle.user, password, settings.oracle.sessions)))
except KpcError as error:
    print(type(error).__name__, error)
"""


def answer(folder: Path, oracle: str, **more: str) -> str:
    """What a worker's settings are, or why there are none, with this connection in its environment."""
    env = {name: value for name, value in python_env().items() if not name.upper().startswith("KPC")}
    env |= {"AIRFLOW_HOME": str(folder), "AIRFLOW_CONN_KPC_ORACLE": oracle, **more}
    done = subprocess.run(  # noqa: S603  our own program
        [sys.executable, "-c", PROGRAM], env=env, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def connection(**fields: object) -> str:
    return json.dumps({"conn_type": "oracle", "host": "h", "schema": "KPC", "login": "u", **fields})


def test_line_ends_of_a_secret_store_are_removed(tmp_path: Path) -> None:
    given = connection(login="u\n", password="p w\r\n", extra={"sessions": "2\n"})
    assert answer(tmp_path, given) == "('h:1521/KPC', 'u', 'p w', 2)"


def test_what_a_connection_lacks_comes_from_the_environment(tmp_path: Path) -> None:
    given = json.dumps({"conn_type": "oracle", "login": "", "password": "p"})
    more = {"KPC__ORACLE__DSN": "other:1/x", "KPC__ORACLE__USER": "v"}
    assert answer(tmp_path, given, **more) == "('other:1/x', 'v', 'p', 4)"


WRONG = {
    "no JSON": ('{"conn_type": "oracle", ', "kpc_oracle"),
    "a port that is no number": (connection(port="s3cret"), "kpc_oracle"),
    "an extra that is no JSON": (connection(extra="{s3cret"), "extra of Airflow's connection kpc_oracle"),
    "an extra that is no object": (connection(extra="[1]"), "extra of Airflow's connection kpc_oracle"),
    "an unknown field": (connection(extra={"session": 2}), "oracle.session is no setting; the nearest is"),
    "a password with a line end": (connection(password="s3cret\nx"), "KPC__ORACLE__PASSWORD"),
}


@pytest.mark.parametrize(("given", "named"), WRONG.values(), ids=list(WRONG))
def test_a_connection_that_cannot_be_used_is_named(given: str, named: str, tmp_path: Path) -> None:
    said = answer(tmp_path, given)
    assert said.startswith("ConfigError")
    assert named in said
    assert "s3cret" not in said


def test_a_mistyped_variable_stops_a_worker_too(tmp_path: Path) -> None:
    assert "KPC__LEDGER__URL is no setting" in answer(tmp_path, connection(), KPC__LEDGER__URL="x")
