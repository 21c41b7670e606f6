"""The tables that the extract benchmark reads, created in the emulator from its seeded sales.

`FRAME` is the reference frame of all speed figures: 20 columns (9 NUMBER, 8 VARCHAR2, 3 DATE) with NULLs, clustered by
date. `MIXED` holds the same rows, but adjacent rows belong to different months. `LINES` are sales lines with all their
38 columns, the widest rows to hold in memory.
"""

from __future__ import annotations

from dataclasses import replace

from kpc.bench.oracle_emulator import Emulator
from kpc.catalog.columns import amount, key_text, moment, words
from kpc.catalog.sales import SALES_M, SALES_MD
from kpc.catalog.table import Table
from kpc.catalog.types import DAY, Measure, Phase, Pii, TooLong, varchar2

MONTH = "2024-01"
MONTHS_MIXED = 6
_FRAME_PARTS = 5  # seeding creates one header per five rows; the frame holds each header five times
_LARGE_PARTS = 10

_AMOUNTS = (
    "VAT_AMT",
    "AMT_EXC_VAT",
    "AMT_INC_VAT",
    "EXTRA_DISC_VAT_AMT",
    "EXTRA_DISC_AMT_EXC_VAT",
    "EXTRA_DISC_AMT_INC_VAT",
    "NET_EXC_VAT",
    "NET_VAT",
    "NET_INC_VAT",
)

FRAME = Table(
    name="BENCH_FRAME",
    target="Bench_Frame__c",
    phase=Phase.SALES,
    rows_per_year=12_000_000,
    key=("SHOP_CODE", "BRANCH_CODE", "POS_NO", "SALE_NO"),
    month_column="SALE_DATE",
    day_field="Sale_Date__c",
    sessions=4,
    columns=(
        key_text("SHOP_CODE", varchar2(20)),
        key_text("BRANCH_CODE", varchar2(20)),
        key_text("POS_NO", varchar2(50)),
        key_text("SALE_NO", varchar2(50)),
        replace(moment("SALE_DATE"), type=DAY),
        moment("DOC_DATE"),
        moment("TRANS_DATE"),
        *(amount(name) for name in _AMOUNTS),
        words("MEMBER_ID", 30),
        words("NAME", 200, pii=Pii.AS_IS),
        words("FLIGHT_NO", 20),
        words("VOID_REASON", 300, field_length=255, too_long=TooLong.TRUNCATE),
    ),
    measures=tuple(Measure(name) for name in _AMOUNTS[:3]),
)
MIXED = replace(FRAME, name="BENCH_MIXED")
LINES_SMALL = replace(SALES_MD, name="BENCH_LINES_SMALL")
LINES_LARGE = replace(SALES_MD, name="BENCH_LINES_LARGE")

TABLES = {table.name: table for table in (FRAME, MIXED, LINES_SMALL, LINES_LARGE)}

# Text columns of the seeded headers that the frame holds as DATE.
_MOMENTS = {
    "SALE_DATE": "TO_DATE(SALE_DATE, 'YYYY-MM-DD')",
    "DOC_DATE": "TO_DATE(DOC_DATE, 'YYYY-MM-DD HH24:MI:SS')",
    "TRANS_DATE": "TO_DATE(TRANS_DATE, 'YYYY-MM-DD HH24:MI:SS')",
}


def create_frame(emulator: Emulator, rows: int) -> None:
    """Create `FRAME` with `rows` rows of one month, in the order of that month's headers."""
    columns = ", ".join(f"{_MOMENTS[c.name]} AS {c.name}" if c.name in _MOMENTS else c.name for c in FRAME.columns)
    part = f"SELECT {columns} FROM {SALES_M.name} WHERE ROWNUM <= {rows // _FRAME_PARTS}"  # noqa: S608  our own names
    emulator.execute(f"CREATE TABLE {FRAME.name} AS {part}")
    emulator.execute(*[f"INSERT INTO {FRAME.name} {part}"] * (_FRAME_PARTS - 1))


def create_mixed(emulator: Emulator) -> None:
    """Create `MIXED` from `FRAME`: each row belongs to a different month than the row before it."""
    moved = f"ADD_MONTHS(SALE_DATE, MOD(ROWNUM, {MONTHS_MIXED})) AS SALE_DATE"
    columns = ", ".join(moved if c.name == "SALE_DATE" else c.name for c in FRAME.columns)
    emulator.execute(f"CREATE TABLE {MIXED.name} AS SELECT {columns} FROM {FRAME.name}")  # noqa: S608  our own names


def create_lines(emulator: Emulator, rows: int) -> None:
    """Create `LINES_SMALL` with `rows` rows of one month and `LINES_LARGE` with ten times as many."""
    part = f"SELECT * FROM {LINES_SMALL.name}"  # noqa: S608  our own names
    first = f"SELECT * FROM {SALES_MD.name} WHERE ROWNUM <= {rows}"  # noqa: S608  our own names
    emulator.execute(f"CREATE TABLE {LINES_SMALL.name} AS {first}", f"CREATE TABLE {LINES_LARGE.name} AS {part}")
    emulator.execute(*[f"INSERT INTO {LINES_LARGE.name} {part}"] * (_LARGE_PARTS - 1))
