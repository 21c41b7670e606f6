"""Which database the migration reads: identified at each start, and adopted by a person if its history has changed.

The ledger, the staging root, the loaded index and the ids that a rollback needs are keyed by the pluggable database and
the schema owner, without the incarnation. The incarnation is stored separately: a new one (a failover, a flashback, a
restore) means a different history under the same key, in which SCNs of the former one must no longer be read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kpc.errors import ConfigError
from kpc.ledger import Vouched

if TYPE_CHECKING:
    from kpc.ledger import Ledger
    from kpc.oracle.identity import DatabaseIdentity

_FORMER = re.compile(r"ora-(\d+)-(\d+)")  # DBID and RESETLOGS_CHANGE#


@dataclass(frozen=True, slots=True)
class Adoption:
    """What `adopt` changed: `abandoned` extracts were open at an SCN of the former incarnation."""

    source_id: str
    live_id: str
    former_incarnation: int
    incarnation: int
    abandoned: int


def recognise(ledger: Ledger, live: DatabaseIdentity) -> str:
    """The database's key in the ledger; a database new to the ledger is recorded.

    Raises `ConfigError`, naming the command, if the incarnation is not the one being read, and for a ledger that
    knows the container under an id of an earlier version.
    """
    row = ledger.sources.find(live.source_id)
    if row is None and (former := _former_key(ledger, live)) is not None:
        raise ConfigError(
            f"This ledger knows a database of the container of {live} as {former}, an identity of an earlier version "
            "that did not distinguish pluggable databases and schema owners.",
            "If it is the same database and schema owner: `kpc source adopt --reason TEXT` keeps everything under that "
            "identity. If it is another one: `kpc source adopt --new --reason TEXT`.",
        )
    if row is None:
        row = ledger.sources.claim(live.source_id, live.source_id, live.incarnation)
    if row.incarnation != live.incarnation:
        raise ConfigError(
            f"The database {live} was opened with RESETLOGS since this migration last read it, as incarnation "
            f"{row.incarnation}: after a failover, a flashback or a restore its history is different.",
            "Ask the DBA which it was; `kpc source adopt --reason TEXT` reads the new incarnation from now on and "
            "keeps what is loaded.",
        )
    return row.source_id


def adopt(
    ledger: Ledger, live: DatabaseIdentity, *, reason: str, actor: str, run_id: str, is_new: bool = False
) -> Adoption:
    """Read the live incarnation from now on, or keep a database's identity of an earlier version; with an audit entry.

    `is_new`: use a new identity although the ledger knows the container. Raises `ConfigError` if there is
    nothing to adopt or the reason is empty.
    """
    if not reason.strip():
        raise ConfigError("The reason is empty.", "Say with --reason why the database is adopted.")
    key, former = _to_adopt(ledger, live, is_new=is_new)
    is_other = former != live.incarnation
    with ledger.together():
        groups = ledger.generations.open_groups(key) if is_other else ()
        ledger.sources.claim(live.source_id, key, former)
        abandoned = ledger.sources.adopt_incarnation(live.source_id, live.incarnation) if is_other else 0
        detail = {
            "source_id": key,
            "live_id": live.source_id,
            "former_incarnation": former,
            "incarnation": live.incarnation,
            "reason": reason,
        }
        vouched = Vouched(tuple(groups))
        ledger.audit.append("source adopted", actor=actor, run_id=run_id, detail=detail, vouched=vouched)
    return Adoption(key, live.source_id, former, live.incarnation, abandoned)


def _to_adopt(ledger: Ledger, live: DatabaseIdentity, *, is_new: bool) -> tuple[str, int]:
    """The key that the database gets in the ledger, and the incarnation that was read before."""
    row = ledger.sources.find(live.source_id)
    if row is not None:
        if row.incarnation == live.incarnation:
            raise _nothing(f"{live} is what this migration already reads")
        return row.source_id, row.incarnation
    if is_new:
        return live.source_id, live.incarnation
    former = _former_key(ledger, live)
    if former is None:
        raise _nothing(f"This ledger does not know {live} yet")
    return former, _former_incarnation(former)


def _nothing(why: str) -> ConfigError:
    return ConfigError(
        f"{why}, so there is nothing to adopt.", "Continue as planned; `kpc source show` lists what is read."
    )


def _former_key(ledger: Ledger, live: DatabaseIdentity) -> str | None:
    """The id under which an earlier version knew the container: this incarnation's, otherwise the newest."""
    keys = [key for key in ledger.sources.former_keys(live.former_prefix) if _FORMER.fullmatch(key)]
    same = [key for key in keys if _former_incarnation(key) == live.incarnation]
    return next(reversed(same or keys), None)


def _former_incarnation(key: str) -> int:
    found = _FORMER.fullmatch(key)
    return int(found.group(2)) if found else 0
