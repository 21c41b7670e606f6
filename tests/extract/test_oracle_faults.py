"""What an extract does when Oracle fails it: repeat, a new SCN or stop, and never half a file."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from oracle_source import OracleServer, start_oracle
from pydantic import SecretStr

from assets.oracle_extract import oracle_extract
from kpc.errors import CallTimedOut, ConfigError, KpcError, OracleDown, SchemaDrift, SnapshotLost, Terminal
from kpc.partition import Partition, find_partition
from kpc.settings import SalesforceSettings
from kpc.stages.context import PartitionContext
from kpc.stages.current_manifests import sealed_extract
from kpc.stages.workspace import Workspace

TABLE = "KPS_T_SALES_M"
CHUNK_ROWS = 60
CHUNKS = {
    "table": TABLE,
    "sql": "ROWID BETWEEN",
}  # statements that read a chunk, not those of the plan or the control totals


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleServer]:
    server = start_oracle(
        tmp_path_factory.mktemp("oracle"), "--rows", "3000", "--months", "2024-01", "--reader", "AUDIT"
    )
    yield server
    server.stop()


@pytest.fixture
def source(server: OracleServer) -> Iterator[OracleServer]:
    """The source without faults; a test plants its own."""
    with server.without_faults() as source:
        yield source


@pytest.fixture
def partition() -> Partition:
    return find_partition(TABLE, "2024-01")


class Extracting:
    """Workspaces over one staging directory whose Oracle settings differ by test."""

    def __init__(
        self, source: OracleServer, open_one: Callable[..., Workspace], salesforce: SalesforceSettings
    ) -> None:
        self._source = source
        self._open = open_one
        self._salesforce = salesforce

    def workspace(self, **oracle: object) -> Workspace:
        """One session, so that chunks are read one after the other, unless told otherwise."""
        settings = self._source.settings.model_copy(update={"sessions": 1, "connect_timeout_s": 1.0, **oracle})
        workspace = self._open(OracleServer(settings), self._salesforce)
        workspace.settings.staging.chunk_rows = CHUNK_ROWS
        return workspace

    def fails(self, kind: type[KpcError], partition: Partition, **oracle: object) -> str:
        """The message of the failure, which must be of exactly this kind."""
        with pytest.raises(kind) as caught:
            oracle_extract.materialize(PartitionContext(self.workspace(**oracle), partition))
        assert type(caught.value) is kind
        assert caught.value.remedy
        return str(caught.value)


@pytest.fixture
def extracting(
    source: OracleServer, workspaces: Callable[..., Workspace], salesforce: SalesforceSettings
) -> Extracting:
    return Extracting(source, workspaces, salesforce)


def chunk_reads(source: OracleServer) -> Counter[str]:
    """How often each chunk was read, by the action that the session shows to a DBA."""
    statements = source.admin("GET", "statements")
    return Counter(each["action"].split()[-1] for each in statements if "ROWID BETWEEN" in each["sql"])


def test_a_lost_session_is_repeated_before_the_stage_fails(
    extracting: Extracting, source: OracleServer, partition: Partition
) -> None:
    """The chunk is read again in the same run, also where the listener does not know the service for a moment."""
    source.fault("cut", "rst", after_rows=20, skip=1, times=1, **CHUNKS)
    workspace = extracting.workspace(retry_s=60.0)
    workspace.environment  # noqa: B018  from now on the database is known
    source.fault("refuse", 12514, skip=3, times=2)
    result = oracle_extract.materialize(PartitionContext(workspace, partition))
    reads = chunk_reads(source)
    assert reads.pop("chunk-00002") == 2
    assert set(reads.values()) == {1}
    assert result.rows == sealed_extract(PartitionContext(workspace, partition)).control_totals.rows


def files_of(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def generations(staging: Path) -> list[Path]:
    return sorted(staging.rglob("plan.json"))


@pytest.mark.parametrize(
    ("action", "value"), [("cut", "fin"), ("cut", "rst"), ("error", 3113), ("error", 28), ("error", 2396)]
)
def test_a_lost_session_costs_its_chunk_only(
    extracting: Extracting, source: OracleServer, partition: Partition, tmp_path: Path, action: str, value: float | str
) -> None:
    """OracleDown, no trace of the half-read chunk; the next try reads that chunk again and no other."""
    source.fault(action, value, after_rows=20, skip=1, times=1, **CHUNKS)
    message = extracting.fails(OracleDown, partition)
    assert f"KPC.{TABLE}" in message
    (plan,) = generations(tmp_path)
    assert files_of(plan.parent) == {"plan.json", "chunk-00001.json", "chunk-00001.parquet"}
    workspace = extracting.workspace()
    result = oracle_extract.materialize(PartitionContext(workspace, partition))
    manifest = sealed_extract(PartitionContext(workspace, partition))
    assert plan.parent == PartitionContext(workspace, partition).paths.generation(result.generation).extract
    reads = chunk_reads(source)
    assert reads.pop("chunk-00002") == 2
    assert len(reads) == len(manifest.chunks) - 1 > 3
    assert set(reads.values()) == {1}
    assert manifest.rows == manifest.control_totals.rows


def test_parallel_sessions_stop_after_a_lost_one(
    extracting: Extracting, source: OracleServer, partition: Partition, tmp_path: Path
) -> None:
    """Chunks that were finished meanwhile are kept; every file that stands is whole."""
    source.fault("cut", "rst", after_rows=20, skip=3, times=1, **CHUNKS)
    extracting.fails(OracleDown, partition, sessions=4)
    (plan,) = generations(tmp_path)
    names = files_of(plan.parent) - {"plan.json"}
    assert {Path(name).stem for name in names if name.endswith(".json")} == {
        Path(name).stem for name in names if name.endswith(".parquet")
    }
    finished = {Path(name).stem for name in names}
    source.admin("DELETE", "counters")
    workspace = extracting.workspace(sessions=4)
    result = oracle_extract.materialize(PartitionContext(workspace, partition))
    assert not finished & set(chunk_reads(source))
    assert sealed_extract(PartitionContext(workspace, partition)).rows == result.rows


def test_an_extract_reads_each_row_three_times(
    extracting: Extracting, source: OracleServer, partition: Partition
) -> None:
    """Once for the control totals, once for the plan, once for the chunks, however many chunks there are."""
    workspace = extracting.workspace()
    result = oracle_extract.materialize(PartitionContext(workspace, partition))
    assert len(sealed_extract(PartitionContext(workspace, partition)).chunks) > 3
    scanned = source.admin("GET", "counters")["rows_scanned"][f"KPC.{TABLE}"]
    assert scanned == 3 * result.rows


@pytest.mark.parametrize("code", [1555, 1466, 8103, 1410])
def test_a_lost_snapshot_starts_a_new_generation_by_itself(
    extracting: Extracting,
    source: OracleServer,
    partition: Partition,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    code: int,
) -> None:
    """All chunks are read again at a newer SCN; the run says so and ends well."""
    source.fault("error", code, after_rows=20, skip=1, times=1, **CHUNKS)
    workspace = extracting.workspace()
    result = oracle_extract.materialize(PartitionContext(workspace, partition))
    assert f"ORA-{code:05d}" in caplog.text
    assert "new generation" in caplog.text
    folders = [plan.parent for plan in generations(tmp_path)]
    assert len(folders) == 2
    kept = PartitionContext(workspace, partition).paths.generation(result.generation).extract
    (given_up,) = [folder for folder in folders if folder != kept]
    assert "manifest.json" not in files_of(given_up)
    assert "chunk-00002.parquet" not in files_of(given_up)
    manifest = sealed_extract(PartitionContext(workspace, partition))
    assert manifest.rows == manifest.control_totals.rows
    assert chunk_reads(source)["chunk-00001"] == 2
    scns = {
        each["sql"].split("AS OF SCN ")[1].split()[0]
        for each in source.admin("GET", "statements")
        if "ROWID B" in each["sql"]
    }
    assert str(manifest.scn) in scns


def test_a_snapshot_lost_while_planning_counts_too(
    extracting: Extracting, source: OracleServer, partition: Partition
) -> None:
    """ORA-01555 of the control totals or of the chunk plan."""
    source.fault("error", 1555, times=1, table=TABLE, sql="COUNT")
    result = oracle_extract.materialize(PartitionContext(extracting.workspace(), partition))
    assert result.rows > 0


def test_a_snapshot_lost_again_and_again_is_given_up(
    extracting: Extracting, source: OracleServer, partition: Partition, tmp_path: Path
) -> None:
    """Three generations, then a person must look at the undo retention."""
    source.fault("error", 1555, after_rows=20, **CHUNKS)
    assert "UNDO_RETENTION" in extracting.fails(SnapshotLost, partition)
    assert len(generations(tmp_path)) == 3


def test_real_undo_retention_ends_in_a_new_generation(
    extracting: Extracting, source: OracleServer, partition: Partition
) -> None:
    """An interrupted extract whose SCN grew too old meanwhile starts over."""
    source.fault("cut", "fin", after_rows=20, skip=1, times=1, **CHUNKS)
    extracting.fails(OracleDown, partition)
    source.execute("CREATE TABLE passing_time (id NUMBER)", "DROP TABLE passing_time")
    source.fault("undo_retention", 1)
    workspace = extracting.workspace()
    result = oracle_extract.materialize(PartitionContext(workspace, partition))
    assert sealed_extract(PartitionContext(workspace, partition)).rows == result.rows
    assert chunk_reads(source)["chunk-00001"] == 2


@pytest.mark.parametrize("code", [600, 7445, 1427])
def test_an_error_nobody_may_repeat_is_terminal(
    extracting: Extracting, source: OracleServer, partition: Partition, code: int
) -> None:
    """An internal error of the database, also where the driver says that the connection was closed."""
    source.fault("error", code, after_rows=20, times=1, **CHUNKS)
    assert f"ORA-{code:05d}" in extracting.fails(Terminal, partition)


def test_a_call_that_never_answers_ends_at_its_time_limit(
    extracting: Extracting, source: OracleServer, partition: Partition
) -> None:
    """`call_timeout_s` bounds each call; it is tried with twice and four times that limit, and never again."""
    source.fault("delay", 60, **CHUNKS)
    began = time.monotonic()
    message = extracting.fails(CallTimedOut, partition, call_timeout_s=0.5)
    assert "needed longer than 2 s" in message
    assert "KPC__ORACLE__CALL_TIMEOUT_S" in message
    assert 3.5 <= time.monotonic() - began < 20


def test_a_slow_call_succeeds_with_a_longer_limit(
    extracting: Extracting, source: OracleServer, partition: Partition
) -> None:
    """One chunk that needs more than the limit is read with twice that; the others are read once."""
    source.fault("delay", 2.5, times=1, **CHUNKS)
    workspace = extracting.workspace(call_timeout_s=2.0)  # a busy machine may need longer, up to four times that
    assert oracle_extract.materialize(PartitionContext(workspace, partition)).rows > 0


def test_a_silent_listener_ends_at_its_time_limit(
    extracting: Extracting, source: OracleServer, partition: Partition
) -> None:
    """A listener that falls silent between two chunks is as bad as one that was never there."""
    workspace = extracting.workspace()
    workspace.environment  # noqa: B018  read before the listener falls silent
    source.fault("silent")
    began = time.monotonic()
    with pytest.raises(OracleDown, match="sent nothing"):
        oracle_extract.materialize(PartitionContext(workspace, partition))
    assert time.monotonic() - began < 10


def test_wrong_credentials_name_the_settings(extracting: Extracting, partition: Partition) -> None:
    """The password itself is not in the message."""
    message = extracting.fails(ConfigError, partition, password=SecretStr("wr0ng-Value"))
    assert "ORA-01017" in message
    assert "KPC__ORACLE__PASSWORD" in message
    assert "wr0ng-Value" not in message


@pytest.mark.parametrize(
    ("code", "kind", "remedy"),
    [
        (28000, ConfigError, "unlock"),
        (28001, ConfigError, "renew"),
        (1045, ConfigError, "kpc preflight"),
        (18, OracleDown, "repeated"),
        (1033, OracleDown, "repeated"),
        (1034, OracleDown, "repeated"),
        (12514, ConfigError, "service name"),
        (12505, ConfigError, "service name"),
        (12528, OracleDown, "repeated"),
        (12541, OracleDown, "repeated"),
        (12516, OracleDown, "repeated"),
    ],
)
def test_a_refused_connection_is_told_apart(
    extracting: Extracting, source: OracleServer, partition: Partition, code: int, kind: type[KpcError], remedy: str
) -> None:
    """What an operator can mend stops; what passes may be repeated."""
    source.fault("refuse", code)
    assert remedy in extracting.fails(kind, partition)


def test_an_unknown_service_is_named(extracting: Extracting, source: OracleServer, partition: Partition) -> None:
    """The listener's own refusal, without a fault."""
    address = source.settings.dsn.rpartition("/")[0]
    assert "NOSUCH" in extracting.fails(ConfigError, partition, dsn=f"{address}/NOSUCH")


@pytest.mark.parametrize("end", ["fin", "rst"])
def test_a_listener_that_hangs_up_may_be_tried_again(
    extracting: Extracting, source: OracleServer, partition: Partition, end: str
) -> None:
    """Also from one chunk to the next."""
    source.fault("hang_up", end)
    assert "repeated" in extracting.fails(OracleDown, partition)


def test_no_room_for_a_session_may_be_tried_again(
    extracting: Extracting, source: OracleServer, partition: Partition
) -> None:
    """ORA-00018 of a database that is full; it is no fault of ours."""
    with source.connect():
        source.fault("session_limit", 1)
        assert "ORA-00018" in extracting.fails(OracleDown, partition)


@pytest.fixture
def visitor(source: OracleServer) -> Iterator[dict[str, object]]:
    """Settings of a user who may log in and read V$DATABASE, and has no table yet."""
    for sql in (
        'CREATE USER visitor IDENTIFIED BY "Visitor-1"',
        "GRANT CREATE SESSION TO visitor",
        "GRANT SELECT ON V_$DATABASE TO visitor",
    ):
        source.admin("POST", "sql", {"sql": sql})
    yield {"user": "visitor", "password": SecretStr("Visitor-1"), "owner": "KPC"}
    source.admin("POST", "sql", {"sql": "DROP USER visitor CASCADE"})


def test_each_missing_privilege_names_its_grant(
    extracting: Extracting, source: OracleServer, partition: Partition, visitor: dict[str, object]
) -> None:
    """First SELECT, then FLASHBACK; with both the extract is made."""
    wanted = f"GRANT SELECT, FLASHBACK ON KPC.{TABLE} TO visitor"
    assert wanted in extracting.fails(SchemaDrift, partition, **visitor)
    source.admin("POST", "sql", {"sql": f"GRANT SELECT ON {TABLE} TO visitor"})
    message = extracting.fails(ConfigError, partition, **visitor)
    assert "ORA-01031" in message
    assert wanted in message
    source.admin("POST", "sql", {"sql": f"GRANT FLASHBACK ON {TABLE} TO visitor"})
    assert oracle_extract.materialize(PartitionContext(extracting.workspace(**visitor), partition)).rows > 0


def test_a_missing_view_of_the_scn_names_its_grant(
    extracting: Extracting, source: OracleServer, partition: Partition, visitor: dict[str, object]
) -> None:
    """Without V$DATABASE there is neither an identity nor an SCN."""
    source.admin("POST", "sql", {"sql": "REVOKE SELECT ON V_$DATABASE FROM visitor"})
    assert "GRANT SELECT ON V_$DATABASE TO visitor" in extracting.fails(ConfigError, partition, **visitor)


def test_a_privilege_revoked_mid_way_names_its_grant(
    extracting: Extracting, source: OracleServer, partition: Partition
) -> None:
    """Chunks read before are kept for the day when the privilege is back."""
    source.fault("error", 1031, skip=2, times=1, **CHUNKS)
    assert f"GRANT SELECT, FLASHBACK ON KPC.{TABLE} TO KPC" in extracting.fails(ConfigError, partition)
    oracle_extract.materialize(PartitionContext(extracting.workspace(), partition))
    assert chunk_reads(source)["chunk-00001"] == 1


def test_a_vanished_column_is_named(extracting: Extracting, source: OracleServer, partition: Partition) -> None:
    """Found by the comparison before a row is read."""
    source.admin("POST", "sql", {"sql": f"ALTER TABLE {TABLE} RENAME COLUMN NET_VAT TO NET_TAX"})
    try:
        assert "NET_VAT: declared as NUMBER, missing in Oracle" in extracting.fails(SchemaDrift, partition)
    finally:
        source.admin("POST", "sql", {"sql": f"ALTER TABLE {TABLE} RENAME COLUMN NET_TAX TO NET_VAT"})
