"""Upgrading the ledger's schema: once, by the first process that needs it."""

from __future__ import annotations

import fcntl
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from sqlalchemy import Connection, Engine, inspect, text

from kpc.errors import ConfigError
from kpc.file_errors import explained
from kpc.ledger.audit_log import AuditLog
from kpc.ledger.database import Database, translated
from kpc.ledger.schema import REVISION
from kpc.ledger.vouching import Group, Vouched, all_digests
from kpc.private_files import keep_private

_ADVISORY_KEY = 7406_0001
_VOUCHES_SINCE = "0009"  # from here on the audit log vouches for rows


def migrate(engine: Engine) -> bool:
    """Create or upgrade the schema; takes a few milliseconds if it is up to date. Safe from several processes.

    Returns whether the ledger is new.

    Raises `ConfigError` when the schema is newer than this program.
    """
    database = Database(engine)
    with database.reading() as connection:
        if _revision(connection) == REVISION:
            return False
    with _only_process(engine), database.together(), database.writing() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_KEY})
        revision = _revision(connection)
        if revision != REVISION:  # another process may have upgraded it meanwhile
            _upgrade(connection)
            if revision is not None and revision < _VOUCHES_SINCE:
                _vouch_for_all(database, connection)
        return revision is None


def _vouch_for_all(database: Database, connection: Connection) -> None:
    """One entry for the rows that an older version wrote: from now on a change of them is found."""
    everything: list[Group] = [(table, group) for table, groups in all_digests(connection).items() for group in groups]
    AuditLog(database).append("ledger upgraded", actor="kpc", run_id="", vouched=Vouched(tuple(everything)))


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    if found is not None and found > REVISION:
        raise ConfigError(
            f"The ledger has schema {found}, but this program supports only {REVISION} and older.",
            "Update this program on this machine; an older version must not write to a newer ledger.",
        )
    return found


@contextmanager
def _only_process(engine: Engine) -> Iterator[None]:
    """On SQLite, hold a file lock: unlike other statements, switching to WAL does not wait for other connections."""
    if engine.dialect.name != "sqlite":
        yield
        return
    with translated(engine), _lock_file(Path(f"{engine.url.database}.lock")) as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        raw = engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA journal_mode=WAL")
        finally:
            raw.close()
        yield


def _lock_file(path: Path) -> TextIO:
    try:
        keep_private(path)
        return path.open("w")
    except OSError as error:
        raise explained(
            error, "The ledger's folder", "Point KPC__LEDGER_URL at a folder that can be written."
        ) from None


def _upgrade(connection: Connection) -> None:
    # Alembic takes 0.2 s to import, and nearly every start finds the schema up to date.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, REVISION)
