"""The log as JSON lines; the last line is its head, an anchor to be kept where the ledger's owner cannot write.

That line also has the sha256 of the lines before it and, if a key is set, an Ed25519 signature over itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kpc.campaign.audit.anchors import HEAD
from kpc.campaign.certificates.signing import is_signed, sign
from kpc.errors import ConfigError
from kpc.ledger import AuditEntry, Ledger
from kpc.ledger.schema import canonical_json

SHA256, SIGNATURE = "sha256", "signature"  # in the last line


def export_log(ledger: Ledger, key: Ed25519PrivateKey | None = None) -> Iterator[str]:
    """One line per entry, oldest first, and one for the head, signed with `key`."""
    entries: list[AuditEntry] = ledger.audit.entries()
    digest = hashlib.sha256()
    for entry in entries:
        line = canonical_json(as_json(entry))
        digest.update(f"{line}\n".encode())
        yield line
    seq, entry_hash = (entries[-1].seq, entries[-1].entry_hash) if entries else ledger.audit.head()
    last: dict[str, Any] = {HEAD: {"seq": seq, "entry_hash": entry_hash}, SHA256: digest.hexdigest()}
    if key is not None:
        public_key, value = sign(key, canonical_json(last))
        last[SIGNATURE] = {"public_key": public_key, "value": value}
    yield canonical_json(last)


def check_export(path: Path, public_key: str = "") -> list[str]:
    """A sentence for each way in which an exported log was altered; with `public_key` it must be signed by that key.

    Without a key, an export of an older version, which has no sha256, and a file of another kind have no findings.
    Raises `ConfigError` if the file cannot be read.
    """
    try:
        *lines, end = path.read_text(encoding="utf-8").splitlines() or [""]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"The export {path} cannot be read: {reason}.", "Name a file that exists.") from None
    last = _object(end)
    return list(_broken_seal(path, lines, last, public_key))


def _broken_seal(path: Path, lines: Iterable[str], last: dict[str, Any], public_key: str) -> Iterator[str]:
    signature = last.pop(SIGNATURE, None)
    signature = signature if isinstance(signature, dict) else {}
    signed_by, value = str(signature.get("public_key", "")), str(signature.get("value", ""))
    content = hashlib.sha256("".join(f"{line}\n" for line in lines).encode()).hexdigest()
    if HEAD in last and SHA256 in last and last[SHA256] != content:
        yield f"{path} was changed after it was exported: its lines do not have the sha256 that the last one states."
    if signature and not is_signed(signed_by, value, canonical_json(last)):
        yield f"{path} was not signed by the key that it names."
    if public_key and not signature:
        yield f"{path} is not a signed export."
    elif public_key and signed_by != public_key:
        yield f"{path} was signed by another key ({signed_by[:16]}...)."


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def as_json(entry: AuditEntry) -> dict[str, Any]:
    """An entry as plain data; `at_utc` is written as its hash covers it."""
    names = AuditEntry.__slots__
    return {name: getattr(entry, name) for name in names} | {"at_utc": f"{entry.at_utc:%Y-%m-%dT%H:%M:%S.%fZ}"}
