"""What the entries of the audit log vouch for, taken together, compared with the ledger's rows as they are now."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection

from kpc.ledger.audit_log import AuditEntry
from kpc.ledger.vouching import GROUPED_BY, VOUCHED, WRITERS, Digest, WorkMark, all_digests, label

_NOTHING: Digest = (0, "")
_SUBJECTS = {
    "stage_run": "stage run",
    "reconciliation": "the comparisons of stage run",
    "sign_off": "sign-off",
    "object_check": "object check",
    "source_check": "the source checks of run",
    "campaign_constant": "campaign constant",
    "scope": "planned scope",
    "mapping_version": "mapping version",
    "generation": "the extracts (generations) of",
    "attempt": "the load attempts of",
    "chunk": "the chunks of",
    "job": "the ingest jobs of",
    "migration_failed_records": "the rejected and refused rows of",
}

Work = tuple[str, str]  # label of a partition, and stage


@dataclass(frozen=True, slots=True)
class VouchedFile:
    """The newest word on a file: `fact` is its size in bytes and sha256, None if it must not exist.

    `reason` says why it was removed on purpose, `removed_sha256` what it held then.
    """

    seq: int
    fact: tuple[int, str] | None
    work: Work
    reason: str = ""
    removed_sha256: str = ""


@dataclass
class AuditReplay:
    """The state that the entries describe; feed them in order. `findings` has a sentence for each contradiction."""

    findings: list[str] = field(default_factory=list)
    files: dict[str, VouchedFile] = field(default_factory=dict)
    _known: dict[str, dict[str, tuple[Digest, int]]] = field(default_factory=dict)
    _open: dict[Work, int] = field(default_factory=dict)
    _unfinished_runs: set[str] = field(default_factory=set)

    def add(self, entry: AuditEntry) -> None:
        """Take what an entry vouches for as the newest word on it."""
        vouched = entry.detail.get(VOUCHED)
        if not isinstance(vouched, dict):
            return
        work = _work_of(entry)
        moment = vouched.get("moment")
        for table, groups in dict(vouched.get("rows", {})).items():
            for group, found in groups.items():
                self._take(table, group, (int(found[0]), str(found[1])), entry, is_begin=moment == WorkMark.BEGUN)
        for name, fact in dict(vouched.get("files", {})).items():
            self.files[name] = VouchedFile(entry.seq, (int(fact[0]), str(fact[1])) if fact else None, work)
        for name, (sha256, reason) in dict(vouched.get("removed", {})).items():
            self.files[name] = VouchedFile(entry.seq, None, work, str(reason), str(sha256))
        if moment == WorkMark.BEGUN:
            self._open[work] = entry.seq
            self._unfinished_runs |= set(vouched.get("rows", {}).get("stage_run", {}))
        elif moment == WorkMark.ENDED:
            self._open.pop(work, None)
            self._unfinished_runs -= set(vouched.get("rows", {}).get("stage_run", {}))

    def _take(self, table: str, group: str, digest: Digest, entry: AuditEntry, *, is_begin: bool) -> None:
        before, since = self._known.get(table, {}).get(group, (_NOTHING, 0))
        if is_begin and table in WRITERS and digest != before and not self._is_in_flux(table, group):
            after = f"after entry {since}" if since else "before any entry spoke of them"
            self.findings.append(
                f"{_name(table, group)} changed {after} and before entry {entry.seq} ({entry.action}), while no stage "
                "was at work."
            )
        self._known.setdefault(table, {})[group] = (digest, entry.seq)

    def _is_in_flux(self, table: str, group: str) -> bool:
        return any((group, stage) in self._open for stage in WRITERS.get(table, ()))

    @property
    def in_work(self) -> list[Work]:
        """What was begun and has not ended: at work now, or interrupted and not repeated yet."""
        return sorted(self._open)

    def compare(self, connection: Connection) -> Iterator[str]:
        """A sentence for each group of rows that is not as the log says."""
        present = all_digests(connection)
        for table in GROUPED_BY:
            known, found = self._known.get(table, {}), present.get(table, {})
            for group in sorted(known.keys() | found.keys()):
                if not (self._is_in_flux(table, group) or self._is_unfinished(table, group, known)):
                    yield from _difference(table, group, known.get(group), found.get(group, _NOTHING))

    def _is_unfinished(self, table: str, group: str, known: Mapping[str, object]) -> bool:
        return table == "reconciliation" and group not in known and group in self._unfinished_runs


def _difference(table: str, group: str, known: tuple[Digest, int] | None, found: Digest) -> Iterator[str]:
    name = _name(table, group)
    if known is None:
        yield f"{name} ({_rows(found)} of table {table}) came into the ledger without an audit entry."
        return
    digest, seq = known
    if found == digest:
        return
    if found == _NOTHING:
        yield f"{name} ({_rows(digest)} of table {table}) vanished from the ledger after entry {seq}."
    elif digest[0] != found[0]:
        yield f"{name} in table {table}: entry {seq} counted {_rows(digest)}, now there are {found[0]:,}."
    else:
        yield f"{name} in table {table} changed after entry {seq} without an audit entry."


def _rows(digest: Digest) -> str:
    return "1 row" if digest[0] == 1 else f"{digest[0]:,} rows"


def _name(table: str, group: str) -> str:
    """The group in words: the systems' identities are left out where a partition follows them."""
    parts = group.split("/")
    words = " ".join(parts[2:] if len(parts) > 2 else parts)
    subject = f"{_SUBJECTS.get(table, table)} {words}"
    return subject[0].upper() + subject[1:]


def _work_of(entry: AuditEntry) -> Work:
    places = (entry.source_id, entry.target_id, entry.table_name, entry.partition_key)
    return label(*places), entry.stage or ""
