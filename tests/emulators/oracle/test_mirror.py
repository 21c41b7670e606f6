"""A second opinion on the wire: the extraction reads from seerdb's Mirror, an Oracle server by other authors.

Behind the Mirror stands the emulator's own SQL
engine, so AS OF SCN and ROWID ranges are read too; what differs is every byte between driver and engine. The Mirror
keeps whole results in memory, so the tables are small.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr

from kpc.catalog import find_table
from kpc.emulators.oracle.engine import EmulatedDatabase, SeedPlan, open_database
from kpc.emulators.oracle.wire.server import Listener
from kpc.extract.chunk_reader import read_chunks
from kpc.extract.plan import make_plan
from kpc.oracle.session import Oracle
from kpc.partition import Partition
from kpc.settings import OracleSettings

pytestmark = pytest.mark.emulator_only
seerdb = pytest.importorskip("seerdb", reason="seerdb is not installed (pip install seerdb)")
mirror = pytest.importorskip("mirror_backend").mirror
USER, PASSWORD = "KPC", "a-password-for-a-test"
NOW = dt.datetime(2024, 6, 1, tzinfo=dt.UTC)


def extracted(dsn: str, partition: Partition, folder: Path) -> list[dict[str, object]]:
    """The rows of a partition as the extraction reads them from a server."""
    oracle = Oracle(OracleSettings(dsn=dsn, user=USER, password=SecretStr(PASSWORD), connect_timeout_s=5))
    plan = make_plan(oracle, partition, scn=oracle.current_scn(), mode="full", chunk_rows=50, started_utc=NOW)
    folder.mkdir()
    files = read_chunks(oracle, partition, plan, folder)
    rows: list[dict[str, object]] = []
    for file in files:
        rows += pq.read_table(folder / file.name).to_pylist()
    assert len(rows) == plan.control_totals.rows > 0
    return rows


@pytest.fixture(scope="module")
def database() -> Iterator[EmulatedDatabase]:
    made = open_database(user=USER, password=PASSWORD, seed=SeedPlan(600, months=("2024-01",)))
    yield made
    made.close()


@pytest.mark.parametrize(("table", "key"), [("KPS_T_SALES_M", "2024-01"), ("KPS_T_PREINV", "ALL")])
def test_the_mirror_serves_the_extraction_the_same_rows(
    database: EmulatedDatabase, tmp_path: Path, table: str, key: str
) -> None:
    """SCN, plan, control totals and ROWID chunks, row for row as from the emulator's own server."""
    partition = Partition(find_table(table), key)
    with mirror(database) as dsn:
        by_mirror = extracted(dsn, partition, tmp_path / "mirror")
    with Listener(database) as server:
        by_emulator = extracted(f"127.0.0.1:{server.port}/KPCDB", partition, tmp_path / "emulator")
    assert by_mirror == by_emulator
