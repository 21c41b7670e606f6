"""Where things are in this checkout, for tests that read its files or start scripts from it."""

from __future__ import annotations

from pathlib import Path

SUPPORT = Path(__file__).resolve().parent
PROJECT = SUPPORT.parent.parent
GOLDEN = PROJECT / "tests" / "golden"
