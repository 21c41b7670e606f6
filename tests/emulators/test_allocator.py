"""The emulators are servers: they do not keep the memory settings that `kpc` chooses for its workers."""

from __future__ import annotations

import os
import subprocess
import sys

import kpc

SCRIPT = "import os, kpc.emulators; print(os.environ.get({name!r}, 'not set'))"


def _setting_seen(**environment: str) -> str:
    """What polars would read in a process that has imported the emulators."""
    inherited = {name: value for name, value in os.environ.items() if name != kpc.ALLOCATOR}
    command = [sys.executable, "-c", SCRIPT.format(name=kpc.ALLOCATOR)]
    ended = subprocess.run(  # noqa: S603  our own command
        command, env=inherited | environment, capture_output=True, text=True, check=True, timeout=60
    )
    return ended.stdout.strip()


def test_the_workers_allocator_setting_is_dropped() -> None:
    """The emulators' copy of the setting is the one that `kpc` makes, or it would stay in force."""
    assert _setting_seen() == "not set"


def test_a_setting_of_the_users_own_is_kept() -> None:
    """Whoever sets the variable means it."""
    assert _setting_seen(**{kpc.ALLOCATOR: "narenas:2"}) == "narenas:2"
