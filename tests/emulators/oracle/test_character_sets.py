"""Text as the server converts it: bytes stored through a wrong NLS_LANG, and what a client in UTF-8 makes of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import oracledb
import pyarrow as pa
import pytest
from checkout import PROJECT
from oracle_source import OracleServer, start_oracle

THAI = "กรุงเทพ"
TIS = THAI.encode("tis_620")
TABLE = "CREATE TABLE city (id NUMBER, name VARCHAR2(20 CHAR), fixed CHAR(10 CHAR), nation NVARCHAR2(20), note CLOB)"
SETS = ("AL32UTF8", "WE8MSWIN1252", "WE8ISO8859P1", "US7ASCII", "TH8TISASCII")
# What a client receives of the Thai bytes of TIS-620, which a client with a wrong NLS_LANG had stored.
DELIVERED = {
    "WE8MSWIN1252": TIS.decode("cp1252"),
    "WE8ISO8859P1": TIS.decode("latin-1"),
    "US7ASCII": "\ufffd" * len(TIS),
    "TH8TISASCII": THAI,
}
# What a client with the right NLS_LANG finds of the Thai text that it stored.
CONVERTED = {
    "AL32UTF8": THAI,
    "WE8MSWIN1252": "¿" * len(THAI),
    "WE8ISO8859P1": "¿" * len(THAI),
    "US7ASCII": "?" * len(THAI),
    "TH8TISASCII": THAI,
}


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, OracleServer]]:
    """An empty database of each character set, with one table."""
    started = {
        name: start_oracle(tmp_path_factory.mktemp(name), "--rows", "0", "--character-set", name) for name in SETS
    }
    for server in started.values():
        server.execute(TABLE)
    yield started
    for server in started.values():
        server.stop()


@contextmanager
def one_row(server: OracleServer, sql: str, *binds: object) -> Iterator[oracledb.Cursor]:
    """A cursor on the table with one row."""
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(sql, binds)
        yield cursor


def stored_unconverted(server: OracleServer) -> AbstractContextManager[oracledb.Cursor]:
    raw = "UTL_RAW.CAST_TO_VARCHAR2(HEXTORAW(:1))"
    return one_row(server, f"INSERT INTO city (id, name, fixed) VALUES (1, {raw}, {raw})", TIS.hex(), TIS.hex())


@pytest.mark.parametrize("name", SETS)
def test_text_is_converted_into_the_database_character_set(databases: dict[str, OracleServer], name: str) -> None:
    """A letter that the set lacks is replaced when it is stored; NVARCHAR2 does not convert to it as a bind of it."""
    with one_row(databases[name], "INSERT INTO city (id, name, fixed) VALUES (1, :1, :2)", THAI, "ab") as cursor:
        cursor.execute("SELECT name, fixed, LENGTH(name) FROM city")
        assert cursor.fetchall() == [(CONVERTED[name], "ab        ", len(THAI))]


@pytest.mark.parametrize("name", DELIVERED)
def test_bytes_stored_through_a_wrong_nls_lang_are_converted_as_the_server_does(
    databases: dict[str, OracleServer], name: str
) -> None:
    """Rows and data frames bring valid text, wrong or not; CAST_TO_RAW, LENGTHB and the hash see the stored bytes."""
    with stored_unconverted(databases[name]) as cursor:
        cursor.execute("SELECT name, fixed, LENGTH(name) FROM city")
        assert cursor.fetchall() == [(DELIVERED[name], DELIVERED[name] + "   ", len(TIS))]
        cursor.execute(
            "SELECT UTL_RAW.CAST_TO_RAW(name), UTL_RAW.CAST_TO_RAW(fixed), LENGTHB(name), STANDARD_HASH(name, 'MD5'), "
            "STANDARD_HASH(HEXTORAW(:1), 'MD5') FROM city",
            [TIS.hex()],
        )
        stored, fixed, length, of_text, of_bytes = cursor.fetchone()
        assert (stored, fixed, length) == (TIS, TIS + b"   ", len(TIS))
        assert of_text == of_bytes
        frame = pa.table(cursor.connection.fetch_df_all("SELECT name FROM city"))
        assert frame.column(0).to_pylist() == [DELIVERED[name]]


def test_invalid_bytes_of_a_unicode_database_arrive_as_they_are(databases: dict[str, OracleServer]) -> None:
    """AL32UTF8 is not converted: rows fail to decode on the client, and data frames copy the bytes unchecked."""
    with stored_unconverted(databases["AL32UTF8"]) as cursor, pytest.raises(UnicodeDecodeError):
        cursor.execute("SELECT name FROM city").fetchall()  # type: ignore[union-attr]
    with stored_unconverted(databases["AL32UTF8"]) as cursor:
        cursor.execute("SELECT UTL_RAW.CAST_TO_RAW(name), LENGTHB(name) FROM city")
        assert cursor.fetchall() == [(TIS, len(TIS))]
        frame = pa.table(cursor.connection.fetch_df_all("SELECT name FROM city"))
        with pytest.raises(UnicodeDecodeError):
            frame.column(0).to_pylist()


@pytest.mark.parametrize("name", SETS)
def test_the_dictionary_names_the_character_sets(databases: dict[str, OracleServer], name: str) -> None:
    with databases[name].connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT PARAMETER, VALUE FROM NLS_DATABASE_PARAMETERS WHERE PARAMETER LIKE '%CHARACTERSET'")
        assert dict(cursor.fetchall()) == {"NLS_CHARACTERSET": name, "NLS_NCHAR_CHARACTERSET": "AL16UTF16"}
        cursor.execute("SELECT SYS_CONTEXT('USERENV', 'LANGUAGE') FROM DUAL")
        assert cursor.fetchone() == (f"AMERICAN_AMERICA.{name}",)


def test_raw_of_more_than_2000_bytes_is_refused(databases: dict[str, OracleServer]) -> None:
    """SQL's RAW ends at 2,000 bytes, so CAST_TO_RAW of longer text fails."""
    with databases["WE8MSWIN1252"].connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT UTL_RAW.CAST_TO_RAW(RPAD('x', 2000, 'x')) FROM dual")
        assert len(cursor.fetchone()[0]) == 2000
        with pytest.raises(oracledb.DatabaseError, match="ORA-06502"):
            cursor.execute("SELECT UTL_RAW.CAST_TO_RAW(RPAD('x', 2001, 'x')) FROM dual").fetchall()


def test_the_seed_can_be_stored_through_a_wrong_nls_lang(tmp_path: Path) -> None:
    """Thai of the seed lies in the table as bytes of TIS-620; ASCII is what it was."""
    server = start_oracle(tmp_path, "--rows", "300", "--character-set", "WE8MSWIN1252", "--stored-through", "TIS620")
    try:
        with server.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT NAME_E, UTL_RAW.CAST_TO_RAW(NAME_E) FROM KPS_R_POS_SUPPLIER")
            rows = cursor.fetchall()
        assert any(not text.isascii() for text, _ in rows)
        for text, stored in rows:
            assert text == stored.decode("cp1252")
            assert all("\u0e01" <= letter <= "\u0e5b" for letter in stored.decode("tis_620") if not letter.isascii())
    finally:
        server.stop()


def test_an_unknown_character_set_is_refused_with_the_known_ones() -> None:
    command = [sys.executable, "-m", "kpc.emulators.oracle", "--character-set", "EBCDIC"]
    refused = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)  # noqa: S603  our own
    assert refused.returncode == 2
    assert "WE8MSWIN1252" in refused.stderr
