"""The log as JSON lines; the last line is its head, an anchor to be kept where the ledger's owner cannot write."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kpc.campaign.audit.anchors import HEAD
from kpc.ledger import AuditEntry, Ledger
from kpc.ledger.schema import canonical_json


def export_log(ledger: Ledger) -> Iterator[str]:
    """One line per entry, oldest first, and one for the head."""
    entries: list[AuditEntry] = ledger.audit.entries()
    for entry in entries:
        yield canonical_json(as_json(entry))
    seq, digest = (entries[-1].seq, entries[-1].entry_hash) if entries else ledger.audit.head()
    yield canonical_json({HEAD: {"seq": seq, "entry_hash": digest}})


def as_json(entry: AuditEntry) -> dict[str, Any]:
    """An entry as plain data; `at_utc` is written as its hash covers it."""
    names = AuditEntry.__slots__
    return {name: getattr(entry, name) for name in names} | {"at_utc": f"{entry.at_utc:%Y-%m-%dT%H:%M:%S.%fZ}"}
