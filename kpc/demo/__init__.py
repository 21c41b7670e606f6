"""`make demo`: a complete migration on one machine, between two emulators.

`run_demo(DemoOptions(...))` returns an exit code and ends every server it started.
"""

from __future__ import annotations

from kpc.demo.airflow_config import TaskExecutor
from kpc.demo.run import DemoOptions, run_demo

__all__ = ["DemoOptions", "TaskExecutor", "run_demo"]
