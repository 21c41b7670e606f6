"""Personal data at rest: what is left out is nowhere; what is masked or hashed is so in each file after the extract."""

from __future__ import annotations

import csv
import gzip
import io
import logging
import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from emulated_org import Emulator, start_emulator
from lineage import results_by_stage
from oracle_source import OracleServer, road_settings, start_oracle

from expectations import build_data_docs
from kpc.campaign.target_dry_run import made_up
from kpc.catalog import TABLES
from kpc.catalog.types import Pii
from kpc.partition import Partition
from kpc.repair.corrections import corrections_of
from kpc.repair.refused_rows import export_refused
from kpc.repair.send_refused import send_refused
from kpc.stages.context import PartitionContext
from kpc.stages.current_manifests import staged_manifest
from kpc.stages.workspace import open_workspace
from kpc.storage.layout import EXTRACT

HEADERS = TABLES["KPS_T_SALES_M"]
TABLE = replace(
    HEADERS,
    columns=tuple(replace(each, pii=Pii.MASK) if each.name == "NAME" else each for each in HEADERS.columns),
)
NAME, PASSPORT, BIRTH = "Zqname", "ZQPASS", "1903-02-01"  # nothing else in the test holds these
NEW_NAME, NEW_PASSPORT = f"{NAME} Corrected", f"{PASSPORT}99999"
PLANTED = (
    f"UPDATE KPS_T_SALES_M SET NAME = '{NAME} Somchai', PASSPORT_NO = '{PASSPORT}12345', BIRTH_DATE = '{BIRTH}'",
    # Two rows that staging rejects, because of the personal values themselves.
    f"UPDATE KPS_T_SALES_M SET NAME = '{NAME}' || CHR(1) || 'bell' WHERE ROWNUM = 1",
    f"UPDATE KPS_T_SALES_M SET PASSPORT_NO = '{PASSPORT}' || CHR(7) || 'bell' WHERE ROWNUM = 1",
)


@pytest.fixture(scope="module")
def travelled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A month through all stages: rejected, refused and corrected rows, pre-images, then loaded again.

    Gives the folder of all files, made under a umask of 000, and everything that was logged.
    """
    place = tmp_path_factory.mktemp("personal")
    source = start_oracle(place / "oracle", "--rows", "1200", "--months", "2024-01")
    org = start_emulator(place / "org")
    logged = io.StringIO()
    handler = logging.StreamHandler(logged)
    root = logging.getLogger()
    root.addHandler(handler)
    former, level = os.umask(0), root.level
    root.setLevel(logging.DEBUG)
    try:
        source.execute(*PLANTED)
        _travel(place / "everything", source, org)
        yield place / "everything", logged.getvalue()
    finally:
        os.umask(former)
        root.setLevel(level)
        root.removeHandler(handler)
        org.stop()
        source.stop()


def _travel(folder: Path, source: OracleServer, org: Emulator) -> None:
    from assets.oracle_extract import oracle_extract
    from assets.reconciled import reconciled
    from assets.sf_loaded import sf_loaded
    from assets.staged_csv import staged_csv

    folder.mkdir()
    settings = road_settings(folder, source.settings, org.settings)
    settings.load.pre_image = "on"
    settings.salesforce.org_error_rows = 10_000
    with open_workspace(settings, run_id="first", actor="test") as workspace:
        context = PartitionContext(workspace, Partition(TABLE, "2024-01"))
        oracle_extract.materialize(context)
        assert staged_csv.materialize(context).detail["rejected"] == 2
        _write_foreign(context)
        org.switch(refuse_rows="INSUFFICIENT_ACCESS_OR_READONLY")
        refused = sf_loaded.materialize(context).detail
        assert (refused["loaded"], refused["pre_image"]) == (0, 1)
        org.switch(refuse_rows="")
        exported = folder / "exported.csv"
        export_refused([context], TABLE, exported)
        edited = folder.parent / "edited.csv"  # the person's own file
        _edit(exported, edited)
        fields = "Name__c,Passport_No__c"
        send_refused(context, corrections_of(edited, TABLE, [context], fields)["2024-01"])
        send_refused(context)
        assert reconciled.materialize(context).state == "reconciled_with_exceptions"
    source.execute("UPDATE KPS_T_SALES_M SET RC_CODE = 'changed'")
    with open_workspace(settings, run_id="second", actor="test") as workspace:
        context = PartitionContext(workspace, Partition(TABLE, "2024-01"))
        assert results_by_stage(context, mode="full")["sf_loaded"].detail["loaded"] > 0
    build_data_docs(settings.reconcile.docs_root)


def _write_foreign(context: PartitionContext) -> None:
    """Somebody else's record with the id of one of the rows, so that the load keeps a pre-image."""
    index = context.paths.generation(staged_manifest(context).generation).staged(TABLE.mapping_version)
    (first,) = pl.read_parquet(index / "index.parquet")["external_id"].head(1)
    record = made_up(TABLE) | {"External_ID__c": first}
    assert context.salesforce.upsert_records(TABLE.target, "External_ID__c", [record])[0].error == ""


def _edit(exported: Path, edited: Path) -> None:
    """A person types personal values into the first row."""
    with exported.open(encoding="utf-8-sig", newline="") as text:
        rows = list(csv.DictReader(text))
    rows[0] |= {"Name__c": NEW_NAME, "Passport_No__c": NEW_PASSPORT}
    with edited.open("w", encoding="utf-8", newline="") as text:
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows[:1])


def _content(path: Path) -> str:
    """Everything that a file holds, as text."""
    if path.suffix == ".parquet":
        digests = pl.col(pl.Binary).bin.encode("hex")  # which JSON cannot hold
        return pl.read_parquet(path).with_columns(digests).write_json()
    content = path.read_bytes()
    return (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8", "replace")


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def test_no_file_after_the_extract_holds_a_personal_value(travelled: tuple[Path, str]) -> None:
    """Chunks, rejects, results, failed rows, export, corrections, index, pre-images, reports, pages, ledger and log."""
    folder, logged = travelled
    kinds = {path.suffixes[-1] if path.suffixes else "" for path in _files(folder)}
    assert {".parquet", ".gz", ".json", ".html", ".db", ".csv"} <= kinds
    assert len({path.parent.name.split("-")[0] for path in _files(folder)} & {"staged", "loaded", "pre"}) == 3
    in_extract = [path for path in _files(folder) if path.parent.name == EXTRACT]
    others = [path for path in _files(folder) if path.parent.name != EXTRACT]
    assert any(PASSPORT in _content(path) for path in in_extract)  # the source itself: hashed and masked when staged
    found = [(path.name, value) for path in others for value in (NAME, PASSPORT, BIRTH) if value in _content(path)]
    assert found == []
    assert [value for value in (NAME, PASSPORT, BIRTH) if value in logged] == []


def test_a_column_that_is_left_out_is_not_even_extracted(travelled: tuple[Path, str]) -> None:
    folder, _ = travelled
    assert [path.name for path in _files(folder) if BIRTH in _content(path)] == []
    assert "BIRTH_DATE" not in [each.name for each in TABLE.extracted_columns]
    for path in _files(folder):
        if path.parent.name == EXTRACT and path.suffix == ".parquet":
            assert "BIRTH_DATE" not in pl.read_parquet_schema(path)


def test_all_files_are_their_owners_alone(travelled: tuple[Path, str]) -> None:
    """Ledger, staging root, export and Data Docs, although the process's umask is 000."""
    folder, _ = travelled
    modes = {path.relative_to(folder): stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*")}
    assert [(str(path), oct(mode)) for path, mode in modes.items() if mode & 0o077] == []
