"""Forging a ledger in SQLite, as somebody can who owns its file and knows how the audit log is made."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from kpc.ledger import Ledger, open_ledger
from kpc.ledger.audit_log import GENESIS, entry_hash
from kpc.ledger.schema import canonical_json
from kpc.ledger.vouching import VOUCHED, digests_of

_LOG, _HEAD = "migration_audit_log", "migration_audit_head"


def sql(file: Path, *statements: str) -> None:
    """Change the ledger with its triggers dropped. Raises `ValueError` if a statement changes nothing."""
    with _opened(file) as connection:
        for statement in statements:
            if connection.execute(statement).rowcount == 0:
                raise ValueError(f"The campaign has nothing to tamper with: {statement}")


@contextmanager
def _opened(file: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(file)) as connection, connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        yield connection


def swap_entries(file: Path) -> None:
    """Exchange the numbers of two entries."""
    sql(
        file,
        f"UPDATE {_LOG} SET seq = 1000000 WHERE seq = 2",  # noqa: S608  constants, here and below
        f"UPDATE {_LOG} SET seq = 2 WHERE seq = 3",  # noqa: S608
        f"UPDATE {_LOG} SET seq = 3 WHERE seq = 1000000",  # noqa: S608
    )


def take_back_tail(file: Path, entries: int = 3) -> None:
    """Remove the newest entries and let the head name the one before them."""
    last = f"(SELECT max(seq) FROM {_LOG})"  # noqa: S608
    sql(
        file,
        f"DELETE FROM {_LOG} WHERE seq > {last} - {entries}",  # noqa: S608
        f"UPDATE {_HEAD} SET seq = {last}, "  # noqa: S608
        f"entry_hash = (SELECT entry_hash FROM {_LOG} ORDER BY seq DESC LIMIT 1)",
    )


def empty_log(file: Path) -> None:
    """Remove every entry, as if nothing had ever been recorded."""
    sql(file, f"DELETE FROM {_LOG}", f"UPDATE {_HEAD} SET seq = 0, entry_hash = '{GENESIS}'")  # noqa: S608


def new_ledger(file: Path) -> None:
    """Put an empty ledger in its place."""
    for path in file.parent.glob(f"{file.name}*"):
        path.unlink()
    open_ledger(f"sqlite:///{file}").close()


def forge_last_entry(file: Path) -> None:
    """Add an entry that continues the chain with a right hash, but is not what happened last: the head is left."""
    with closing(open_ledger(f"sqlite:///{file}")) as ledger:
        (last,) = ledger.audit.entries(limit=1)
    forged = asdict(last) | {"seq": last.seq + 1, "action": "sign-off accepted", "prev_hash": last.entry_hash}
    forged["entry_hash"] = entry_hash(forged)
    with _opened(file) as connection:
        names = list(forged)
        values = [_stored(forged[name]) for name in names]
        marks = ", ".join("?" for _ in names)
        connection.execute(f"INSERT INTO {_LOG} ({', '.join(names)}) VALUES ({marks})", values)  # noqa: S608


def rewrite_log(file: Path) -> None:
    """Let the last entry on each row vouch for it as it is now, and compute the chain and its head anew."""
    with closing(open_ledger(f"sqlite:///{file}")) as ledger:
        entries = [asdict(entry) for entry in ledger.audit.entries()]
        _vouch_for_present_rows(ledger, entries)
    previous = GENESIS
    with _opened(file) as connection:
        for entry in entries:
            entry["prev_hash"] = previous
            previous = entry["entry_hash"] = entry_hash(entry)
            connection.execute(
                f"UPDATE {_LOG} SET detail = ?, prev_hash = ?, entry_hash = ? WHERE seq = ?",  # noqa: S608
                (canonical_json(entry["detail"]), entry["prev_hash"], previous, entry["seq"]),
            )
        connection.execute(f"UPDATE {_HEAD} SET entry_hash = ?", (previous,))  # noqa: S608


def _vouch_for_present_rows(ledger: Ledger, entries: list[dict[str, Any]]) -> None:
    last: dict[tuple[str, str], dict[str, list[object]]] = {}
    for entry in entries:
        for table, groups in entry["detail"].get(VOUCHED, {}).get("rows", {}).items():
            last.update(dict.fromkeys(((table, group) for group in groups), groups))
    with ledger.database.reading() as connection:
        for (table, group), groups in last.items():
            groups[group] = list(digests_of(connection, [(table, group)])[table][group])


def _stored(value: object) -> object:
    """As SQLite holds it."""
    if isinstance(value, dict):
        return canonical_json(value)
    return value.replace(tzinfo=None).isoformat(" ") if isinstance(value, datetime) else value
