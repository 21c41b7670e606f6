"""A certificate can be checked without the ledger, and says no more than its numbers do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from emulated_org import Emulator
from lineage import results_by_stage
from oracle_source import OracleServer
from pydantic import SecretStr

from assets.reconciled import reconciled
from kpc.campaign.certificates import (
    Certificate,
    certificate_files,
    check_certificate,
    current_certificates,
    public_key_pem,
    read_public_key,
)
from kpc.errors import Mismatch
from kpc.partition import find_partition
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace

PARTITION = find_partition("KPS_R_EMAIL_TENANT", "ALL")


@pytest.fixture
def finished(
    oracle: OracleServer, emulated: Callable[..., Emulator], workspaces: Callable[..., Workspace]
) -> Iterator[PartitionContext]:
    workspace = workspaces(oracle, emulated().settings)
    workspace.settings.certificate_key = SecretStr("5" * 64)
    context = PartitionContext(workspace, PARTITION)
    results_by_stage(context)
    yield context


def _current(context: PartitionContext) -> Path:
    (found,) = current_certificates(context.workspace)
    assert found.is_current
    return found.path


def _change(path: Path, change: Callable[[dict[str, Any]], None], *, reseals: bool) -> None:
    document = json.loads(path.read_text())
    change(document)
    if reseals:
        document["sha256"] = Certificate.model_validate(document).digest()
        document["signature"] = None
    path.write_text(json.dumps(document))


def test_it_holds_what_the_verdict_is_based_on(finished: PartitionContext, tmp_path: Path) -> None:
    """Both sides, every bucket, who and when, the files; signed; a page beside it that loads nothing from elsewhere."""
    path = _current(finished)
    key = tmp_path / "public.pem"
    key.write_text(public_key_pem(finished.settings))
    check = check_certificate(path, read_public_key(key))
    assert check.findings == []
    found = check.certificate
    assert found is not None
    assert check.signed_by
    assert check.files_checked > 4
    assert [stage.stage for stage in found.stages] == ["oracle_extract", "staged_csv", "sf_loaded", "reconciled"]
    assert {stage.actor for stage in found.stages} == {"test"}
    assert found.coverage.kind == "full"
    assert found.coverage.compared == found.coverage.expected > 0
    opinion = found.coverage.second_opinion
    assert opinion != "none"
    assert (opinion.buckets, opinion.compared, opinion.differing) == (256, found.coverage.compared, 0)
    (bucket,) = found.buckets
    assert bucket.source == bucket.target
    assert bucket.source is not None
    assert bucket.source.rows == found.coverage.expected
    assert found.jobs
    assert found.jobs[0].job_id
    assert "time_zone" in found.constants
    assert found.scn_utc <= found.issued_utc
    page = path.with_suffix(".html").read_text(encoding="utf-8")
    assert found.sha256 in page
    assert f"{opinion.compared:,} records were compared with that, 0 differ" in page
    assert "0E-" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert path.stat().st_mode & 0o077 == 0


def test_each_verdict_has_its_own(finished: PartitionContext) -> None:
    """A weaker check writes none, and the former one remains valid; a new verdict does not change the former file."""
    first = _current(finished)
    content = first.read_bytes()
    reconciled.materialize(finished, level3="sample")
    assert _current(finished) == first
    reconciled.materialize(finished)
    assert _current(finished) != first
    assert first.read_bytes() == content
    assert len(list(certificate_files(finished.store.root))) == 2


def test_a_mismatch_is_certified_as_one(finished: PartitionContext) -> None:
    """The bucket's fingerprints differ, and nobody can call it reconciled."""
    target = PARTITION.table.target
    record = next(iter(finished.salesforce.query(f"SELECT Id FROM {target} LIMIT 1")))
    finished.salesforce.tell("PATCH", f"/sobjects/{target}/{record['Id']}", {"Email__c": "invented@example.org"})
    with pytest.raises(Mismatch):
        reconciled.materialize(finished)
    path = _current(finished)
    check = check_certificate(path)
    assert check.findings == []
    assert check.certificate is not None
    assert check.certificate.state == "mismatch"
    assert check.certificate.buckets[0].source != check.certificate.buckets[0].target
    _change(path, lambda document: document.update(state="reconciled"), reseals=True)
    assert any("give the state mismatch" in line for line in check_certificate(path).findings)


def _other_sum(document: dict[str, Any]) -> None:
    document["buckets"][0]["target"]["sum"] = "0" * 16


def _fewer_rows(document: dict[str, Any]) -> None:
    for side in ("source", "target"):
        document["buckets"][0][side]["rows"] -= 1


def _hidden_difference(document: dict[str, Any]) -> None:
    document["comparisons"][0]["target"] = "1"


def _other_opinion(**numbers: int) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["coverage"]["second_opinion"].update(numbers)


CONTRADICTIONS: dict[str, Callable[[dict[str, Any]], None]] = {
    "fingerprints of 1 buckets differ": _other_sum,
    "buckets of the source hold": _fewer_rows,
    "says that both sides agree": _hidden_difference,
    "records were compared, but": lambda document: document["coverage"].update(compared=0),
    "give the state reconciled": lambda document: document.update(state="reconciled_with_exceptions"),
    "give the state sampled": lambda document: document["coverage"].update(kind="sample"),
    "give the state mismatch": _other_opinion(differing=1),
    "Oracle's opinion is compared with 9,999,999 records": _other_opinion(compared=9_999_999),
    "its content changed": lambda document: document["files"][0].update(sha256="0" * 64),
    "names no reconciliation": lambda document: document.update(stages=[]),
}


def test_contradictions_are_found(finished: PartitionContext) -> None:
    """Even if the hash was recomputed; without that, or with a different key, the signature is invalid."""
    path = _current(finished)
    original = path.read_text()
    for finding, change in CONTRADICTIONS.items():
        path.write_text(original)
        _change(path, change, reseals=True)
        assert any(finding in line for line in check_certificate(path).findings), finding
        assert any("is not signed" in line for line in check_certificate(path, "0" * 64).findings)
        path.write_text(original)
        _change(path, change, reseals=False)
        assert any("changed after it was written" in line for line in check_certificate(path).findings)
    path.write_text(original)
    assert any("by another key" in line for line in check_certificate(path, "0" * 64).findings)


def test_a_certificate_of_an_older_version_is_still_right(finished: PartitionContext) -> None:
    """It does not say how many rows Oracle itself computed."""
    path = _current(finished)
    _change(path, lambda document: document["coverage"].update(second_opinion="none"), reseals=True)
    assert check_certificate(path).findings == []
