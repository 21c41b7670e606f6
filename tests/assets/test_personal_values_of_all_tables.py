"""Personal data at rest, all tables: a value planted in each personal column lies only where the data map says.

Each value comes in four ways: in Oracle, in a row that staging rejects, typed by a person into refused rows, and
written into the record in Salesforce, before the load and after it. All work is done by commands.
"""

from __future__ import annotations

import csv
import gzip
import io
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pytest
from command_line import environment_of
from emulated_org import Emulator, start_emulator
from oracle_source import OracleServer, start_oracle
from planted_values import Origin, PlantedValue, personal_columns, planted_values
from typer.testing import CliRunner

from kpc.campaign.data_map import data_map_of
from kpc.campaign.file_kinds import FileKind, LastingKind, kind_of
from kpc.campaign.target_dry_run import made_up
from kpc.catalog import TABLES
from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID, Pii
from kpc.cli import app
from kpc.salesforce import Salesforce, connect
from kpc.settings import RetentionSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]  # test_personal_data.py is the short version
MONTH = "2024-01"
PERSONAL = {table.name for table, _ in personal_columns()}
SETTINGS = {
    "KPC__STAGING__ROOT": "staging",
    "KPC__RECONCILE__DOCS_ROOT": "data_docs",
    "KPC__LEDGER_URL": "sqlite:///ledger.db",
    "KPC__LOAD__PRE_IMAGE": "on",
    "KPC__SALESFORCE__ORG_ERROR_ROWS": "10000",
    "KPC__SALESFORCE__POLL_FIRST_S": "0.02",
}


@dataclass
class Journey:
    """All tables on their way; what the commands print and log is kept."""

    folder: Path
    source: OracleServer
    org: Emulator
    client: Salesforce
    printed: list[str] = field(default_factory=list)

    def kpc(self, *arguments: str, code: int | None = 0) -> str:
        environment = environment_of(self.source, self.org.settings) | SETTINGS
        told = CliRunner().invoke(app, list(arguments), env=environment)
        assert code in (told.exit_code, None), (arguments, told.output, told.exception)
        assert isinstance(told.exception, SystemExit | None), arguments
        self.printed.append(told.output)
        return told.stdout

    def run(self) -> None:
        self.kpc("plan", "--months", f"{MONTH}:1")
        for table in TABLES.values():
            key = MONTH if table.is_monthly else "ALL"
            if table.name in PERSONAL:
                self._with_corrections(table, key)
            else:
                self.kpc("run", table.name, key, "--json", code=None)  # some have a parent that was rejected

        self.kpc("status")
        self.kpc("docs")
        self.kpc("report")
        self.kpc("audit", "show", "--limit", "1000", "--json")
        self.kpc("audit", "export", "of-a-person/audit.jsonl")
        self.kpc("certificate", "list", "--json")

    def purge(self) -> None:
        """A person accepts everything, so that nothing is needed any more."""
        for table in TABLES:
            self.kpc("reconcile", table)
        self.kpc("sign-off", "migration", "--note", "checked")
        self.kpc("purge", "--due-now", "--reason", "the test is over", "--json")
        self.kpc("audit", "verify", "--files")

    def _with_corrections(self, table: Table, key: str) -> None:
        name = table.name
        for stage in ("oracle_extract", "staged_csv"):
            self.kpc("run", name, key, "--stage", stage, "--json")
        (index,) = self.folder.glob(f"staging/*/*/{table.slug}/{key}/*/staged-*/index.parquet")
        first = pl.read_parquet(index)["external_id"].sort()[0]
        edited = {each.column.field or "": each.text for each in values_of(table, Origin.EDITED)}
        parents = {
            each.relationship: {EXTERNAL_ID: "|".join(first.split("|")[: len(each.columns)])} for each in table.lookups
        }
        record = {**made_up(table), EXTERNAL_ID: first, **parents, **in_the_org(edited)}
        assert self.client.upsert_records(table.target, EXTERNAL_ID, [record])[0].error == ""
        self.org.switch(refuse_rows="INSUFFICIENT_ACCESS_OR_READONLY")
        self.kpc("run", name, key, "--stage", "sf_loaded", "--json")
        self.org.switch(refuse_rows="")
        self._correct(table, key)
        self.kpc("reconcile", name, key, "--json", code=3)
        soql = f"SELECT Id FROM {table.target} WHERE External_ID__c = '{first}'"
        found = next(iter(self.client.query(soql)))
        self.client.tell("PATCH", f"/sobjects/{table.target}/{found['Id']}", in_the_org(edited))
        self.kpc("reconcile", name, key, code=1)
        self.kpc("show", name, key)
        (differing,) = self.folder.glob(f"staging/*/*/{table.slug}/{key}/*/reconciled/differences-*.csv")
        self.kpc("run", name, key, "--only-keys", str(differing), "--json", code=3)

    def _correct(self, table: Table, key: str) -> None:
        """A person exports the refused rows, types into one of them, and sends all again."""
        mine = self.folder / "of-a-person"
        mine.mkdir(exist_ok=True)
        exported, edited = mine / f"{table.slug}.csv", mine / f"{table.slug}-edited.csv"
        self.kpc("failed", table.name, key, "--export", str(exported))
        with exported.open(encoding="utf-8-sig", newline="") as text:
            rows = list(csv.DictReader(text))
        typed = {each.column.field or "": each.text for each in values_of(table, Origin.TYPED)}
        rows[-1] |= in_the_org(typed)
        with edited.open("w", encoding="utf-8", newline="") as text:
            writer = csv.DictWriter(text, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows[-1:])
        self.kpc("failed", table.name, key, code=3)
        self.kpc("failed", table.name, key, "--import", str(edited), "--allow-fields", ",".join(typed))
        self.kpc("failed", table.name, key, "--retry", code=None)  # some have no parent


def values_of(table: Table, origin: Origin) -> list[PlantedValue]:
    return [each for each in planted_values(origin) if each.table is table and each.column.is_sent]


def in_the_org(values: dict[str, str]) -> dict[str, str]:
    """Days as Salesforce takes them."""
    return {name: text if "/" not in text else _iso(text) for name, text in values.items()}


def _iso(text: str) -> str:
    day, month, year = text.split("/")
    return f"{int(year) - 543}-{month}-{day}"


def plant(source: OracleServer) -> None:
    """Every row has its planted values; for each personal column another row of the table breaks a rule."""
    with source.connect() as connection:
        cursor = connection.cursor()
        for each in planted_values(Origin.SOURCE):
            cursor.execute(f"UPDATE {each.table.name} SET {each.column.name} = :1", [each.text])
        taken: dict[str, int] = {}
        for each in planted_values(Origin.REJECTED):
            name = each.table.name
            rows = [row for (row,) in cursor.execute(f"SELECT ROWID FROM {name} ORDER BY ROWID")]
            taken[name] = taken.get(name, 0) + 1
            cursor.execute(
                f"UPDATE {name} SET {each.column.name} = :1 WHERE ROWID = :2", [each.text, rows[-taken[name]]]
            )
        connection.commit()


@dataclass
class Found:
    """What the journey left: each file's text in lower case by its path, and all that was printed or logged."""

    files: dict[Path, str]
    after_purge: dict[Path, str]
    said: str


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Found]:
    """All tables through all stages; then everything that holds rows is purged."""
    place = tmp_path_factory.mktemp("personal")
    folder = place / "everything"
    folder.mkdir()
    source, org = start_oracle(place / "oracle", "--rows", "1200", "--months", MONTH), start_emulator(place / "org")
    logged = io.StringIO()
    handler, root = logging.StreamHandler(logged), logging.getLogger()
    level = root.level
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        try:
            plant(source)
            made = Journey(folder, source, org, connect(org.settings))
            made.run()
            files = contents(folder)
            made.purge()
            yield Found(files, contents(folder), "".join((*made.printed, logged.getvalue())).lower())
        finally:
            root.setLevel(level)
            root.removeHandler(handler)
            org.stop()
            source.stop()


def contents(folder: Path) -> dict[Path, str]:
    return {path.relative_to(folder): _content(path).lower() for path in sorted(folder.rglob("*")) if path.is_file()}


def _content(path: Path) -> str:
    """Everything that a file holds, as text."""
    if path.suffix == ".parquet":
        digests = pl.col(pl.Binary).bin.encode("hex")  # which JSON cannot hold
        return pl.read_parquet(path).with_columns(digests).write_json()
    if path.suffix == ".db":
        with closing(sqlite3.connect(path)) as ledger:
            return "\n".join(ledger.iterdump())
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8", "replace")


def kind(path: Path) -> str:
    """The kind of a file, as the data map names it."""
    if path.parts[0] == "of-a-person":
        return "exports"
    if path.parts[0] == "data_docs":
        return LastingKind.REPORTS.value
    if path.name.startswith("ledger.db"):
        return "ledger and audit"
    if len(path.parts) < 6:  # staging/source/target/table/key/file
        return LastingKind.MANIFESTS.value
    found = kind_of(Path(*path.parts[5:])) or kind_of(Path(*path.parts[6:]))
    return "" if found is None else found.value


def allowed_kinds(value: PlantedValue) -> set[str]:
    """Where the data map says that the value may lie."""
    holds = set(FILES[value.table.name, value.column.name])
    if value.is_sent_as_it_is or value.origin is Origin.EDITED:  # somebody else's record is kept as it was
        return holds
    return holds & ({FileKind.EXTRACT.value} if value.origin is not Origin.TYPED else {"exports"})


FILES = {(each.table, each.column): each.files for each in data_map_of(RetentionSettings()).columns}
PLANTED = [each for origin in Origin for each in planted_values(origin)]


def test_each_personal_value_lies_only_where_the_data_map_says(found: Found) -> None:
    """Extract, chunks, rejects, results, exports, pre-images, index, reports, certificates, pages, ledger, audit."""
    wrong = {
        (str(value.column.name), value.origin.name, kind(path), path.name)
        for path, content in found.files.items()
        for value in PLANTED
        if value.is_in(content + str(path).lower()) and kind(path) not in allowed_kinds(value)
    }
    assert wrong == set()


def test_no_message_result_or_log_line_has_a_personal_value(found: Found) -> None:
    """What all commands printed, results for XCom among it, and all that was logged at the level DEBUG."""
    assert '"stage": "sf_loaded"' in found.said
    assert {(each.column.name, each.origin.name) for each in PLANTED if each.is_in(found.said)} == set()


def test_every_planted_value_was_there_to_be_found(found: Found) -> None:
    """Each that is read lies in its table's extract; what people and other systems wrote, in exports and pre-images."""
    seen = {
        (each.table.name, each.column.name, each.origin)
        for path, content in found.files.items()
        for each in PLANTED
        if each.is_in(content) and (path.parts[0] == "of-a-person" or each.table.slug in path.parts)
    }
    wanted = {(e.table.name, e.column.name, e.origin) for e in PLANTED if e.column.pii is not Pii.LEAVE_OUT}
    assert wanted - seen == set()
    assert {table.name for table, _ in personal_columns()} < set(TABLES)
    assert {path.parts[3] for path in found.files if path.parts[0] == "staging" and len(path.parts) > 4} == {
        table.slug for table in TABLES.values()
    }


def test_every_file_is_of_a_kind_with_owner_and_retention(found: Found) -> None:
    """A kind that is kept for good holds no personal column; every other one is purged."""
    mapped = {each.name: each for each in data_map_of(RetentionSettings()).files}
    assert {str(path) for path in found.files if kind(path) not in mapped} == set()
    kept = {each.name for each in mapped.values() if each.days is None} - {"exports"}
    assert [key for key, files in FILES.items() if kept & set(files) and key in PERSONAL_KEYS] == []
    written = {kind(path) for path in found.files}
    assert written >= set(mapped) - {FileKind.ROLLBACK, FileKind.COMPARISONS, LastingKind.CHECKSUMS}


PERSONAL_KEYS = {(table.name, column.name) for table, column in personal_columns()}


def test_a_purge_leaves_no_personal_value(found: Found) -> None:
    """Only what a person exported is left; it lies outside of the product."""
    left = {path for path, content in found.after_purge.items() for each in PLANTED if each.is_in(content)}
    assert {path.parts[0] for path in left} == {"of-a-person"}
    assert {kind(path) for path in found.after_purge} & set(FileKind) == set()
