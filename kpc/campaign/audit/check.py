"""`kpc audit verify`: the chain, the rows and files that it vouches for, and anchors kept elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from kpc.campaign.audit.anchors import Anchor, AnchorCheck, anchors_beside
from kpc.campaign.audit.files import FileCheck
from kpc.campaign.audit.places import Places
from kpc.ledger import AuditEntry, Ledger
from kpc.ledger.audit_replay import AuditReplay

Progress = Callable[[str], None]


@dataclass
class AuditCheck:
    """What a check found. `first_utc` and `last_utc` are the times of the first and the last entry.

    `files` counts the compared files; `unread` those of them compared only by size. `in_work` are partitions and stages
    that have begun and not ended: their rows are vouched for when they end. `anchors` counts the compared heads that
    are kept outside of the log.
    """

    entries: int = 0
    first_utc: datetime | None = None
    last_utc: datetime | None = None
    head: str = ""
    files: int = 0
    unread: int = 0
    anchors: int = 0
    in_work: tuple[str, ...] = ()
    findings: list[str] = field(default_factory=list)

    def add(self, entry: AuditEntry) -> None:
        self.entries += 1
        self.first_utc = self.first_utc or entry.at_utc
        self.last_utc, self.head = entry.at_utc, entry.entry_hash


def check_audit(
    ledger: Ledger,
    places: Places,
    *,
    anchors: Iterable[Anchor] = (),
    reads_all: bool = False,
    progress: Progress = lambda _: None,
) -> AuditCheck:
    """Check everything; with `reads_all` the content of large files too, not only their size."""
    found, replay, hashes = AuditCheck(), AuditReplay(), AnchorCheck()

    def follow(entry: AuditEntry) -> None:
        for one in (found, replay, hashes):
            one.add(entry)

    with ledger.database.reading() as connection:
        found.findings += ledger.audit.chain(connection, follow)
        if not found.entries:
            found.findings.append(
                "The audit log is empty: it vouches for nothing, and there is no record of what was done."
            )
        found.findings += [*replay.findings, *replay.compare(connection)]
    known = [*anchors, *anchors_beside(places, replay.files)]
    found.findings += hashes.compare(known)
    files = FileCheck(places, replay, reads_all=reads_all, progress=progress)
    found.findings += files.run()
    found.files, found.unread, found.anchors = files.compared, files.unread, len(known)
    found.in_work = tuple(f"{work.replace('/', ' ')}, stage {stage}" for work, stage in replay.in_work)
    return found
