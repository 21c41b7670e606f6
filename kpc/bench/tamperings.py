"""Tamperings with a finished campaign's ledger, files and results: what `kpc audit` and certificates must find.

    find_tamperings(CampaignFolders(ledger, staging, docs), scratch)

Each tampering is done to a copy of the folders by somebody who may write everywhere: the ledger's triggers are dropped
first. Needs a ledger in SQLite, of a campaign that was planned, reconciled in full and signed off.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from kpc.bench.forgeries import (
    empty_log,
    forge_last_entry,
    new_ledger,
    rewrite_log,
    sql,
    swap_entries,
    take_back_tail,
)
from kpc.campaign.audit import Places, check_audit
from kpc.campaign.certificates import Certificate, certificate_files, check_certificate
from kpc.ledger import open_ledger
from kpc.storage.store import Store, sha256_of

_VERDICT = "(SELECT max(id) FROM stage_run WHERE stage = 'reconciled')"


@dataclass(frozen=True, slots=True)
class CampaignFolders:
    """The ledger's file, the staging root and the folder of the Data Docs."""

    ledger: Path
    staging: Path
    docs: Path

    def copied(self, folder: Path) -> CampaignFolders:
        """A copy of all three in `folder`."""
        found = CampaignFolders(folder / "ledger.db", folder / "staging", folder / "docs")
        folder.mkdir(parents=True)
        with closing(sqlite3.connect(self.ledger)) as source, closing(sqlite3.connect(found.ledger)) as target:
            source.backup(target)
        shutil.copytree(self.staging, found.staging)
        shutil.copytree(self.docs, found.docs)
        return found

    def last_file(self, pattern: str) -> Path:
        """The last file, by path, of the staging root or the Data Docs that matches. Raises `ValueError` for none."""
        root = self.docs if pattern.startswith("gx/") else self.staging
        found = sorted(root.glob(pattern))
        if not found:
            raise ValueError(f"The campaign has no file {pattern} to tamper with.")
        return found[-1]


@dataclass(frozen=True, slots=True)
class TamperingsFound:
    """How many tamperings were planted and found; `missed` names the others.

    `false_alarms` are findings in the untouched folders.
    """

    planted: int
    found: int
    missed: tuple[str, ...]
    false_alarms: tuple[str, ...]


Plant = Callable[[CampaignFolders], None]


def find_tamperings(campaign: CampaignFolders, scratch: Path) -> TamperingsFound:
    """Plant each tampering in a copy below `scratch` and look for it. Raises `ValueError` for another campaign."""
    missed = []
    for number, (name, plant) in enumerate(TAMPERINGS.items()):
        copy = campaign.copied(scratch / f"tampering-{number}")
        plant(copy)
        if not findings(copy):
            missed.append(name)
        shutil.rmtree(scratch / f"tampering-{number}")
    untouched = campaign.copied(scratch / "untouched")
    alarms = findings(untouched)
    shutil.rmtree(scratch / "untouched")
    return TamperingsFound(len(TAMPERINGS), len(TAMPERINGS) - len(missed), tuple(missed), tuple(alarms))


def findings(campaign: CampaignFolders) -> list[str]:
    """What `kpc audit verify --files` and `kpc certificate verify` say of the folders."""
    with closing(open_ledger(f"sqlite:///{campaign.ledger}")) as ledger:
        found = check_audit(ledger, Places(Store(campaign.staging), campaign.docs), reads_all=True).findings
    for path in certificate_files(campaign.staging):
        found += check_certificate(path).findings
    return found


def _sql(*statements: str) -> Plant:
    return lambda campaign: sql(campaign.ledger, *statements)


def _edit(pattern: str, change: Callable[[str], str]) -> Plant:
    def plant(campaign: CampaignFolders) -> None:
        path = campaign.last_file(pattern)
        before = path.read_text(encoding="utf-8")
        after = change(before)
        if after == before:
            raise ValueError(f"{path} has nothing to change.")
        path.write_text(after, encoding="utf-8")

    return plant


def _remove(pattern: str) -> Plant:
    return lambda campaign: campaign.last_file(pattern).unlink()


def _replaced(old: str, new: str) -> Callable[[str], str]:
    return lambda text: text.replace(old, new)


def _flip_last_byte(pattern: str) -> Plant:
    """The same size, another content."""

    def plant(campaign: CampaignFolders) -> None:
        path = campaign.last_file(pattern)
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))

    return plant


def _hide_in_manifest(campaign: CampaignFolders) -> None:
    """Change an extract's chunk, and its manifest so that both agree."""
    _flip_last_byte(f"{_EXTRACT}/*.parquet")(campaign)
    chunk = campaign.last_file(f"{_EXTRACT}/*.parquet")
    manifest = chunk.with_name("manifest.json")
    document = json.loads(manifest.read_text())
    for entry in document["chunks"]:
        if entry["name"] == chunk.name:
            entry["sha256"] = sha256_of(chunk)
    manifest.write_text(json.dumps(document))


def _reseal(change: Callable[[dict[str, object]], None]) -> Plant:
    """Change a certificate and compute its hash anew."""

    def plant(campaign: CampaignFolders) -> None:
        path = campaign.last_file(_CERTIFICATE)
        document = json.loads(path.read_text())
        change(document)
        document["signature"] = None
        document["sha256"] = Certificate.model_validate(document).digest()
        path.write_text(json.dumps(document))

    return plant


def _forge_verdict(campaign: CampaignFolders) -> None:
    """A verdict's number is changed, with the digest of its row and the whole log computed anew."""
    sql(campaign.ledger, f"UPDATE stage_run SET rows = rows + 1 WHERE id = {_VERDICT}")  # noqa: S608  a constant
    rewrite_log(campaign.ledger)


_EXTRACT, _LOADED = "*/*/*/*/*/extract", "*/*/*/*/*/loaded-*"
_CERTIFICATE = "*/*/*/*/*/reconciled/certificate-*.json"
_REPORT = "*/*/*/*/*/reconciled/report.json"
_RESULT = "gx/uncommitted/validations/**/*.json"

TAMPERINGS: dict[str, Plant] = {
    "a verdict changed": _sql(f"UPDATE stage_run SET state = 'mismatch' WHERE id = {_VERDICT}"),  # noqa: S608
    "a stage run's rows changed": _sql("UPDATE stage_run SET rows = rows + 1 WHERE stage = 'sf_loaded'"),
    "a stage run's person changed": _sql("UPDATE stage_run SET actor = 'somebody' WHERE id = 1"),
    "a stage run removed": _sql(f"DELETE FROM stage_run WHERE id = {_VERDICT}"),  # noqa: S608
    "a stage run invented": _sql(
        "INSERT INTO stage_run SELECT id + 100000, source_id, target_id, table_name, partition_key, stage, generation, "
        "mapping_version, run_id, actor, mode, state, rows, bytes, detail, error, started_utc, finished_utc "
        "FROM stage_run WHERE id = 1"
    ),
    "a compared number changed": _sql("UPDATE reconciliation SET target_value = '1' WHERE id = 1"),
    "a difference declared equal": _sql("UPDATE reconciliation SET passed = NOT passed WHERE id = 1"),
    "a comparison removed": _sql("DELETE FROM reconciliation WHERE id = 1"),
    "an extract's SCN changed": _sql("UPDATE generation SET scn = scn + 1"),
    "an extract declared rolled back": _sql("UPDATE generation SET state = 'rolled_back'"),
    "an ingest job's id changed": _sql("UPDATE job SET job_id = '750000000000000AAA' WHERE id = 1"),
    "an ingest job removed": _sql("DELETE FROM job WHERE id = 1"),
    "an exception invented": _sql(
        "INSERT INTO migration_failed_records (source_id, target_id, table_name, partition_key, generation, "
        "mapping_version, chunk, external_id, error_code, error_class, message, fields, attempts, state, first_utc, "
        "last_utc) SELECT source_id, target_id, table_name, partition_key, id, spec_hash, 'chunk-00001.csv.gz', 'K', "
        "'X', 'data', '', '[]', 1, 'open', started_utc, started_utc FROM generation LIMIT 1"
    ),
    "a sign-off's note changed": _sql("UPDATE sign_off SET note = 'all is well' WHERE id = 1"),
    "a sign-off by somebody else": _sql("UPDATE sign_off SET actor = 'director', is_authenticated = 1 WHERE id = 1"),
    "a sign-off removed": _sql("DELETE FROM sign_off WHERE id = 1"),
    "an object's count changed": _sql("UPDATE object_check SET unknown = unknown + 1 WHERE id = 1"),
    "a campaign constant changed": _sql("UPDATE campaign_constant SET fingerprint = 'x'"),
    "the planned scope changed": _sql("UPDATE scope SET tables = '[]'"),
    "a mapping's declaration changed": _sql("UPDATE mapping_version SET external_id_version = 'x'"),
    "an audit entry edited": _sql("UPDATE migration_audit_log SET actor = 'x' WHERE seq = 2"),
    "an audit entry removed": _sql("DELETE FROM migration_audit_log WHERE seq = 2"),
    "audit entries exchanged": lambda campaign: swap_entries(campaign.ledger),
    "an audit entry forged at the end": lambda campaign: forge_last_entry(campaign.ledger),
    "the log's end removed, its head put back": lambda campaign: take_back_tail(campaign.ledger),
    "a verdict changed, the log computed anew": _forge_verdict,
    "the log emptied": lambda campaign: empty_log(campaign.ledger),
    "another ledger in its place": lambda campaign: new_ledger(campaign.ledger),
    "an extract's chunk changed": _flip_last_byte(f"{_EXTRACT}/*.parquet"),
    "an extract's chunk changed with its manifest": _hide_in_manifest,
    "an extract's manifest removed": _remove(f"{_EXTRACT}/manifest.json"),
    "a load's manifest changed": _edit(f"{_LOADED}/manifest.json", _replaced('"failed": 0', '"failed": 1')),
    "a report changed": _edit(_REPORT, _replaced('"exceptions": 0', '"exceptions": 1')),
    "a Great Expectations result changed": _edit(_RESULT, _replaced("true", "false")),
    "a Great Expectations result removed": _remove(_RESULT),
    "a certificate changed": _edit(_CERTIFICATE, _replaced('"issued_by": "', '"issued_by": "not ')),
    "a certificate changed and sealed again": _reseal(lambda document: document.update(issued_by="somebody")),
    "a certificate removed": _remove(_CERTIFICATE),
    "a sign-off's record changed": _edit("*/*/sign-offs/*.json", _replaced('"decision": "', '"decision": "not ')),
}
