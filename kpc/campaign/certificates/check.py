"""`kpc certificate verify`: a certificate's consistency, its signature, and the files beside it.

Needs neither the ledger nor a network.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from pydantic import ValidationError

from kpc.campaign.certificates.content import BucketSide, Certificate, ComparedValue
from kpc.campaign.certificates.signing import is_signed
from kpc.errors import ConfigError
from kpc.reconcile.comparison import Comparison
from kpc.stages.vouched_work import STAGING
from kpc.storage.store import sha256_of

_LARGEST = 500_000_000  # bytes; a certificate with 100,000 exceptions has 20 million


@dataclass
class CertificateCheck:
    """What a check found. `files_checked` of `files_named` are where the certificate says and were compared."""

    certificate: Certificate | None = None
    signed_by: str = ""  # the public key, if the signature is valid
    files_named: int = 0
    files_checked: int = 0
    findings: list[str] = field(default_factory=list)


def check_certificate(path: Path, public_key: str = "") -> CertificateCheck:
    """Check a certificate; with `public_key` (hexadecimal) it must be signed by that key. Raises `ConfigError`."""
    found = CertificateCheck()
    try:
        if path.stat().st_size > _LARGEST:
            raise ConfigError(
                f"{path} is too large for a certificate.", "Name a file that `kpc certificate list` shows."
            )
        text = path.read_text(encoding="utf-8")
        certificate = found.certificate = Certificate.model_validate_json(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(
            f"The certificate {path} cannot be read: {reason}.", "Name a file that `kpc certificate list` shows."
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        found.findings.append(f"{path} is not a certificate of this program, or was damaged: {where}: {first['msg']}.")
        return found
    found.findings += _seal(certificate, path, public_key)
    found.findings += [f"{path}: {finding}" for finding in _contradictions(certificate)]
    if certificate.signature is not None and not found.findings:
        found.signed_by = certificate.signature.public_key
    found.findings += _files(certificate, path, found)
    return found


def _seal(certificate: Certificate, path: Path, public_key: str) -> Iterator[str]:
    if certificate.sha256 != certificate.digest():
        yield f"{path} was changed after it was written: its content does not have the sha256 that it states."
    signature = certificate.signature
    if signature is not None and not is_signed(signature.public_key, signature.value, certificate.sha256):
        yield f"{path} was not signed by the key that it names."
    if public_key and signature is None:
        yield f"{path} is not signed."
    elif public_key and signature is not None and signature.public_key != public_key:
        yield f"{path} was signed by another key ({signature.public_key[:16]}...)."


def _contradictions(certificate: Certificate) -> Iterator[str]:
    """Where the certificate's own numbers contradict its statements."""
    yield from _numbers(certificate)
    yield from _records(certificate)
    if certificate.coverage.kind == "full":
        yield from _buckets(certificate)
    expected = _state(certificate)
    if certificate.state != expected:
        yield f"its numbers give the state {expected}, but it states {certificate.state}."
    stages = [stage.stage for stage in certificate.stages]
    if "reconciled" not in stages:
        yield "it names no reconciliation."


def _numbers(certificate: Certificate) -> Iterator[str]:
    if not certificate.comparisons or certificate.comparisons[0].measure != "rows":
        yield "it compares no row counts."
        return
    for one in certificate.comparisons:
        if _agrees(one) != one.agrees:
            said = "agree" if one.agrees else "differ"
            yield f"{one.measure}: it says that both sides {said}, but its numbers say the opposite."
    rows = certificate.comparisons[0]
    expected = (rows.source or Decimal(0)) - rows.excepted
    if certificate.coverage.expected != expected:
        yield f"it expects {certificate.coverage.expected:,} records, but its row counts give {expected:,}."
    rejected = len(certificate.exceptions) - certificate.kept
    if not 0 <= rows.excepted <= max(rejected, 0):
        yield f"{rows.excepted:,} rows are excepted, but {len(certificate.exceptions):,} are listed by key."


def _agrees(one: ComparedValue) -> bool:
    return Comparison(one.level, one.measure, one.source, one.target, one.excepted, one.tolerance).agrees


def _records(certificate: Certificate) -> Iterator[str]:
    records, coverage = certificate.records, certificate.coverage
    if records is None:
        if coverage.kind != "none" or coverage.compared:
            yield "it states a coverage, but has no result of comparing records."
        return
    if coverage.kind == "none":
        yield "it has a result of comparing records, but states that none were compared."
    if records.equal + records.missing + records.changed != coverage.compared:
        yield (
            f"{coverage.compared:,} records were compared, but {records.equal:,} equal, {records.missing:,} missing "
            f"and {records.changed:,} changed ones are counted."
        )
    opinion = coverage.second_opinion
    if opinion != "none" and opinion.compared > (held := _target_rows(certificate)):
        yield f"Oracle's opinion is compared with {opinion.compared:,} records, but Salesforce holds {held:,}."
    if coverage.kind == "full" and coverage.compared != coverage.expected:
        yield f"it states that all records were compared, but it counts {coverage.compared:,} of {coverage.expected:,}."


def _buckets(certificate: Certificate) -> Iterator[str]:
    for side, expected in (("source", certificate.coverage.expected), ("target", _target_rows(certificate))):
        rows = sum(found.rows for found in _side(certificate, side))
        if rows != expected:
            yield f"the buckets of the {side} hold {rows:,} records, but it counts {expected:,}."
    differing = [one for one in certificate.buckets if one.source != one.target]
    records = certificate.records
    explained = 0 if records is None else records.as_doubles
    if certificate.state != "mismatch" and len(differing) > explained:
        names = ", ".join(f"{one.bucket:03d}" if one.bucket is not None else "none" for one in differing[:10])
        yield f"the fingerprints of {len(differing):,} buckets differ between the two sides ({names})."
    for side in ("source", "target"):
        for found in _side(certificate, side):
            if found.rows == 0 and (int(found.sum, 16) or int(found.xor, 16)):
                yield f"a bucket of the {side} has a fingerprint, but no record."


def _side(certificate: Certificate, side: str) -> Iterator[BucketSide]:
    return (found for one in certificate.buckets if (found := getattr(one, side)) is not None)


def _target_rows(certificate: Certificate) -> int:
    return int(certificate.comparisons[0].target or 0) if certificate.comparisons else 0


def _state(certificate: Certificate) -> str:
    """The state that follows from the numbers."""
    records = certificate.records
    differs = records is not None and bool(records.missing or records.surplus or records.changed)
    opinion = certificate.coverage.second_opinion
    differs = differs or (opinion != "none" and bool(opinion.differing))
    if differs or not all(map(_agrees, certificate.comparisons)):
        return "mismatch"
    if certificate.coverage.kind != "full":
        return "sampled"
    return "reconciled_with_exceptions" if certificate.exceptions or certificate.corrected else "reconciled"


def _files(certificate: Certificate, path: Path, found: CertificateCheck) -> Iterator[str]:
    found.files_named = len(certificate.files)
    root = root_of(certificate, path)
    for entry in certificate.files:
        file = root / entry.name.removeprefix(f"{STAGING}/") if root and entry.name.startswith(f"{STAGING}/") else None
        if file is None or not file.is_file() or ".." in file.parts:
            continue
        found.files_checked += 1
        if file.stat().st_size != entry.bytes or sha256_of(file) != entry.sha256:
            yield f"{file} is not the file that the certificate names: its content changed."


def root_of(certificate: Certificate, path: Path) -> Path | None:
    """The staging root, if the certificate is in its proper folder below one; None for a copy elsewhere."""
    place = Path(certificate.place.removeprefix(f"{STAGING}/"))
    parts = path.resolve().parts
    if place.is_absolute() or parts[-len(place.parts) :] != place.parts:
        return None
    return Path(*parts[: -len(place.parts)])
