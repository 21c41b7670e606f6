"""The result of the campaign: a row per table, and the CPU time by component."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from kpc.airflow_client.records import AssetEvent
from kpc.catalog import Table
from kpc.demo.campaign import Progress
from kpc.demo.servers import ORACLE, SALESFORCE
from kpc.ledger import StageRun
from kpc.partition import Partition
from kpc.stages.names import ORACLE_EXTRACT, RECONCILED, SF_LOADED, STAGED_CSV, STAGES

CPU_S = "cpu_s"  # of an asset event: CPU seconds of the stage's own work (`dags/events.py`)
_WORST_FIRST = ("failed", "mismatch", "waiting", "sampled", "reconciled_with_exceptions", "reconciled")


@dataclass(frozen=True, slots=True)
class TableSummary:
    """One table over all its partitions; the fields are those of `--json`.

    `seconds` is wall time from the first start to the last end.
    """

    table: str
    partitions: int
    extracted: int
    staged: int
    unchanged: int
    rejected: int
    loaded: int
    failed: int
    level1: str
    level2: str
    level3: str
    state: str
    seconds: float
    records_per_s: float


@dataclass(frozen=True, slots=True)
class DemoSummary:
    """The whole campaign. `is_repeat_free`: the re-run of one partition succeeded and sent nothing."""

    seconds: float
    tables: tuple[TableSummary, ...]
    is_repeat_free: bool = True

    @property
    def ok(self) -> bool:
        return self.is_repeat_free and all(table.state == "reconciled" for table in self.tables)

    @property
    def exit_code(self) -> int:
        """0 all reconciled; 3 all compared, some with exceptions; 1 otherwise."""
        if self.ok:
            return 0
        if not self.is_repeat_free:
            return 1
        return 3 if all(table.state.startswith("reconciled") for table in self.tables) else 1

    def as_json(self) -> dict[str, object]:
        return {"ok": self.ok, "seconds": self.seconds, "tables": [asdict(table) for table in self.tables]}


def summarize(progress: Progress, seconds: float) -> DemoSummary:
    """Summarize the last known progress. Call it before the re-run, whose stage runs would replace the first ones."""
    return DemoSummary(round(seconds, 1), tuple(_table(progress, table) for table in progress.tables))


def _table(progress: Progress, table: Table) -> TableSummary:
    partitions = progress.of_table(table)
    rows = {stage: [progress.stages.get((p, stage)) for p in partitions] for stage in STAGES}
    extracted = sum(row.rows or 0 for row in rows[ORACLE_EXTRACT] if row is not None)
    seconds = _span_s(row for found in rows.values() for row in found if row is not None)
    return TableSummary(
        table=table.name,
        partitions=len(partitions),
        extracted=extracted,
        staged=_total(rows[STAGED_CSV], "staged"),
        unchanged=_total(rows[STAGED_CSV], "unchanged"),
        rejected=_total(rows[STAGED_CSV], "rejected"),
        loaded=_total(rows[SF_LOADED], "loaded"),
        failed=_total(rows[SF_LOADED], "failed"),
        level1=_verdict(rows[RECONCILED], "level1"),
        level2=_verdict(rows[RECONCILED], "level2"),
        level3=_verdict(rows[RECONCILED], "level3"),
        state=min((_state(progress, p) for p in partitions), key=_WORST_FIRST.index),
        seconds=round(seconds, 1),
        records_per_s=round(extracted / seconds, 1) if seconds else 0.0,
    )


def _total(rows: Iterable[StageRun | None], name: str) -> int:
    return sum(int((row.detail or {}).get(name, 0)) for row in rows if row is not None)


def _verdict(rows: Iterable[StageRun | None], level: str) -> str:
    """The combined verdict: `fail` if one partition failed, `pass` only if every partition passed."""
    found = [str((row.detail or {}).get(level, "skipped")) if row is not None else "skipped" for row in rows]
    return next((verdict for verdict in ("fail", "skipped") if verdict in found), "pass")


def _state(progress: Progress, partition: Partition) -> str:
    booked = progress.stages.get((partition, RECONCILED))
    if booked is not None and booked.state == "mismatch":
        return "mismatch"
    if progress.has_failed(partition):
        return "failed"
    if booked is None or not progress.has_done(partition, RECONCILED):
        return "waiting"
    return booked.state


def _span_s(rows: Iterable[StageRun]) -> float:
    """Wall seconds from the first start to the last end."""
    spans = [(row.started_utc, row.finished_utc) for row in rows if row.finished_utc is not None]
    if not spans:
        return 0.0
    ended: list[datetime] = [end for _, end in spans if end is not None]
    return (max(ended) - min(start for start, _ in spans)).total_seconds()


@dataclass(frozen=True, slots=True)
class TimeSplit:
    """CPU seconds by component."""

    airflow: float
    own_work: float
    great_expectations: float
    emulators: float
    postgres: float
    demo: float

    def __str__(self) -> str:
        total = sum(asdict(self).values()) or 1.0
        parts = (
            f"{name.replace('_', ' ')} {value:.0f} s ({value / total:.0%})" for name, value in asdict(self).items()
        )
        return ", ".join(parts)


def split_time(servers: Mapping[str, float], events: Iterable[AssetEvent], *, demo_s: float) -> TimeSplit:
    """Split the servers' CPU seconds by component; the stages' own share comes from their asset events."""
    used = [event.extra for event in events]
    own = sum(float(extra.get(CPU_S, 0)) for extra in used)
    checks = sum(float(extra.get("detail", {}).get("checks_cpu_ms", 0)) for extra in used) / 1000
    airflow = sum(value for name, value in servers.items() if name.startswith(("airflow", "worker")))
    return TimeSplit(
        airflow=airflow - own,
        own_work=own - checks,
        great_expectations=checks,
        emulators=servers.get(ORACLE, 0.0) + servers.get(SALESFORCE, 0.0),
        postgres=servers.get("postgres", 0.0),
        demo=demo_s,
    )
