"""The ledger opens anywhere it may live, once, and explains where it may not."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

import kpc.ledger
from kpc.errors import ConfigError, Transient
from kpc.ledger import open_ledger
from kpc.ledger.schema import REVISION, metadata
from kpc.partition import Environment

_OPEN = (
    "import sys; from kpc.ledger import open_ledger; open_ledger(sys.argv[1]).audit.append('x', actor='a', run_id='r')"
)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/deep/er/ledger.db"
    url: str = request.getfixturevalue("postgres_database")
    return url


def test_migrated_schema_is_the_declared_one(ledger_url: str) -> None:
    """What the migrations build is what the code expects, table by table and column by column."""
    ledger = open_ledger(ledger_url)
    with ledger.database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        assert compare_metadata(context, metadata) == []
    ledger.close()


def test_known_revision_is_the_newest_one() -> None:
    """A migration cannot be added without the program knowing it."""
    config = Config()
    config.set_main_option("script_location", str(Path(kpc.ledger.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_current_head() == REVISION


def test_processes_that_start_together_migrate_once(ledger_url: str) -> None:
    """Six processes open an absent ledger at the same moment; all succeed, and all their entries are one chain."""
    openers = [subprocess.Popen([sys.executable, "-c", _OPEN, ledger_url]) for _ in range(6)]  # noqa: S603  our own code
    assert [opener.wait(timeout=60) for opener in openers] == [0] * 6
    ledger = open_ledger(ledger_url)
    assert len(ledger.audit.entries()) == 6
    assert ledger.audit.verify() == []
    ledger.close()


def test_opening_again_is_quick(ledger_url: str) -> None:
    """A second open only looks at the revision."""
    open_ledger(ledger_url).close()
    started = time.process_time()
    open_ledger(ledger_url).close()
    assert time.process_time() - started < 0.2


def test_newer_schema_is_refused(ledger_url: str) -> None:
    """An old program does not write into a ledger that a newer one has migrated."""
    ledger = open_ledger(ledger_url)
    with ledger.database.writing() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    ledger.close()
    with pytest.raises(ConfigError, match=r"9999.*Update this program"):
        open_ledger(ledger_url)


@pytest.mark.parametrize(
    "url",
    ["not a url", "mysql://u:hunter2@h/d", "sqlite://", "sqlite:///:memory:", "sqlite:////proc/nowhere/ledger.db"],
)
def test_wrong_address_says_what_to_set(url: str) -> None:
    """An address that cannot hold a ledger is a setting to correct, and its password is not shown."""
    with pytest.raises(ConfigError, match="KPC__LEDGER_URL") as caught:
        open_ledger(url)
    assert "hunter2" not in str(caught.value)


def test_server_that_does_not_answer_is_transient_and_hides_the_password() -> None:
    """A database that is away can be waited for; its URL is shown without the password."""
    with pytest.raises(Transient, match="does not answer") as caught:
        open_ledger("postgresql+psycopg2://kpc:hunter2@127.0.0.1:1/ledger")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_server_that_takes_no_writes_for_a_while_is_transient(postgres_database: str) -> None:
    """As after a fail-over: the former primary, or a standby that is not one yet, answers but refuses to write."""
    ledger = open_ledger(postgres_database)
    with ledger.database.engine.begin() as connection:
        name = connection.exec_driver_sql("SELECT current_database()").scalar_one()
        connection.exec_driver_sql(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    ledger.database.engine.dispose()
    with pytest.raises(Transient, match=r"does not answer.*read-only transaction"):
        ledger.pauses.start(Environment("source", "target"), "all", "", actor="test", reason=None)
    ledger.close()


def test_missing_database_is_a_setting(postgres_url: str) -> None:
    """A server that answers but has no such database needs a person, not a retry."""
    with pytest.raises(ConfigError, match="create the database"):
        open_ledger(postgres_url.replace("/postgres?", "/absent?"))
