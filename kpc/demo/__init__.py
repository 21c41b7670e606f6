"""`make demo`: everything the migration needs on one machine, and a campaign to watch.

`run_demo(DemoOptions(...))` returns an exit code; what it starts, it ends.
"""

from __future__ import annotations

from kpc.demo.run import DemoOptions, run_demo

__all__ = ["DemoOptions", "run_demo"]
