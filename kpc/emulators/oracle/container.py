"""The container database around the pluggable ones: its identity, and which incarnation of it is open."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field

CONTAINER = "KPCCDB"


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(tzinfo=None)


def database_id(name: str) -> int:
    """A DBID: the same for the same name, so that a restarted emulator is the same database."""
    return 1_000_000_000 + sum((i + 1) * ord(c) * 7_919 for i, c in enumerate(name)) % 3_000_000_000


@dataclass(slots=True)
class Container:
    """What V$DATABASE says of the container in each of its pluggable databases."""

    name: str = CONTAINER
    resetlogs_scn: int = 1
    resetlogs_utc: dt.datetime = field(default_factory=_now)

    @property
    def dbid(self) -> int:
        return database_id(self.name)

    def open_resetlogs(self, scn: int) -> None:
        """A new incarnation that begins at an SCN, as after a failover or an incomplete recovery."""
        self.resetlogs_scn, self.resetlogs_utc = max(scn, self.resetlogs_scn + 1), _now()
