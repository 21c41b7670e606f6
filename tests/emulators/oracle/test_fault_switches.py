"""The emulator's fault switches, admin channel and counters, as the unmodified driver and plain HTTP see them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import oracledb
import pytest
from oracle_source import OracleServer, start_oracle

TABLE = "FAULT_ROWS"
ALL_ROWS = f"SELECT id, name FROM {TABLE} ORDER BY id"
ROWS = 500


MODES = {"19c": (), "23ai-sdu-512": ("--field-version", "24", "--end-of-response", "--sdu", "512")}


@pytest.fixture(scope="module", params=list(MODES.values()), ids=list(MODES))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleServer]:
    server = start_oracle(tmp_path_factory.mktemp("oracle"), "--rows", "0", *request.param)
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {TABLE} (id NUMBER(9) PRIMARY KEY, name VARCHAR2(20))")
        cursor.executemany(f"INSERT INTO {TABLE} VALUES (:1, :2)", [(n, f"row {n}") for n in range(1, ROWS + 1)])
        connection.commit()
    yield server
    server.stop()


@pytest.fixture
def oracle(server: OracleServer) -> Iterator[OracleServer]:
    """The same server with no faults before and after."""
    with server.without_faults() as oracle:
        yield oracle


def read(oracle: OracleServer, sql: str = ALL_ROWS, rows_at_once: int = 50) -> list[tuple[int, str]]:
    """The rows that come before an error, if there is one, which is left in the list's `failure`."""
    with oracle.connect() as connection, connection.cursor() as cursor:
        cursor.arraysize = cursor.prefetchrows = rows_at_once
        return list(cursor.execute(sql))


@pytest.mark.parametrize("code", [12514, 12541, 12528])
def test_the_listener_refuses_with_a_code(oracle: OracleServer, code: int) -> None:
    """As a listener does, before any login; the times given, then no more."""
    oracle.fault("refuse", code, times=1)
    with pytest.raises(oracledb.OperationalError, match=r"DPY-6005") as caught:
        oracle.connect()
    assert code == 12514 or f"{code}" in str(caught.value)
    with oracle.connect() as connection:
        connection.ping()
    assert oracle.admin("GET", "counters")["refused"] == 1


@pytest.mark.parametrize("code", [28000, 28001, 1033, 18, 1045])
def test_a_login_is_refused_with_a_code(oracle: OracleServer, code: int) -> None:
    """After the right password, for the user named."""
    oracle.fault("refuse", code, user="KPC", times=1)
    oracle.fault("refuse", 1034, user="SOMEBODY")
    with pytest.raises(oracledb.DatabaseError, match=f"ORA-{code:05d}"):
        oracle.connect()
    with oracle.connect() as connection:
        connection.ping()


@pytest.mark.parametrize("end", ["fin", "rst"])
def test_a_connection_is_hung_up(oracle: OracleServer, end: str) -> None:
    """Accepted and ended at once."""
    oracle.fault("hang_up", end, times=1)
    with pytest.raises(oracledb.OperationalError, match="DPY-6005"):
        oracle.connect()


@pytest.mark.parametrize("code", [1555, 8103, 1410, 4036])
def test_a_fetch_fails_after_so_many_rows(oracle: OracleServer, code: int) -> None:
    """Earlier batches are delivered, the session stays, and the next reading succeeds."""
    oracle.fault("error", code, after_rows=120, times=1, table=TABLE)
    with oracle.connect() as connection, connection.cursor() as cursor:
        cursor.arraysize = cursor.prefetchrows = 50
        cursor.execute(ALL_ROWS)
        assert len(cursor.fetchmany(50)) == 50
        with pytest.raises(oracledb.DatabaseError, match=f"ORA-{code:05d}"):
            cursor.fetchall()
        assert len(cursor.execute(ALL_ROWS).fetchall()) == ROWS
    ends = [each["end"] for each in oracle.admin("GET", "statements") if TABLE in each["sql"]]
    assert ends == [f"ORA-{code:05d}", "done"]


@pytest.mark.parametrize("code", [600, 3113])
def test_errors_that_end_a_session_do(oracle: OracleServer, code: int) -> None:
    """The driver takes them for a dead session and keeps the number."""
    oracle.fault("error", code, sql=r"^select", times=1)
    with oracle.connect() as connection, pytest.raises(oracledb.DatabaseError) as caught:
        connection.cursor().execute(ALL_ROWS)
    assert f"ORA-{code:05d}" in str(caught.value)


@pytest.mark.parametrize("end", ["fin", "rst"])
def test_a_connection_is_cut_after_so_many_rows(oracle: OracleServer, end: str) -> None:
    """DPY-4011 in the middle of a fetch."""
    oracle.fault("cut", end, after_rows=120, times=1)
    with oracle.connect() as connection, connection.cursor() as cursor:
        cursor.arraysize = cursor.prefetchrows = 50
        cursor.execute(ALL_ROWS)
        cursor.fetchmany(50)
        with pytest.raises(oracledb.DatabaseError, match="DPY-4011"):
            cursor.fetchall()
    assert len(read(oracle)) == ROWS


def test_filters_and_skip_hit_exactly_one_statement(oracle: OracleServer) -> None:
    """Of three executions of one statement the second fails; other statements never do."""
    oracle.fault("error", 942, sql=r"where\s+id\s*=\s*7", skip=1, times=1)
    one = f"SELECT name FROM {TABLE} WHERE id = 7"
    assert read(oracle, one) == [("row 7",)]
    assert len(read(oracle)) == ROWS
    with pytest.raises(oracledb.DatabaseError, match="ORA-00942"):
        read(oracle, one)
    assert read(oracle, one) == [("row 7",)]
    (rule,) = oracle.admin("GET", "faults")
    assert (rule["struck"], rule["times"], rule["skip"]) == (1, 0, 0)


def test_a_table_filter_takes_whole_names_only(oracle: OracleServer) -> None:
    """FAULT_ROW is not FAULT_ROWS."""
    oracle.fault("error", 942, table="FAULT_ROW")
    assert len(read(oracle)) == ROWS


def test_slow_rows_drip(oracle: OracleServer) -> None:
    """500 rows at 1,000 a second take about half a second, and can be cancelled meanwhile."""
    oracle.fault("slow_rows", 1000)
    began = time.monotonic()
    assert len(read(oracle)) == ROWS
    assert 0.4 < time.monotonic() - began < 30
    oracle.admin("DELETE", "faults")
    oracle.fault("slow_rows", 10)
    with oracle.connect() as connection:
        connection.call_timeout = 300
        with pytest.raises(oracledb.DatabaseError, match="DPY-4024"):
            connection.cursor().execute(ALL_ROWS).fetchall()
        oracle.admin("DELETE", "faults")
        connection.call_timeout = 0
        assert len(connection.cursor().execute(ALL_ROWS).fetchall()) == ROWS


def test_a_delayed_statement_runs_into_the_call_timeout(oracle: OracleServer) -> None:
    """And the session goes on."""
    oracle.fault("delay", 30, times=1)
    with oracle.connect() as connection:
        connection.call_timeout = 200
        with pytest.raises(oracledb.DatabaseError, match="DPY-4024"):
            connection.cursor().execute(ALL_ROWS)
        assert connection.cursor().execute("SELECT 1 FROM DUAL").fetchone() == (1,)


def test_undo_retention_is_an_age_in_scns(oracle: OracleServer) -> None:
    """An SCN within it is read, an older one is ORA-01555, and without the rule all of them are read again."""
    with oracle.connect() as connection, connection.cursor() as cursor:

        def count(scn: int) -> int:
            (rows,) = cursor.execute(f"SELECT COUNT(*) FROM {TABLE} AS OF SCN {scn}").fetchone()
            return int(rows)

        (old,) = cursor.execute("SELECT CURRENT_SCN FROM V$DATABASE").fetchone()
        for name in ("a", "b", "c", "d"):
            cursor.execute(f"UPDATE {TABLE} SET name = :1 WHERE id = 1", [name])
            connection.commit()
        oracle.fault("undo_retention", 2)
        assert count(old + 3) == ROWS
        with pytest.raises(oracledb.DatabaseError, match="ORA-01555"):
            count(old)
        oracle.admin("DELETE", "faults")
        assert count(old) == ROWS


def test_the_session_limit_counts_open_sessions(oracle: OracleServer) -> None:
    """ORA-00018 for one too many; a closed session makes room."""
    with oracle.connect():
        oracle.fault("session_limit", 1)
        with pytest.raises(oracledb.DatabaseError, match="ORA-00018"):
            oracle.connect()
    deadline = time.monotonic() + 30
    while True:
        try:
            oracle.connect().close()
            break
        except oracledb.DatabaseError:
            assert time.monotonic() < deadline


def test_the_door_runs_sql_with_every_right(oracle: OracleServer) -> None:
    """A table is altered under its readers' feet; a wrong statement is answered with its ORA code."""
    oracle.admin("POST", "sql", {"sql": f"ALTER TABLE {TABLE} ADD (note VARCHAR2(5))"})
    with oracle.connect() as connection:
        cursor = connection.cursor()
        cursor.execute(f"SELECT * FROM {TABLE}")
        assert [column[0] for column in cursor.description] == ["ID", "NAME", "NOTE"]
    oracle.admin("POST", "sql", {"sql": f"ALTER TABLE {TABLE} DROP COLUMN note"})
    with pytest.raises(ValueError, match="ORA-00942"):
        oracle.admin("POST", "sql", {"sql": "DROP TABLE nothing_there"})


def test_the_door_needs_its_secret_and_explains_itself(oracle: OracleServer) -> None:
    """Without the secret nothing is found; a wrong rule is answered with what is wrong."""
    base = oracle.admin_url.rpartition("/")[0]
    stranger = OracleServer(oracle.settings, admin_url=f"{base}/guessed")
    with pytest.raises(ValueError, match="not found"):
        stranger.admin("GET", "faults")
    for body, reason in [
        ({"action": "explode"}, "no fault 'explode'"),
        ({"action": "error", "value": "x"}, "could not convert"),
        ({"action": "cut", "value": "soft"}, "fin, rst"),
        ({"action": "error", "value": 1, "often": 2}, "no often"),
        ({"action": "error", "value": 1, "sql": "("}, "unterminated"),
        ([1], "JSON object"),
    ]:
        with pytest.raises(ValueError, match=reason):
            oracle.admin("POST", "faults", body)
    with pytest.raises(ValueError, match="GET faults"):
        oracle.admin("GET", "nonsense")
    assert oracle.admin("GET", "faults") == []


def test_counters_count(oracle: OracleServer) -> None:
    """Sessions, statements and rows; who ran what, labelled as the client asked."""
    with oracle.connect() as connection:
        connection.module, connection.action = "kpc", "reading"
        assert len(connection.cursor().execute(ALL_ROWS).fetchall()) == ROWS
    counters = oracle.admin("GET", "counters")
    assert counters["connections"] == counters["sessions_opened"] == counters["statements"] == 1
    assert counters["rows_served"] == ROWS
    assert counters["rows_scanned"] == {f"KPC.{TABLE}": ROWS}
    (statement,) = oracle.admin("GET", "statements")
    assert statement == {
        "sql": ALL_ROWS, "user": "KPC", "module": "kpc", "action": "reading", "rows": ROWS, "end": "done",
        "virtual_s": 0.0, "temp_bytes": 0,
    }  # fmt: skip


def test_rows_scanned_follow_the_rowids(oracle: OracleServer) -> None:
    """A full read costs the table per mention, a ROWID range its rows; the dictionary costs nothing."""
    with oracle.connect() as connection:
        cursor = connection.cursor()

        def cost(sql: str, *binds: object) -> int:
            oracle.admin("DELETE", "counters")
            cursor.execute(sql, binds).fetchall()
            return int(oracle.admin("GET", "counters")["rows_scanned"].get(f"KPC.{TABLE}", 0))

        ids = [row[0] for row in cursor.execute(f"SELECT ROWIDTOCHAR(ROWID) FROM {TABLE} ORDER BY ROWID")]
        in_range = "ROWID BETWEEN CHARTOROWID(:1) AND CHARTOROWID(:2)"
        assert cost(f"SELECT COUNT(*) FROM {TABLE} a, {TABLE} b WHERE a.id = b.id") == 2 * ROWS
        assert cost(f"SELECT id FROM {TABLE} WHERE {in_range}", ids[100], ids[149]) == 50
        assert cost(f"SELECT id FROM {TABLE} t WHERE id > 0 AND t.{in_range}", ids[0], ids[9]) == 10
        assert cost(f"SELECT id FROM {TABLE} WHERE ROWID = CHARTOROWID(:1)", ids[3]) == 1
        assert cost(f"SELECT id FROM {TABLE} WHERE ROWID >= CHARTOROWID(:1)", ids[-5]) == 5
        assert cost(f"SELECT id FROM (SELECT id, ROW_NUMBER() OVER (ORDER BY id) n FROM {TABLE}) WHERE n < 5") == ROWS
        assert cost("SELECT table_name FROM user_tables") == 0
        first = f"SELECT MIN(ROWID) FROM {TABLE}"
        assert cost(f"SELECT id FROM {TABLE} WHERE ROWID = ({first})") == 2 * ROWS


def test_faults_are_in_force_from_the_start(oracles: Callable[..., OracleServer]) -> None:
    """`--fault`, as often as wanted; a wrong one ends the program with the reason."""
    server = oracles("--rows", "0", "--fault", "refuse=28000,times=1", "--fault", "error=942,sql=from nothing")
    with pytest.raises(oracledb.DatabaseError, match="ORA-28000"):
        server.connect()
    with server.connect() as connection, pytest.raises(oracledb.DatabaseError, match="ORA-00942"):
        connection.cursor().execute("select 1 from nothing")
    command = [sys.executable, "-m", "kpc.emulators.oracle", "--fault", "explode=1"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603  our own program
    assert ended.returncode == 2
    assert "There is no fault 'explode'" in ended.stderr
    assert "Traceback" not in ended.stderr
