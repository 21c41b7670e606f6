"""Array DML with batch errors does what its rows would do one after the other, errors at their offsets included."""

from __future__ import annotations

import random

import pytest
from oracle_sql_client import Client, empty_database

from kpc.emulators.oracle.interface import OraError

STATEMENTS = (
    "INSERT INTO t VALUES (:1, :2, :3, 1)",
    "INSERT INTO t VALUES (:1, POWER(10, :2), :3, 1)",
    "INSERT INTO t (id, n, s) VALUES (:1, :2, :3)",
    "UPDATE t SET a = :1, s = :2 WHERE id = :3",
    "UPDATE t SET id = :1, s = :2 WHERE id = :3",
    "UPDATE t SET n = n * POWER(10, :1), s = :2 WHERE id = :3",
    "MERGE INTO t USING DUAL ON (id = :1) WHEN MATCHED THEN UPDATE SET a = :2, s = :3",
)
NUMBERS = (1, 2, 3, 999, 1000, 12_345, 10**6, 120, 130, -130, None)
TEXTS = ("a", "bb", "cccc", None)
KEYS = (1, 2, 3, 4, 6, 8, 10, 11, 1000, None)
Row = tuple[object, ...]


def _client() -> Client:
    client = Client(empty_database())
    client.execute("CREATE TABLE t (id NUMBER(3) PRIMARY KEY, a NUMBER(5,2), s VARCHAR2(3), n NUMBER)")
    return client


def _fill(client: Client) -> None:
    client.execute("DELETE FROM t")
    client.execute("INSERT INTO t SELECT LEVEL * 2, LEVEL, 'x', LEVEL FROM DUAL CONNECT BY LEVEL <= 5")
    client.session.commit()


def _at_once(client: Client, sql: str, rows: list[Row]) -> tuple[list[tuple[int, int]], list[int]]:
    outcome = client.execute(sql, *rows, batch_errors=True, row_counts=True)
    return [(offset, error.code) for offset, error in outcome.batch_errors], outcome.row_counts


def _one_by_one(client: Client, sql: str, rows: list[Row]) -> tuple[list[tuple[int, int]], list[int]]:
    errors, counts = [], []
    for offset, row in enumerate(rows):
        try:
            counts.append(client.execute(sql, row).row_count)
        except OraError as error:
            errors.append((offset, error.code))
            counts.append(0)
    return errors, counts


@pytest.mark.parametrize("number", range(len(STATEMENTS)))
def test_errors_and_counts_are_those_of_single_rows(number: int) -> None:
    """Overflow, too much precision, too long a text, a duplicate, NULL in a key: in the order of the rows."""
    chance, sql = random.Random(number), STATEMENTS[number]  # noqa: S311  made-up rows
    at_once, alone = _client(), _client()
    for _ in range(25):
        rows: list[Row] = []
        for _ in range(chance.randint(1, 9)):
            key, value, text = chance.choice(KEYS), chance.choice(NUMBERS), chance.choice(TEXTS)
            rows.append((value, text, key) if sql.startswith("UPDATE") else (key, value, text))
        _fill(at_once)
        _fill(alone)
        assert _at_once(at_once, sql, rows) == _one_by_one(alone, sql, rows), rows
        everything = "SELECT * FROM t ORDER BY 1"
        assert at_once.rows(everything) == alone.rows(everything), rows
    at_once.database.close()
    alone.database.close()
