"""Several pluggable databases in one container, and a new incarnation, as the unmodified driver sees them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import oracledb
import pytest
from oracle_source import OracleServer, start_oracle

IDENTITY = (
    "SELECT DBID, CON_DBID, \"RESETLOGS_CHANGE#\", CURRENT_SCN, SYS_CONTEXT('USERENV', 'CON_NAME') FROM V$DATABASE"
)


@pytest.fixture
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OracleServer, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("oracle")
    server = start_oracle(folder, "--rows", "500", "--months", "2024-01", "--pdb", "SALES2")
    yield server, json.loads((folder / "ready.json").read_text())
    server.stop()


def connect(server: OracleServer, dsn: str) -> oracledb.Connection:
    password = server.settings.password.get_secret_value()
    return oracledb.connect(user=server.settings.user, password=password, dsn=dsn)


def test_pluggable_databases_share_their_container_only(container: tuple[OracleServer, dict[str, Any]]) -> None:
    """One DBID; names, CON_DBIDs and tables of their own."""
    server, facts = container
    with connect(server, facts["dsn"]) as first, connect(server, facts["pdbs"]["SALES2"]) as second:
        dbid, own, incarnation, _, name = first.cursor().execute(IDENTITY).fetchone()
        assert name == "KPCDB"
        other = second.cursor().execute(IDENTITY).fetchone()
        assert (other[0], other[2], other[4]) == (dbid, incarnation, "SALES2")
        assert len({dbid, own, other[1]}) == 3
        first.cursor().execute("CREATE TABLE only_here (id NUMBER)")
        with pytest.raises(oracledb.DatabaseError, match="ORA-00942"):
            second.cursor().execute("SELECT * FROM only_here")


def test_a_failover_ends_sessions_and_begins_an_incarnation(container: tuple[OracleServer, dict[str, Any]]) -> None:
    """RESETLOGS_CHANGE# grows beyond the SCN; neither id changes, and rows and undo stay."""
    server, facts = container
    with connect(server, facts["dsn"]) as before:
        old = before.cursor().execute(IDENTITY).fetchone()
        server.admin("POST", "failover")
        with pytest.raises(oracledb.DatabaseError, match=r"DPY-4011|DPY-1001"):
            before.cursor().execute(IDENTITY).fetchone()
    with connect(server, facts["dsn"]) as after, connect(server, facts["pdbs"]["SALES2"]) as sibling:
        new = after.cursor().execute(IDENTITY).fetchone()
        assert new[:2] == old[:2]
        assert new[2] > old[3] > old[2]
        assert sibling.cursor().execute(IDENTITY).fetchone()[2] == new[2]
        count = f"SELECT COUNT(*) FROM KPS_T_SALES_M AS OF SCN {old[3]}"
        assert after.cursor().execute(count).fetchone()[0] > 0
