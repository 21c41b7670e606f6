"""Writing the certificate of a verdict, from what the reconciliation compared and what the ledger knows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kpc.campaign.certificates import content
from kpc.campaign.certificates.page import certificate_page
from kpc.campaign.certificates.signing import private_key, sign
from kpc.errors import Terminal
from kpc.ledger import StageRun
from kpc.repair.correction_log import logged_corrections
from kpc.stages.names import RECONCILED, STAGES
from kpc.stages.vouched_work import facts_of, file_name
from kpc.storage.manifests import ExtractManifest, LoadManifest, OpinionManifest, StagedManifest
from kpc.storage.store import MANIFEST, FileEntry, atomic_path
from kpc.tool_version import tool_version

if TYPE_CHECKING:
    from kpc.reconcile.bucket_fingerprints import BucketFingerprint
    from kpc.reconcile.partition_reconciliation import PartitionComparison
    from kpc.reconcile.records import RecordDifferences
    from kpc.reconcile.report import ReconciliationReport
    from kpc.stages.context import StageContext

PREFIX = "certificate-"
_KINDS = {"full": "full", "sample": "sample", "off": "none"}


def certify(
    context: StageContext, compared: PartitionComparison, mapping_version: str, results: Sequence[Path] = ()
) -> dict[str, Any]:
    """Write the certificate of the verdict that this run publishes, and its page.

    Returns what the report records about it. `results` are files that show the verdict elsewhere, such as Great
    Expectations' result. Each verdict has a certificate of its own, named after its stage run; none is overwritten.
    """
    folder = context.paths.generation(compared.report.generation).reconciled
    path = folder / f"{PREFIX}{context.stage_run}.json"
    if context.store.content(path) is not None:
        raise Terminal(
            f"{context.store.shown(path)} already exists, and a certificate is never overwritten.",
            f"Compare again: `kpc reconcile {context.table.name} {context.key}`.",
        )
    certificate = _signed(_certificate(context, compared, mapping_version, path, results), context)
    context.store.publish(folder, certificate, name=path.name)
    page = path.with_suffix(".html")
    with atomic_path(page) as temporary:
        temporary.write_text(certificate_page(certificate), encoding="utf-8")
    context.store.send(page)
    return {
        "certificate": certificate.sha256,
        "certified_by": context.stage_run,
        "files": (folder / f"report-{context.stage_run}.json", path, page, *results),
    }


def standing_certificate(context: StageContext, verdict: ReconciliationReport) -> dict[str, Any]:
    """What `certify` returns, for a weaker check: that changes no verdict, so the former certificate remains valid."""
    found: dict[str, Any] = {
        "files": (context.paths.generation(verdict.generation).reconciled / f"report-{context.stage_run}.json",)
    }
    for run in context.ledger.stages.newest_verdicts(context.environment):
        if (run.table_name, run.partition_key, run.generation) == (verdict.table, verdict.key, verdict.generation):
            found |= {name: (run.detail or {}).get(name) for name in ("certificate", "certified_by")}
    return {name: value for name, value in found.items() if value}


def _signed(certificate: content.Certificate, context: StageContext) -> content.Certificate:
    sha256, key = certificate.digest(), private_key(context.settings)
    update: dict[str, Any] = {"sha256": sha256}
    if key is not None:
        public_key, value = sign(key, sha256)
        update["signature"] = content.Signature(public_key=public_key, value=value)
    return certificate.model_copy(update=update)


def _certificate(
    context: StageContext,
    compared: PartitionComparison,
    mapping_version: str,
    path: Path,
    results: Sequence[Path],
) -> content.Certificate:
    report, records = compared.report, compared.records
    ledger, environment, now = context.ledger, context.environment, context.clock()
    generation = ledger.generations.find(report.generation)
    seq, entry_hash = ledger.audit.head()
    return content.Certificate(
        place=file_name(context, path),
        **{name: getattr(report, name) for name in ("table", "key", "source_id", "target_id", "generation", "scn")},
        mapping_version=mapping_version,
        external_id_version=context.table.external_id_version,
        tool_version=tool_version(),
        constants={one.name: one.fingerprint for one in ledger.constants.all(environment)},
        scn_utc=ledger.snapshots.time_of(environment, report.scn) or (generation.started_utc if generation else now),
        state=report.state,
        coverage=_coverage(report),
        stages=tuple(_stages(context, report)),
        comparisons=tuple(_comparisons(compared)),
        records=None if records is None else _counts(records),
        buckets=tuple(_buckets(records)) if records is not None and report.level3 == "full" else (),
        jobs=tuple(_jobs(context, report.generation, mapping_version)),
        exceptions=tuple(
            content.ExceptionEvidence(key=row.external_id, error_class=row.error_class, error_code=row.error_code)
            for row in compared.exceptions
        ),
        corrected=report.repaired,
        kept=report.kept,
        corrections=tuple(_corrections(context)),
        files=tuple(_files(context, report, mapping_version, results)),
        audit_head=content.AuditHead(seq=seq, entry_hash=entry_hash),
        issued_by=context.actor,
        issued_utc=now,
    )


def _coverage(report: ReconciliationReport) -> content.Coverage:
    opinion, names = report.second_opinion, content.OpinionCoverage.model_fields
    return content.Coverage.model_validate(
        {
            "kind": _KINDS[report.level3],
            "compared": report.records.compared if report.records else 0,
            "expected": report.source_rows - int(report.comparisons[0].excepted),
            "seed": report.seed,
            "second_opinion": {name: getattr(opinion, name) for name in names} if opinion else "none",
        }
    )


def _stages(context: StageContext, report: ReconciliationReport) -> Iterator[content.StageEvidence]:
    for stage in STAGES:
        run = context.ledger.stages.last(context.environment, context.partition, stage, generation=report.generation)
        if stage == RECONCILED:
            run = context.ledger.stages.find(context.stage_run)
        if run is not None:
            yield _stage(run, context, report)


def _stage(run: StageRun, context: StageContext, report: ReconciliationReport) -> content.StageEvidence:
    is_this = run.id == context.stage_run
    return content.StageEvidence(
        stage=run.stage,
        stage_run=run.id,
        actor=run.actor,
        run_id=run.run_id,
        started_utc=run.started_utc,
        finished_utc=context.clock() if is_this else run.finished_utc,
        state=report.state if is_this else run.state,
        rows=report.target_rows if is_this else run.rows,
    )


def _comparisons(compared: PartitionComparison) -> Iterator[content.ComparedValue]:
    for one in compared.comparisons:
        yield content.ComparedValue(
            level=one.level,
            measure=one.measure,
            source=one.source,
            excepted=one.excepted,
            target=one.target,
            tolerance=one.tolerance,
            agrees=one.agrees,
        )


def _counts(records: RecordDifferences) -> content.RecordCounts:
    names = content.RecordCounts.model_fields
    return content.RecordCounts(**{name: getattr(records, name) for name in names})


def _buckets(records: RecordDifferences) -> Iterator[content.BucketEvidence]:
    sides = [{one.bucket: one for one in side} for side in (records.source_buckets, records.target_buckets)]
    numbers = sorted(set(chain(*sides)), key=lambda bucket: (bucket is None, bucket or 0))
    for number in numbers:
        source, target = (_side(side.get(number)) for side in sides)
        yield content.BucketEvidence(bucket=number, source=source, target=target)


def _side(found: BucketFingerprint | None) -> content.BucketSide | None:
    if found is None:
        return None
    return content.BucketSide(rows=found.rows, sum=f"{found.sum:016x}", xor=f"{found.xor:016x}")


def _jobs(context: StageContext, generation: str, mapping_version: str) -> Iterator[content.JobEvidence]:
    for job in context.ledger.jobs.of_load(generation, mapping_version):
        yield content.JobEvidence(
            job_id=job.job_id,
            chunk=job.chunk,
            purpose=job.purpose,
            operation=job.operation,
            state=job.state,
            rows=job.rows,
        )


def _corrections(context: StageContext) -> Iterator[content.CorrectionEvidence]:
    for one in logged_corrections(context.ledger, context.environment, context.partition):
        yield content.CorrectionEvidence(
            key=one.cell.external_id,
            field=one.cell.field,
            old=one.cell.old,
            new=one.cell.new,
            actor=one.actor,
            at_utc=one.at_utc,
        )


def _files(
    context: StageContext, report: ReconciliationReport, version: str, results: Sequence[Path]
) -> Iterator[content.FileEvidence]:
    paths = context.paths.generation(report.generation)
    own = [paths.reconciled / f"report-{context.stage_run}.json", *results]
    folders = [paths.extract, paths.staged(version), paths.loaded(version), paths.opinions]
    for name, fact in facts_of(context, [*own, *(folder / MANIFEST for folder in folders)]).items():
        if fact is not None:
            yield content.FileEvidence(name=name, bytes=fact[0], sha256=fact[1])
    for folder, entries in zip(folders, _listed(context, folders), strict=True):
        for entry in entries:
            name = file_name(context, folder / entry.name)
            yield content.FileEvidence(name=name, bytes=entry.bytes, sha256=entry.sha256)


def _listed(context: StageContext, folders: Sequence[Path]) -> Iterator[tuple[FileEntry, ...]]:
    """The files that the manifests of extract, staging, load and later opinions list."""
    extract = context.store.manifest(folders[0], ExtractManifest)
    staged = context.store.manifest(folders[1], StagedManifest)
    loaded = context.store.manifest(folders[2], LoadManifest)
    yield extract.chunks if extract else ()
    yield staged.files if staged else ()
    yield loaded.files if loaded else ()
    opinions = context.store.manifest(folders[3], OpinionManifest)
    yield opinions.chunks if opinions else ()
