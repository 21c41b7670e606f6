"""Faults of a source, each planted in an emulated database, and the check of preflight that must find it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from oracle_source import OracleServer, start_oracle
from pydantic import SecretStr

from kpc.campaign.preflight import check_source
from kpc.campaign.system_check import CheckState, SystemCheck
from kpc.catalog import TABLES
from kpc.oracle.session import Oracle

WARNING, FAILED = CheckState.WARNING, CheckState.FAILED
ROWS = ("--rows", "1500", "--months", "2024-01,2024-02")
BANGKOK = {"server_offset_minutes": 420}


@dataclass(frozen=True)
class Planted:
    """A fault: how it is planted (SQL with every right, or a fact of the instance), and what preflight must say."""

    subject: str
    check: str
    state: CheckState
    told: str
    sql: tuple[str, ...] = ()
    facts: tuple[tuple[str, object], ...] = ()


def invalid_bytes(table: str, column: str) -> str:
    return f"UPDATE {table} SET {column} = UTL_RAW.CAST_TO_VARCHAR2(HEXTORAW('CAC1AAD2C2'))"


def without_constraint(table: str) -> tuple[str, ...]:
    return (f"ALTER TABLE {table} DROP CONSTRAINT PK_{table.removeprefix('KPS_')}",)


def index_organized(name: str) -> tuple[str, ...]:
    table = TABLES[name]
    columns = ", ".join(f"{column.name} {column.source.ddl}" for column in table.columns)
    return (
        f"DROP TABLE {name}",
        f"CREATE TABLE {name} ({columns}, PRIMARY KEY ({', '.join(table.key)})) ORGANIZATION INDEX",
    )


FAULTS: dict[str, Planted] = {
    "a view is declared with ROWIDs": Planted(
        "KPS_R_EMAIL_TENANT", "object type", FAILED, "is a view",
        ("ALTER TABLE KPS_R_EMAIL_TENANT RENAME TO TENANT_BASE",
         "CREATE VIEW KPS_R_EMAIL_TENANT AS SELECT * FROM TENANT_BASE"),
    ),
    "an index-organized table is declared with ROWIDs": Planted(
        "KPS_T_PREINV_DETAIL", "object type", FAILED, "index-organized", index_organized("KPS_T_PREINV_DETAIL")
    ),
    "a table without statistics": Planted(
        "KPS_T_PREINV_DETAIL", "access path", WARNING, "no statistics"
    ),
    "a column is missing": Planted(
        "KPS_T_SALES_APPRV_DETAIL", "schema", FAILED, "QTY: declared as NUMBER, missing",
        ("ALTER TABLE KPS_T_SALES_APPRV_DETAIL DROP COLUMN QTY",),
    ),
    "a column has another length": Planted(
        "KPS_T_PREINV_REVGUA", "schema", FAILED, "CON_CODE: declared as",
        ("ALTER TABLE KPS_T_PREINV_REVGUA MODIFY (CON_CODE VARCHAR2(99 CHAR))",),
    ),
    "no unique index on the key": Planted(
        "KPS_T_SALES_APPRV", "unique key", WARNING, "No unique index", without_constraint("KPS_T_SALES_APPRV")
    ),
    "bytes that are not UTF-8": Planted(
        "KPS_R_POS_SUPPLIER.NAME_E", "text", FAILED, 'Declare stored_as="TIS620"',
        (invalid_bytes("KPS_R_POS_SUPPLIER", "NAME_E"),),
    ),
    "bytes of no character set": Planted(
        "KPS_T_SALES_M.VOID_REASON", "text", FAILED, "None of TIS620, MSWIN874, AL32UTF8 reads all",
        ("UPDATE KPS_T_SALES_M SET VOID_REASON = UTL_RAW.CAST_TO_VARCHAR2(HEXTORAW('41FF'))",),
    ),
    "question marks in the place of letters": Planted(
        "KPS_R_POS_SUPPLIER.SHORT_NAME", "text", WARNING, "question marks",
        ("UPDATE KPS_R_POS_SUPPLIER SET SHORT_NAME = 'CO ????'",),
    ),
    "replacement characters in a Unicode database": Planted(
        "KPS_R_EMAIL_SUPPLIER.NAMES", "text", WARNING, "lost before they were stored",
        (r"UPDATE KPS_R_EMAIL_SUPPLIER SET NAMES = 'A' || UNISTR('\FFFD\FFFD')",),
    ),
    "dates of another shape": Planted(
        "KPS_T_PREINV.PREINV_DATE", "date shape", FAILED, "'99/99/9999'",
        ("UPDATE KPS_T_PREINV SET PREINV_DATE = '31/12/2023' WHERE PREINV_DATE < '2024-02-10'",),
    ),
    "dates of the other calendar": Planted(
        "KPS_T_PREINV_MIN.START_DATE", "date calendar", FAILED, "not gregorian",
        ("UPDATE KPS_T_PREINV_MIN SET START_DATE = '2567' || SUBSTR(START_DATE, 5)",),
    ),
    "Gregorian years in a Buddhist column": Planted(
        "KPS_T_SALES_M.CREATE_DATE", "date calendar", FAILED, "not buddhist",
        ("UPDATE KPS_T_SALES_M SET CREATE_DATE = SUBSTR(CREATE_DATE, 1, 6) || '2024' || SUBSTR(CREATE_DATE, 11)",),
    ),
    "a date that is a word, once": Planted(
        "KPS_WEB_SALES.ORDER_DATE", "date shape", FAILED, "'AAAA'",
        ("UPDATE KPS_WEB_SALES SET ORDER_DATE = 'soon' WHERE ROWNUM <= 1",),
    ),
    "a number beyond its field": Planted(
        "KPS_T_SALESPAY_MD.PAY_AMT", "number", WARNING, "1 of",
        ("UPDATE KPS_T_SALESPAY_MD SET PAY_AMT = 1E30 WHERE ROWNUM <= 1",),
    ),
    "a large table that has no way to a month": Planted(
        "KPS_T_SALES_MD", "access path", WARNING, "kpc one-pass KPS_T_SALES_MD",
        facts=(("statistics", {"KPS_T_SALES_MD": [261_000_000, 6_000_000]}),),
    ),
    "row-level security": Planted(
        "KPS_T_SALES_M", "row-level security", FAILED, "hide rows", facts=(("row_policies", ["KPS_T_SALES_M"]),)
    ),
    "redaction of a column": Planted(
        "KPS_WEB_SALES", "redaction", FAILED, "CUSTOMER_NAME", facts=(("redactions", ["KPS_WEB_SALES.CUSTOMER_NAME"]),)
    ),
    "a server in UTC": Planted("database", "time zone", WARNING, "-7.0 hours", facts=(("server_offset_minutes", 0),)),
    "a clock that is wrong": Planted("database", "clock", WARNING, "NTP", facts=(("clock_skew_s", 400),)),
    "too few sessions": Planted(
        "database", "sessions", FAILED, "ORA-02391", facts=(("limits", {
            "SESSIONS_PER_USER": "3", "IDLE_TIME": "5", "CONNECT_TIME": "2"}),)
    ),
    "sessions that end when idle": Planted("database", "idle time", WARNING, "ORA-02396"),
    "sessions that end after a time": Planted("database", "connect time", WARNING, "ORA-02399"),
    "short undo": Planted("database", "undo", WARNING, "ORA-01555", facts=(("undo_retention_s", 30),)),
    "a password that expires": Planted(
        "database", "password", WARNING, "ORA-28001", facts=(("password_expires_days", 9),)
    ),
    "a physical standby": Planted(
        "database", "role", WARNING, "standby",
        facts=(("database_role", "PHYSICAL STANDBY"), ("open_mode", "READ ONLY WITH APPLY")),
    ),
}  # fmt: skip


def checks_of(server: OracleServer) -> dict[tuple[str, str], SystemCheck]:
    return {(each.subject, each.name): each for each in check_source(Oracle(server.settings), datetime.now(UTC))}


def run_as_dba(server: OracleServer, *statements: str) -> None:
    for statement in statements:
        server.admin("POST", "sql", {"sql": statement})


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleServer]:
    server = start_oracle(tmp_path_factory.mktemp("oracle"), *ROWS, "--reader", "READER")
    server.admin("POST", "instance", BANGKOK)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def before(source: OracleServer) -> dict[tuple[str, str], SystemCheck]:
    """What preflight says about the database without faults."""
    return checks_of(source)


@pytest.fixture(scope="module")
def after(source: OracleServer, before: dict[tuple[str, str], SystemCheck]) -> dict[tuple[str, str], SystemCheck]:
    """What it says with all of them; one login stays below SESSIONS_PER_USER."""
    assert before
    for planted in FAULTS.values():
        run_as_dba(source, *planted.sql)
    source.admin("POST", "instance", dict(fact for planted in FAULTS.values() for fact in planted.facts))
    return checks_of(source)


def test_a_source_without_faults_passes_every_check(before: dict[tuple[str, str], SystemCheck]) -> None:
    assert [each for each in before.values() if each.state is not CheckState.OK] == []
    assert len(before) > 250


@pytest.mark.parametrize("name", FAULTS)
def test_each_planted_fault_is_found(
    name: str,
    before: dict[tuple[str, str], SystemCheck],
    after: dict[tuple[str, str], SystemCheck],
) -> None:
    """By its own check of its own subject, which passed before, with what it means and a remedy."""
    planted = FAULTS[name]
    key = planted.subject, planted.check
    assert key not in before or before[key].state is CheckState.OK
    assert after[key].state is planted.state
    assert planted.told in f"{after[key].message} {after[key].remedy}"
    assert after[key].remedy


def test_samples_are_masked(after: dict[tuple[str, str], SystemCheck]) -> None:
    assert "***????" in after["KPS_R_POS_SUPPLIER.SHORT_NAME", "text"].message
    assert "CO ????" not in str(after)


def test_a_reader_without_grants_is_told_each_of_them(source: OracleServer) -> None:
    """FLASHBACK is verified by a query of each table; views of the dictionary that it may not read are named."""
    source.admin("POST", "instance", {"open_mode": "READ WRITE"})
    run_as_dba(
        source,
        'CREATE USER POOR IDENTIFIED BY "poor"',
        "GRANT CREATE SESSION TO POOR",
        "GRANT SELECT ON V_$DATABASE TO POOR",
        *(f"GRANT SELECT, FLASHBACK ON {name} TO POOR" for name in TABLES if name != "KPS_WEB_SALES"),
        "GRANT SELECT ON KPS_WEB_SALES TO POOR",
    )
    settings = source.settings.model_copy(
        update={"user": "POOR", "password": SecretStr("poor"), "owner": source.settings.user}
    )
    found = checks_of(replace(source, settings=settings))
    flashback = {subject: check for (subject, name), check in found.items() if name == "flashback"}
    assert [subject for subject, check in flashback.items() if check.state is FAILED] == ["KPS_WEB_SALES"]
    assert "GRANT SELECT, FLASHBACK ON KPC.KPS_WEB_SALES TO POOR" in flashback["KPS_WEB_SALES"].remedy
    assert found["V$PARAMETER", "hidden view"].remedy == "Ask the DBA: GRANT SELECT ON SYS.V_$PARAMETER TO POOR."
    assert found["REDACTION_COLUMNS", "hidden view"].state is WARNING
    assert found["database", "undo"].state is WARNING


def test_an_exempt_user_passes_the_checks_of_policies(
    source: OracleServer, after: dict[tuple[str, str], SystemCheck]
) -> None:
    """A policy and redaction are not a fault for a user to whom they do not apply."""
    assert after["KPS_T_SALES_M", "row-level security"].state is FAILED
    source.admin("POST", "instance", {"open_mode": "READ WRITE"})
    run_as_dba(source, "GRANT EXEMPT ACCESS POLICY, EXEMPT REDACTION POLICY TO KPC")
    found = checks_of(source)
    assert found["KPS_T_SALES_M", "row-level security"].state is CheckState.OK
    assert found["KPS_WEB_SALES", "redaction"].state is CheckState.OK


@pytest.mark.parametrize(
    ("character_set", "told"),
    [("WE8MSWIN1252", "Latin letters that spell Thai"), ("US7ASCII", "U+FFFD")],
)
def test_thai_that_was_stored_through_a_wrong_nls_lang_is_found(
    character_set: str, told: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The character set is a warning, each column that holds such Thai a failure whose remedy is stored_as."""
    options = ("--character-set", character_set, "--stored-through", "TIS620")
    server = start_oracle(tmp_path_factory.mktemp("oracle"), *ROWS, *options)
    try:
        found = checks_of(server)
    finally:
        server.stop()
    assert found["database", "character set"].state is WARNING
    failed = {subject: check for (subject, name), check in found.items() if name == "text" and not check.is_ok}
    assert "KPS_WEB_SALES.CUSTOMER_NAME" in failed
    assert all(told in check.message for check in failed.values())
    assert all('Declare stored_as="TIS620"' in check.remedy for check in failed.values())
    assert "ใหม่" in failed["KPS_R_POS_SUPPLIER.CITY"].remedy
    example = failed["KPS_WEB_SALES.CUSTOMER_NAME"].message.split(": ")[-1]
    assert not any("\u0e01" <= letter <= "\u0e5b" or "\u00a1" <= letter <= "\u00ff" for letter in example)


def test_a_large_table_is_sampled_all_over(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Blocks of the whole table, not its first rows: what only the newest hold is seen. An empty sample is none."""
    server = start_oracle(tmp_path_factory.mktemp("oracle"), "--rows", "120000", "--months", "2024-01")
    try:
        newest = "SELECT ROWID FROM (SELECT ROWID FROM KPS_T_SALES_MD ORDER BY ROWID DESC) WHERE ROWNUM <= 5000"
        run_as_dba(server, f"UPDATE KPS_T_SALES_MD SET SALE_DATE = '31/01/2024' WHERE ROWID IN ({newest})")
        found = checks_of(server)
        run_as_dba(server, "DELETE FROM KPS_T_SALES_MD WHERE ROWID NOT IN (SELECT MIN(ROWID) FROM KPS_T_SALES_MD)")
        left = checks_of(server)
    finally:
        server.stop()
    assert found["KPS_T_SALES_MD.SALE_DATE", "date shape"].state is FAILED
    assert "'9999-99-99' 1" in left["KPS_T_SALES_MD.SALE_DATE", "date shape"].message
