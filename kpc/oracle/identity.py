"""What a database says of itself: which pluggable database and schema it is, and which incarnation is open."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

_PLAIN = re.compile(r"[A-Z][A-Z0-9_]{0,39}")
_DIGITS_OF_HASH = 16


@dataclass(frozen=True, slots=True)
class DatabaseIdentity:
    """`con_dbid` is the pluggable database's own (V$DATABASE.CON_DBID), `dbid` that of its container.

    `incarnation` is RESETLOGS_CHANGE#: another one after a failover, a flashback or a restore. `source_id` has no
    part of it, because the database stays the same to everything that is keyed by it.
    """

    dbid: int
    con_dbid: int
    con_name: str
    owner: str
    incarnation: int

    @property
    def source_id(self) -> str:
        """Key of ledger and staging paths, 64 characters at most; an unusual name of an owner is in it as its hash."""
        owner = self.owner
        if not _PLAIN.fullmatch(owner):
            owner = "x" + hashlib.sha256(owner.encode()).hexdigest()[:_DIGITS_OF_HASH]
        return f"ora-{self.con_dbid}-{owner}"

    @property
    def former_prefix(self) -> str:
        """How the ids of earlier versions began: the container's DBID, before the incarnation."""
        return f"ora-{self.dbid}-"

    def __str__(self) -> str:
        return f"{self.source_id} ({self.con_name}, incarnation {self.incarnation})"
