"""What a DBA sets: clock, role, limits and policies, as a client sees them and as far as they take effect."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import oracledb
import pytest
from oracle_source import OracleServer, start_oracle

USUAL: dict[str, Any] = {
    "open_mode": "READ WRITE",
    "database_role": "PRIMARY",
    "server_offset_minutes": 0,
    "clock_skew_s": 0,
    "limits": {},
    "row_policies": [],
    "redactions": [],
}


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleServer]:
    server = start_oracle(tmp_path_factory.mktemp("oracle"), "--rows", "500", "--reader", "READER")
    yield server
    server.stop()


@pytest.fixture
def server(started: OracleServer) -> Iterator[OracleServer]:
    yield started
    started.admin("POST", "instance", USUAL)


@contextmanager
def cursor_of(server: OracleServer, user: str = "", password: str = "") -> Iterator[oracledb.Cursor]:
    dsn = server.settings.dsn
    connection = oracledb.connect(user=user, password=password, dsn=dsn) if user else server.connect()
    with connection, connection.cursor() as cursor:
        yield cursor


def answer(cursor: oracledb.Cursor, sql: str) -> list[Any]:
    return list(cursor.execute(sql))  # type: ignore[call-overload, no-any-return]


def test_the_servers_clock_has_a_zone_and_may_be_wrong(server: OracleServer) -> None:
    """SYSDATE is the server's own time; the session's time is not; the moment in UTC only follows the skew."""
    server.admin("POST", "instance", {"server_offset_minutes": 420, "clock_skew_s": 3600})
    with cursor_of(server) as cursor:
        ((local, utc, zone),) = answer(
            cursor,
            "SELECT TO_CHAR(SYSDATE, 'YYYY-MM-DD HH24:MI:SS'), "
            "TO_CHAR(SYS_EXTRACT_UTC(SYSTIMESTAMP), 'YYYY-MM-DD HH24:MI:SS'), "
            "TO_CHAR(SYSTIMESTAMP, 'TZH:TZM') FROM DUAL",
        )
        ((true,),) = answer(cursor, "SELECT TO_CHAR(LOCALTIMESTAMP, 'YYYY-MM-DD HH24:MI:SS') FROM DUAL")
    assert datetime.fromisoformat(local) - datetime.fromisoformat(utc) == timedelta(hours=7)
    assert zone == "+07:00"
    assert timedelta(minutes=59) < datetime.fromisoformat(utc) - datetime.fromisoformat(true) < timedelta(minutes=61)


def test_a_standby_can_only_be_read(server: OracleServer) -> None:
    server.admin("POST", "instance", {"database_role": "PHYSICAL STANDBY", "open_mode": "READ ONLY WITH APPLY"})
    with cursor_of(server) as cursor:
        assert answer(cursor, "SELECT DATABASE_ROLE, OPEN_MODE FROM V$DATABASE") == [
            ("PHYSICAL STANDBY", "READ ONLY WITH APPLY")
        ]
        assert answer(cursor, "SELECT COUNT(*) FROM KPS_R_POS_SUPPLIER")[0][0] > 0
        for sql in ("DELETE FROM KPS_R_POS_SUPPLIER", "CREATE TABLE t (a NUMBER)"):
            with pytest.raises(oracledb.DatabaseError, match="ORA-16000"):
                cursor.execute(sql)


def test_sessions_of_one_user_are_limited_by_the_profile(server: OracleServer) -> None:
    server.admin("POST", "instance", {"limits": {"SESSIONS_PER_USER": "1"}})
    with cursor_of(server) as cursor:
        assert ("SESSIONS_PER_USER", "1") in answer(cursor, "SELECT RESOURCE_NAME, LIMIT FROM USER_RESOURCE_LIMITS")
        with pytest.raises(oracledb.DatabaseError, match="ORA-02391"):
            server.connect()


def test_policies_are_told_to_whom_may_know(server: OracleServer) -> None:
    """ALL_POLICIES shows what is on visible tables; redaction views and V$PARAMETER need a grant."""
    server.admin(
        "POST",
        "instance",
        {"row_policies": ["KPS_T_SALES_M"], "redactions": ["KPS_WEB_SALES.CUSTOMER_NAME"]},
    )
    redacted = "SELECT OBJECT_NAME, COLUMN_NAME FROM REDACTION_COLUMNS"
    server.admin("POST", "sql", {"sql": 'CREATE USER POOR IDENTIFIED BY "poor"'})
    server.admin("POST", "sql", {"sql": "GRANT CREATE SESSION TO POOR"})
    with cursor_of(server) as cursor:
        assert answer(cursor, "SELECT OBJECT_NAME, SEL, ENABLE FROM ALL_POLICIES") == [("KPS_T_SALES_M", "YES", "YES")]
        assert answer(cursor, redacted) == [("KPS_WEB_SALES", "CUSTOMER_NAME")]
    with cursor_of(server, "POOR", "poor") as cursor:
        assert answer(cursor, "SELECT OBJECT_NAME FROM ALL_POLICIES") == []
        for sql in (redacted, "SELECT NAME FROM V$PARAMETER"):
            with pytest.raises(oracledb.DatabaseError, match="ORA-00942"):
                cursor.execute(sql)
    server.admin("POST", "sql", {"sql": "GRANT SELECT ON V_$PARAMETER TO POOR"})
    server.admin("POST", "sql", {"sql": "GRANT SELECT ON REDACTION_COLUMNS TO POOR"})
    with cursor_of(server, "POOR", "poor") as cursor:
        assert ("undo_retention",) in answer(cursor, "SELECT NAME FROM V$PARAMETER")
        assert answer(cursor, redacted) == []  # the table itself is not visible


def test_policies_hide_rows_and_values_from_whom_is_not_exempt(server: OracleServer) -> None:
    """The count of what is hidden agrees with what is read: nothing in the answers shows that something is missing."""
    counted = "SELECT COUNT(*) FROM KPS_T_SALES_M"
    named = "SELECT DISTINCT CUSTOMER_NAME, UPPER(CUSTOMER_NAME) FROM KPS_WEB_SALES WHERE CUSTOMER_NAME IS NOT NULL"
    with cursor_of(server) as cursor:
        ((whole,),) = answer(cursor, counted)
        assert answer(cursor, named)[0][0] != " "
        server.admin(
            "POST", "instance", {"row_policies": ["KPS_T_SALES_M"], "redactions": ["KPS_WEB_SALES.CUSTOMER_NAME"]}
        )
        ((scn,),) = answer(cursor, "SELECT CURRENT_SCN FROM V$DATABASE")
        ((seen,),) = answer(cursor, counted)
        assert 0.4 * whole < seen < 0.6 * whole
        assert len(answer(cursor, "SELECT SALE_NO FROM KPS_T_SALES_M")) == seen
        assert answer(cursor, f"{counted} AS OF SCN {scn}") == [(seen,)]
        assert answer(cursor, named) == [(" ", " ")]
        server.admin("POST", "sql", {"sql": "GRANT EXEMPT ACCESS POLICY, EXEMPT REDACTION POLICY TO KPC"})
        assert answer(cursor, counted) == [(whole,)]
        assert answer(cursor, named)[0][0] != " "
        server.admin("POST", "sql", {"sql": "REVOKE EXEMPT ACCESS POLICY, EXEMPT REDACTION POLICY FROM KPC"})


def test_a_sample_is_a_share_of_the_rows(server: OracleServer) -> None:
    with cursor_of(server) as cursor:
        ((whole,),) = answer(cursor, "SELECT COUNT(*) FROM KPS_T_SALES_MD")
        ((half,),) = answer(cursor, "SELECT COUNT(*) FROM KPS_T_SALES_MD SAMPLE BLOCK (50)")
        assert 0.2 * whole < half < 0.8 * whole
        for wrong in ("0", "100"):
            with pytest.raises(oracledb.DatabaseError, match="ORA-30562"):
                cursor.execute(f"SELECT COUNT(*) FROM KPS_T_SALES_MD SAMPLE ({wrong})")


@pytest.mark.parametrize("wrong", [{"colour": "red"}, {"limits": "none"}, {"clock_skew_s": "soon"}])
def test_what_is_no_fact_is_refused(server: OracleServer, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="is no fact of the instance"):
        server.admin("POST", "instance", wrong)
