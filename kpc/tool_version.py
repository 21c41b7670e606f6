"""The version of this program: of its package and, in a checkout, its commit."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGE = "kpc-migration"
_CHECKOUT = Path(__file__).parents[1]
_TIMEOUT_S = 5


@cache
def tool_version() -> str:
    """For example `0.1.0`, or `0.1.0+1f2e3d4c5b6a` in a checkout, with `-dirty` if files were changed since."""
    try:
        package = version(_PACKAGE)
    except PackageNotFoundError:
        package = "unknown"
    commit = _commit()
    return f"{package}+{commit}" if commit else package


def _commit() -> str:
    git = shutil.which("git")
    if git is None or not (_CHECKOUT / ".git").exists():
        return ""
    command = [git, "-C", str(_CHECKOUT), "describe", "--always", "--dirty", "--exclude=*", "--abbrev=12"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603  our own arguments
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
