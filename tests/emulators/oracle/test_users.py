"""Users and grants, several services and TLS, as the unmodified driver sees them."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import oracledb
import pytest
from oracle_source import OracleServer, start_oracle

from kpc.errors import ConfigError
from kpc.oracle.session import Oracle

TABLE = "KPC.GRANT_ROWS"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("oracle")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[OracleServer]:
    options = ("--rows", "300", "--months", "2024-01", "--reader", "auditor", "--tls")
    server = start_oracle(folder, *options, "--service", "KPCDB", "--service", "REPORTS.example")
    server.execute(
        f"CREATE TABLE {TABLE} (id NUMBER(9))",
        f"INSERT INTO {TABLE} VALUES (1)",
        "CREATE SEQUENCE grant_numbers",
        f"CREATE VIEW grant_view AS SELECT id FROM {TABLE}",
    )
    yield server
    server.stop()


@pytest.fixture(scope="module")
def facts(server: OracleServer, folder: Path) -> dict[str, object]:
    """What the ready file says."""
    return dict(json.loads((folder / "ready.json").read_text()))


def dba(server: OracleServer, *statements: str) -> None:
    for sql in statements:
        server.admin("POST", "sql", {"sql": sql})


@pytest.fixture
def visitor(server: OracleServer) -> Iterator[oracledb.Connection]:
    """A user who may log in, and nothing else."""
    dba(server, 'CREATE USER visitor IDENTIFIED BY "pass-Word"', "GRANT CREATE SESSION TO visitor")
    with oracledb.connect(user="visitor", password="pass-Word", dsn=server.settings.dsn) as connection:
        yield connection
    dba(server, "DROP USER visitor CASCADE")


def code_of(connection: oracledb.Connection, sql: str) -> int:
    """The ORA code of a statement, 0 when it runs."""
    try:
        cursor = connection.cursor()
        cursor.execute(sql)
        if cursor.description:
            cursor.fetchall()
    except oracledb.DatabaseError as error:
        return int(error.args[0].code)
    return 0


def test_without_a_grant_a_table_does_not_exist(server: OracleServer, visitor: oracledb.Connection) -> None:
    """ORA-00942 for every kind of statement, and no row in the dictionary."""
    for sql in (
        f"SELECT * FROM {TABLE}",
        f"INSERT INTO {TABLE} VALUES (2)",
        f"UPDATE {TABLE} SET id = 2",
        f"DELETE FROM {TABLE}",
        f"DROP TABLE {TABLE}",
        f"ALTER TABLE {TABLE} ADD (x NUMBER)",
        f"GRANT SELECT ON {TABLE} TO PUBLIC",
        "SELECT CURRENT_SCN FROM V$DATABASE",
        "SELECT * FROM kpc.grant_view",
    ):
        assert code_of(visitor, sql) == 942, sql
    assert code_of(visitor, "SELECT kpc.grant_numbers.NEXTVAL FROM DUAL") == 2289
    count = "SELECT COUNT(*) FROM ALL_TABLES WHERE OWNER = 'KPC'"
    assert visitor.cursor().execute(count).fetchone() == (0,)
    assert visitor.cursor().execute("SELECT COUNT(*) FROM ALL_TAB_COLUMNS").fetchone() == (0,)


def test_select_reads_and_flashback_is_a_privilege_of_its_own(
    server: OracleServer, visitor: oracledb.Connection
) -> None:
    """SELECT alone: AS OF and changes are ORA-01031. REVOKE takes both away again."""
    dba(server, f"GRANT SELECT ON {TABLE} TO visitor", "GRANT SELECT ON V_$DATABASE TO visitor")
    (scn,) = visitor.cursor().execute("SELECT CURRENT_SCN FROM V$DATABASE").fetchone()
    past = f"SELECT id FROM {TABLE} AS OF SCN {scn}"
    assert visitor.cursor().execute(f"SELECT id FROM {TABLE}").fetchall() == [(1,)]
    for sql in (past, f"INSERT INTO {TABLE} VALUES (2)", f"DELETE FROM {TABLE}", f"DROP TABLE {TABLE}"):
        assert code_of(visitor, sql) == 1031, sql
    dba(server, f"GRANT FLASHBACK ON {TABLE} TO visitor")
    assert visitor.cursor().execute(past).fetchall() == [(1,)]
    columns = "SELECT COLUMN_NAME FROM ALL_TAB_COLUMNS WHERE OWNER = 'KPC' AND TABLE_NAME = 'GRANT_ROWS'"
    assert visitor.cursor().execute(columns).fetchall() == [("ID",)]
    dba(server, f"REVOKE SELECT, FLASHBACK ON {TABLE} FROM visitor")
    assert code_of(visitor, f"SELECT id FROM {TABLE}") == 942
    with pytest.raises(ValueError, match="ORA-01927"):
        dba(server, f"REVOKE SELECT ON {TABLE} FROM visitor")


def test_an_owner_grants_what_is_its_own(server: OracleServer, visitor: oracledb.Connection) -> None:
    """By SQL through the driver; a view reads with its owner's rights."""
    server.execute("GRANT SELECT ON grant_view TO visitor", f"GRANT INSERT ON {TABLE} TO visitor")
    assert visitor.cursor().execute("SELECT * FROM kpc.grant_view").fetchall() == [(1,)]
    assert code_of(visitor, f"SELECT * FROM {TABLE}") == 1031
    assert code_of(visitor, f"INSERT INTO {TABLE} VALUES (7)") == 0
    visitor.rollback()
    with server.connect() as owner:
        assert code_of(owner, "CREATE USER rival IDENTIFIED BY x") == 1031
        assert code_of(owner, "GRANT CREATE SESSION TO visitor") == 1031
        assert code_of(owner, f"GRANT SELECT ON {TABLE} TO nobody") == 1917
        assert code_of(owner, f"GRANT FLY ON {TABLE} TO visitor") == 990
    server.execute("REVOKE SELECT ON grant_view FROM visitor", f"REVOKE INSERT ON {TABLE} FROM visitor")


def test_what_a_user_may_do_is_told_by_session_privs(visitor: oracledb.Connection) -> None:
    """A visitor has CREATE SESSION and cannot make tables."""
    assert visitor.cursor().execute("SELECT PRIVILEGE FROM SESSION_PRIVS").fetchall() == [("CREATE SESSION",)]
    assert code_of(visitor, "CREATE TABLE mine (id NUMBER)") == 1031


def test_locked_and_unprivileged_accounts_are_told_so(server: OracleServer) -> None:
    """ORA-28000 and ORA-01045, until the DBA changes it."""
    dba(server, "CREATE USER guest IDENTIFIED BY Guest1 ACCOUNT LOCK")

    def connect() -> None:
        oracledb.connect(user="guest", password="Guest1", dsn=server.settings.dsn).close()

    with pytest.raises(oracledb.DatabaseError, match="ORA-28000"):
        connect()
    dba(server, "ALTER USER guest ACCOUNT UNLOCK")
    with pytest.raises(oracledb.DatabaseError, match="ORA-01045: user GUEST lacks CREATE SESSION"):
        connect()
    dba(server, "GRANT CREATE SESSION TO guest")
    connect()
    dba(server, "DROP USER guest")
    with pytest.raises(oracledb.DatabaseError, match="ORA-01017"):
        connect()


def test_a_reader_reads_every_seeded_table_at_an_scn(server: OracleServer, facts: dict[str, object]) -> None:
    """`--reader`: SELECT and FLASHBACK on the tables, V$DATABASE, nothing else; the ready file has its password."""
    readers = facts["readers"]
    assert isinstance(readers, dict)
    with oracledb.connect(user="auditor", password=readers["AUDITOR"], dsn=server.settings.dsn) as connection:
        (scn,) = connection.cursor().execute("SELECT CURRENT_SCN FROM V$DATABASE").fetchone()
        count = f"SELECT COUNT(*) FROM KPC.KPS_T_SALES_M AS OF SCN {scn}"
        assert connection.cursor().execute(count).fetchone()[0] > 0
        assert code_of(connection, "DELETE FROM KPC.KPS_T_SALES_M") == 1031


@pytest.mark.parametrize(("service", "shown"), [("kpcdb", "kpcdb"), ("REPORTS.example", "REPORTS.example")])
def test_every_service_leads_to_the_same_database(server: OracleServer, service: str, shown: str) -> None:
    """The session knows by which name it came."""
    address = server.settings.dsn.rpartition("/")[0]
    password = server.settings.password.get_secret_value()
    with oracledb.connect(user="KPC", password=password, dsn=f"{address}/{service}") as connection:
        assert connection.service_name == shown
        assert connection.cursor().execute(f"SELECT COUNT(*) FROM {TABLE}").fetchone() == (1,)


def test_tls_with_the_wallet(server: OracleServer, facts: dict[str, object]) -> None:
    """wallet_location trusts the emulator's own authority; many packets travel both ways."""
    password = server.settings.password.get_secret_value()
    with oracledb.connect(
        user="KPC", password=password, dsn=str(facts["tcps_dsn"]), wallet_location=str(facts["wallet_location"])
    ) as connection:
        text = "x" * 30_000
        assert connection.cursor().execute("SELECT :1 FROM DUAL", [text]).fetchone() == (text,)
        protocol = "SELECT COUNT(*) FROM KPC.KPS_T_SALES_MD"
        assert connection.cursor().execute(protocol).fetchone()[0] > 0


def test_tls_with_an_ssl_context(server: OracleServer, facts: dict[str, object]) -> None:
    """The CA file is enough; without it the certificate is refused."""
    context = ssl.create_default_context(cafile=str(facts["ca_file"]))
    password = server.settings.password.get_secret_value()
    with oracledb.connect(user="KPC", password=password, dsn=str(facts["tcps_dsn"]), ssl_context=context) as connection:
        connection.ping()
    with pytest.raises(oracledb.OperationalError, match=r"CERTIFICATE_VERIFY_FAILED|certificate"):
        oracledb.connect(user="KPC", password=password, dsn=str(facts["tcps_dsn"]))


def test_the_pipeline_reads_over_tls(server: OracleServer, facts: dict[str, object], tmp_path: Path) -> None:
    """A given authority is trusted; without it, or with a file that is none, the setting is named."""
    over_tls = server.settings.model_copy(update={"dsn": str(facts["tcps_dsn"])})
    trusting = over_tls.model_copy(update={"ca_file": Path(str(facts["ca_file"]))})
    assert Oracle(trusting).identity() == Oracle(server.settings).identity()
    with pytest.raises(ConfigError, match=r"is not trusted.*KPC__ORACLE__CA_FILE"):
        Oracle(over_tls).identity()
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match="cannot be read as certificates"):
        Oracle(over_tls.model_copy(update={"ca_file": tmp_path / "ca.pem"})).identity()
