"""What a DBA sets and a client can only look up: role, clock, profile limits, undo retention, policies.

The admin channel changes them (`POST instance`). Clock, zone, open mode, SESSIONS_PER_USER and the policies take
effect; the others are told by the dictionary only.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field, fields
from typing import Any

from kpc.emulators.errors import OptionError

UNLIMITED = "UNLIMITED"
_LIMITS = (
    "COMPOSITE_LIMIT", "SESSIONS_PER_USER", "CPU_PER_SESSION", "CPU_PER_CALL", "LOGICAL_READS_PER_SESSION",
    "LOGICAL_READS_PER_CALL", "IDLE_TIME", "CONNECT_TIME", "PRIVATE_SGA",
)  # fmt: skip


@dataclass(slots=True)
class InstanceFacts:
    """`limits` are those of the profile that all users have; IDLE_TIME and CONNECT_TIME in minutes.

    `row_policies` are tables with row-level security, `redactions` columns as TABLE.COLUMN, `statistics` rows and
    blocks of tables, as somebody set them.
    """

    database_role: str = "PRIMARY"
    open_mode: str = "READ WRITE"
    server_offset_minutes: int = 0  # of the server's clock, from UTC
    clock_skew_s: int = 0
    undo_retention_s: int = 900
    password_expires_days: int | None = None
    limits: dict[str, str] = field(default_factory=dict)
    row_policies: list[str] = field(default_factory=list)
    redactions: list[str] = field(default_factory=list)
    statistics: dict[str, list[int]] = field(default_factory=dict)

    def change(self, wanted: dict[str, Any]) -> None:
        """Set facts by name. Raises `OptionError` for a name or a type that is none."""
        known = {each.name: getattr(self, each.name) for each in fields(self)}
        for name, value in wanted.items():
            if name not in known or (known[name] is not None and type(value) is not type(known[name])):
                raise OptionError(f"{name}={value!r} is no fact of the instance.", f"Known: {', '.join(known)}.")
        for name, value in wanted.items():
            setattr(self, name, value)

    @property
    def is_read_only(self) -> bool:
        return self.open_mode != "READ WRITE"

    def server_time(self, now_utc: dt.datetime) -> dt.datetime:
        """What the server's clock shows, with its zone."""
        zone = dt.timezone(dt.timedelta(minutes=self.server_offset_minutes))
        skewed = now_utc + dt.timedelta(seconds=self.clock_skew_s)
        return skewed.replace(tzinfo=dt.UTC).astimezone(zone)

    def profile(self) -> dict[str, str]:
        return {name: str(self.limits.get(name, UNLIMITED)) for name in _LIMITS}

    def most_sessions(self) -> int | None:
        """Of one user; None without a limit."""
        limit = self.profile()["SESSIONS_PER_USER"]
        return int(limit) if limit.isdigit() else None
