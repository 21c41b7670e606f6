"""SIGKILL at any point of an extraction, then the same again: the staged rows are those of an extract nobody killed."""

from __future__ import annotations

import gzip
import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from checkout import SUPPORT
from emulated_org import Emulator
from oracle_source import OracleServer, road_settings

from assets.graph import materialize_lineage
from assets.oracle_extract import oracle_extract
from assets.staged_csv import staged_csv
from kpc.partition import Partition, find_partition
from kpc.settings import SalesforceSettings
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace, open_workspace

CHUNK_ROWS = 60
HEADERS = find_partition("KPS_T_SALES_M", "2024-01")
WEB = find_partition("KPS_WEB_SALES", "ALL")
PATIENCE_S = 60


class Killing:
    """One staging directory and ledger; extracts run in processes of their own and are killed."""

    def __init__(
        self, folder: Path, oracle: OracleServer, salesforce: SalesforceSettings, partition: Partition
    ) -> None:
        self.folder = folder
        self.folder.mkdir(parents=True, exist_ok=True)
        self.oracle = oracle
        self.salesforce = salesforce
        self.partition = partition
        self.kills = 0
        self._scope = ExitStack()

    def workspace(self, run_id: str = "run") -> Workspace:
        settings = road_settings(self.folder, self.oracle.settings, self.salesforce)
        settings.staging.chunk_rows = CHUNK_ROWS
        settings.reconcile.second_opinion = "off"  # the emulator would plan each of many small chunks for a second
        settings.staging.batch_rows = 10
        return self._scope.enter_context(open_workspace(settings, run_id=run_id, actor="test"))

    def start(self, *point: str) -> subprocess.Popen[bytes]:
        oracle = {**self.oracle.settings.model_dump(), "sessions": 1}
        oracle["password"] = self.oracle.settings.password.get_secret_value()
        org = {**self.salesforce.model_dump(), "client_secret": self.salesforce.client_secret.get_secret_value()}
        given = {"folder": str(self.folder), "oracle": oracle, "salesforce": org, "chunk_rows": CHUNK_ROWS}
        given["second_opinion"] = "off"
        (self.folder / "given.json").write_text(json.dumps(given, default=str))
        child = SUPPORT / "extract_child.py"
        command = [sys.executable, str(child), str(self.folder / "given.json")]
        command += [self.partition.table.name, self.partition.key, "run", *point]
        return subprocess.Popen(command, stderr=subprocess.DEVNULL)  # noqa: S603  our own program

    def kill_at(self, point: str) -> None:
        """An extract that is killed once a file called so was opened or got its name."""
        assert self.start(point).wait(PATIENCE_S) == -signal.SIGKILL, f"{point} was never reached"

    def kill_after(self, seconds: float) -> None:
        """An extract that is killed so many seconds after its start, unless it has ended by then."""
        process = self.start()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            self.kills += 1
        process.wait(PATIENCE_S)

    def staged_lines(self) -> list[bytes]:
        """Finish the extract, stage it, and give the rows that would travel, without the generation's mark."""
        workspace = self.workspace()
        result = oracle_extract.materialize(PartitionContext(workspace, self.partition))
        assert result.rows > 0
        staged = staged_csv.materialize(PartitionContext(workspace, self.partition))
        folder = PartitionContext(workspace, self.partition).paths.generation(result.generation).folder
        chunks = [gzip.decompress(path.read_bytes()) for path in sorted(folder.glob("staged-*/chunk-*.csv.gz"))]
        lines = [line.replace(result.generation.encode(), b"") for chunk in chunks for line in chunk.splitlines()]
        assert staged.rows > 0
        # Of the root's own mark a kill may leave an empty .part; in a table's folders nothing may be left.
        left = self.folder.glob("staging/*/**/*")
        assert not [path for path in left if path.name.endswith(".part")]
        return lines

    def close(self) -> None:
        self._scope.close()


@pytest.fixture
def killing(tmp_path: Path, oracle: OracleServer, salesforce: SalesforceSettings) -> Iterator[Callable[[str], Killing]]:
    made: list[Killing] = []

    def make(name: str) -> Killing:
        made.append(Killing(tmp_path / name, oracle, salesforce, HEADERS))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize(
    "point",
    ["ledger.db", "plan.json", ".chunk-00001.*.part", "chunk-00002.parquet", "chunk-00003.json", "manifest.json"],
)
def test_a_kill_at_each_phase_changes_no_staged_row(killing: Callable[[str], Killing], point: str) -> None:
    """Before the plan, after it, inside a chunk, between a chunk and its mark, before the seal and after it."""
    undisturbed, killed = killing("undisturbed"), killing("killed")
    killed.kill_at(point)
    assert killed.staged_lines() == undisturbed.staged_lines()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_kills_at_random_moments_change_no_staged_row(killing: Callable[[str], Killing]) -> None:
    """Forty extracts, each killed up to three times at moments drawn from a seed."""
    draw = random.Random(2026)  # noqa: S311  a test
    expected = killing("undisturbed").staged_lines()
    kills = 0
    for number in range(40):
        killed = killing(f"killed-{number}")
        for _ in range(draw.randint(1, 3)):
            killed.kill_after(draw.uniform(0.8, 4.0))
        kills += killed.kills
        assert killed.staged_lines() == expected
    assert kills > 20


@pytest.mark.parametrize(
    "point",
    ["changes/chunk-00001.json", "changes/.keys.*.part", "changes/keys.json", "extract/chunk-00001.parquet"],
)
def test_a_kill_while_changes_are_merged_changes_no_staged_row(
    tmp_path: Path, oracles: Callable[..., OracleServer], emulated: Callable[..., Emulator], point: str
) -> None:
    """The rows to send are those of an undisturbed incremental run over the same load."""
    source = oracles("--rows", "20000", "--months", "2024-01")
    found = {}
    for name in ("undisturbed", "killed"):
        source.execute("UPDATE KPS_WEB_SALES SET TOTAL_AMT = 1, UPDATEDDATE = DATE '2024-01-15'")
        # The newest change that the base holds: rows from an hour before it on are read again, fewer than half of all.
        source.execute("UPDATE KPS_WEB_SALES SET UPDATEDDATE = DATE '2024-02-01' WHERE ORDER_NO LIKE '%7'")
        killing = Killing(tmp_path / name, source, emulated().settings, WEB)
        list(materialize_lineage(PartitionContext(killing.workspace(), WEB)))
        source.execute(
            "UPDATE KPS_WEB_SALES SET TOTAL_AMT = 2, UPDATEDDATE = DATE '2024-03-01' WHERE ORDER_NO LIKE '%3'"
        )
        if name == "killed":
            killing.kill_at(point)
        found[name] = killing.staged_lines()
        killing.close()
    assert found["killed"] == found["undisturbed"]
    assert len(found["killed"]) > 5
