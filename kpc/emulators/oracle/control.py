"""What the admin channel and the connections share: the faults and the counters."""

from __future__ import annotations

from dataclasses import dataclass, field

from kpc.emulators.oracle.counters import Counters
from kpc.emulators.oracle.faults import Faults


@dataclass(slots=True)
class Control:
    faults: Faults = field(default_factory=Faults)
    counters: Counters = field(default_factory=Counters)
