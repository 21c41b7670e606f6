"""`kpc bench reconcile`: a partition compared in full; speed, memory, and whether each planted difference is found.

The org and the sealed extract are made directly, without extracting or loading. The emulator runs as a process of its
own; each comparison is a process of its own, so that its CPU time and its peak memory are its alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from kpc.bench import text_comparison
from kpc.bench.data_docs import measure_data_docs
from kpc.bench.figures import Figure, Say, rounded
from kpc.bench.load import emulator
from kpc.bench.made_up_lines import MONTH, TABLE
from kpc.bench.made_up_partition import fill_org, new_org, reconcile, write_partition
from kpc.bench.planted_differences import Planted, findings, plant
from kpc.bench.processes import Cost, run_function
from kpc.bench.small_campaign import tampering_figures

ROWS = 10_000_000
SMALL_SHARE, PLANTED_SHARE = 10, 2  # the smaller comparison and the planted one, as parts of the rows
_TIMEOUT_S = 1_800.0
_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class _Made:
    """A partition and its org, on disk; `rows` lines."""

    folder: Path
    rows: int

    @property
    def data_file(self) -> Path:
        return self.folder / "org.duckdb"

    @contextmanager
    def org(self) -> Iterator[dict[str, str]]:
        """The running org: queries take the time that this machine needs, not that of a large org."""
        with emulator(self.folder / "emulator", data_file=self.data_file, scale="0") as facts:
            yield facts

    def arguments(self, org: Mapping[str, str]) -> dict[str, object]:
        return {"folder": str(self.folder / "partition"), "org": dict(org)}


def measure_reconcile(*, rows: int, say: Say) -> list[Figure]:
    """All figures. `rows`: lines of the largest comparison."""
    with TemporaryDirectory(prefix="kpc-bench-") as place:
        small = _make(Path(place, "small"), max(rows // SMALL_SHARE, 10_000), say)
        with small.org() as org:
            former = _former(small, org, say)
            now = _compare(small, org, say)
        figures = [Figure("CPU of the former comparison / today's", rounded(former.cpu_s / now.cpu_s), ">= 2")]
        large = _make(Path(place, "large"), rows, say)
        with large.org() as org:
            whole = _compare(large, org, say)
        figures += _speed(small, now, large, whole)
        say("Tamperings with a small campaign ...")
        campaign = Path(place, "campaign")
        campaign.mkdir()
        tampered, found = tampering_figures(campaign)
        for name in (*tampered.missed, *tampered.false_alarms):
            say(f"  {name}")
        figures += found
        say("Great Expectations and its pages ...")
        pages = Path(place, "docs")
        pages.mkdir()
        figures += measure_data_docs(pages)
        figures += _planted(_make(Path(place, "planted"), max(rows // PLANTED_SHARE, 15_000), say), say)
    return figures


def _make(folder: Path, rows: int, say: Say) -> _Made:
    say(f"{rows:,} lines of {TABLE.name} and their org ...")
    folder.mkdir(parents=True)
    made = _Made(folder, rows)
    org_id = new_org(made.data_file)
    parts = (
        (fill_org, {"data_file": str(made.data_file), "rows": rows}),
        (write_partition, {"folder": str(folder / "partition"), "org_id": org_id, "rows": rows}),
    )
    with ThreadPoolExecutor(len(parts)) as pool:
        list(pool.map(lambda part: run_function(*part, timeout_s=_TIMEOUT_S), parts))
    return made


def _compare(made: _Made, org: Mapping[str, str], say: Say) -> Cost:
    cost = run_function(reconcile, made.arguments(org), timeout_s=_TIMEOUT_S)
    say(f"  {_spent(made, cost)}: {cost.answer['state']}")
    return cost


def _former(made: _Made, org: Mapping[str, str], say: Say) -> Cost:
    wanted = made.arguments(org) | {"table": TABLE.name, "key": MONTH}
    cost = run_function(text_comparison.compare, wanted, timeout_s=_TIMEOUT_S)
    say(f"  {_spent(made, cost)} by canonical text, as formerly: {cost.answer:,} equal")
    return cost


def _spent(made: _Made, cost: Cost) -> str:
    each_us, peak_mb = cost.cpu_s / made.rows * 1e6, cost.peak_bytes / _MB
    return f"{made.rows:,} rows compared in {cost.wall_s:.1f} s, {each_us:.1f} us of CPU each, peak {peak_mb:.0f} MB"


def _speed(small: _Made, few: Cost, large: _Made, many: Cost) -> Iterator[Figure]:
    for made, cost in ((small, few), (large, many)):
        agreed = cost.answer["state"] == "reconciled" and cost.answer["records"]["equal"] == made.rows
        yield Figure(f"{made.rows:,} equal rows are found to be equal", float(agreed), ">= 1")
    yield Figure("rows compared per second of our CPU", rounded(large.rows / many.cpu_s), ">= 120,000")
    yield Figure("peak memory in MB", rounded(many.peak_bytes / _MB), "<= 500")
    growth = many.peak_bytes / few.peak_bytes
    yield Figure(f"peak memory at {large.rows:,} rows / at {small.rows:,}", rounded(growth), "<= 1.1")


def _planted(made: _Made, say: Say) -> Iterator[Figure]:
    planted = plant(made.data_file, made.rows)
    with made.org() as org:
        cost = _compare(made, org, say)
    found = findings(cost.answer["differing"])
    yield Figure("planted differences", float(len(planted)), ">= 1,000")
    yield Figure("of these found with key and fields", float(len(set(planted) & set(found))), f">= {len(planted):,}")
    false = set(found) - set(planted)
    for one in sorted(false, key=_key)[:5]:
        say(f"  false alarm: {one}")
    for one in sorted(set(planted) - set(found), key=_key)[:5]:
        say(f"  not found: {one}")
    yield Figure("false alarms", float(len(false)), "<= 0")


def _key(planted: Planted) -> str:
    return planted.external_id
