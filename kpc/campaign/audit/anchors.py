"""Anchors: heads of the audit log that were recorded outside of it.

Whoever can write to the ledger can recompute the whole chain after a change; but the chain then no longer has the
entries that an earlier certificate, report, sign-off or export names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kpc.campaign.audit.places import Places
from kpc.errors import ConfigError
from kpc.ledger import AuditEntry

HEAD = "audit_head"  # in a certificate, an export and a report: {"seq": ..., "entry_hash": ...}
_HASH = re.compile(r"[0-9a-f]{64}")
_IN_TEXT = re.compile(r"audit entry (\d+) \(([0-9a-f]{64})\)")  # as results and reports show it


@dataclass(frozen=True, slots=True)
class Anchor:
    """Entry `seq` had the hash `entry_hash` when `where` was written."""

    seq: int
    entry_hash: str
    where: str


def as_fact(seq: int, entry_hash: str) -> str:
    """A head as text, for the facts that a report shows; `anchors_beside` finds it again."""
    return f"audit entry {seq} ({entry_hash})"


def read_anchors(path: Path) -> list[Anchor]:
    """The anchors in an exported log, a certificate or a sign-off record. Raises `ConfigError` if there is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"The anchor {path} cannot be read: {reason}.", "Name a file that exists.") from None
    found = list(_anchors_in(text, str(path)))
    if not found:
        raise ConfigError(
            f"{path} names no head of an audit log.",
            "Name a file that `kpc audit export` wrote, or a certificate.",
        )
    return found


def anchors_beside(places: Places, names: Iterable[str]) -> Iterator[Anchor]:
    """The anchors in the certificates, sign-offs and results of the two roots.

    `names` are the files that the log itself vouches for; certificates and results that it no longer mentions
    count too, if the staging root is a directory.
    """
    wanted = {name for name in names if _may_anchor(name)}
    if places.store.remote is None:
        wanted |= {f"staging/{path.relative_to(places.store.root)}" for path in _certificates(places.store.root)}
    wanted |= {f"docs/{path.relative_to(places.docs_root)}" for path in _results(places.docs_root)}
    for name in sorted(wanted):
        content = places.content(name)
        if content is not None:
            yield from _anchors_in(content.decode("utf-8", "replace"), places.shown(name))


def _may_anchor(name: str) -> bool:
    return name.endswith(".json") and ("/certificate-" in name or "/sign-off-" in name or name.startswith("docs/"))


def _certificates(root: Path) -> Iterator[Path]:
    yield from root.glob("*/*/*/*/*/reconciled/certificate-*.json")
    yield from root.glob("*/*/sign-offs/sign-off-*.json")


def _results(docs_root: Path) -> Iterator[Path]:
    kept = docs_root / "gx" / "uncommitted"
    yield from (kept / "validations").rglob("*.json")
    yield from (kept / "reports").glob("*.html")


def _anchors_in(text: str, where: str) -> Iterator[Anchor]:
    if f'"{HEAD}"' in text:
        for line in (text, *text.splitlines()):
            yield from _head_of(line, where)
    for seq, digest in dict.fromkeys(_IN_TEXT.findall(text)):
        yield Anchor(int(seq), digest, where)


def _head_of(text: str, where: str) -> Iterator[Anchor]:
    try:
        document: Any = json.loads(text)
    except ValueError:
        return
    head = document.get(HEAD) if isinstance(document, dict) else None
    if not isinstance(head, dict):
        return
    seq, digest = head.get("seq"), head.get("entry_hash")
    if isinstance(seq, int) and isinstance(digest, str) and _HASH.fullmatch(digest):
        yield Anchor(seq, digest, where)


class AnchorCheck:
    """Collects the entries of a log as they are read, and compares anchors with them."""

    def __init__(self) -> None:
        self._hashes: dict[int, str] = {}

    def add(self, entry: AuditEntry) -> None:
        self._hashes[entry.seq] = entry.entry_hash

    def compare(self, anchors: Iterable[Anchor]) -> Iterator[str]:
        """A sentence for each anchor that the log does not agree with."""
        for anchor in anchors:
            found = self._hashes.get(anchor.seq)
            if anchor.seq > 0 and found is None:
                yield (
                    f"The log has no entry {anchor.seq}, which {anchor.where} names: its end was cut off, or the log "
                    "was started again from empty."
                )
            elif anchor.seq > 0 and found != anchor.entry_hash:
                yield f"Entry {anchor.seq} is not the one that {anchor.where} names: the log was rewritten since."
