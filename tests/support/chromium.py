"""Chromium for tests: the one that is installed, or Debian's package, installed once where that is possible."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_INSTALL_S = 300
_COMMANDS = (("update", "-qq"), ("install", "-y", "-qq", "--no-install-recommends", "chromium"))


def chromium() -> str:
    """Its path. Skips the test where there is none and none can be installed."""
    path, reason = _found_or_installed()
    return path or pytest.skip(f"Chromium is not installed{reason}")


@lru_cache(maxsize=1)
def _found_or_installed() -> tuple[str | None, str]:
    """The path; or None and why it could not be installed. Only one of several processes installs it."""
    if path := _found():
        return path, ""
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        return None, ", and only root can install Debian's package"
    with Path(tempfile.gettempdir(), "kpc-tests-chromium.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path := _found():
            return path, ""
        quiet = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        for words in _COMMANDS:
            try:
                subprocess.run([apt, *words], capture_output=True, timeout=_INSTALL_S, check=True, env=quiet)  # noqa: S603  Debian's own
            except (subprocess.SubprocessError, OSError) as error:
                return None, f", and `apt-get {words[0]}` failed: {type(error).__name__}"
    return _found(), ""


def _found() -> str | None:
    return next((path for name in _NAMES if (path := shutil.which(name))), None)
