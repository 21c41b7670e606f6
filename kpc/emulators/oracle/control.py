"""State shared by the admin channel and the connections: the faults and the counters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from kpc.emulators.oracle.counters import Counters
from kpc.emulators.oracle.faults import OracleFaults


@dataclass(slots=True)
class Control:
    faults: OracleFaults = field(default_factory=OracleFaults)
    counters: Counters = field(default_factory=Counters)
    end_sessions: Callable[[], None] = lambda: None  # of the listener, once it listens
