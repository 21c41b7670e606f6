"""Third-party clients for Node.js: fetched once by name and version, kept outside the checkout, run in tests."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

_INSTALL_S = 300
_RUN_S = 180


def run_node(script: Path, package: str, version: str, *arguments: str, input: str = "") -> str:  # noqa: A002  as in subprocess
    """What a script beside the tests prints, with `package` at hand. Skips where node or the package cannot be had."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    environment = os.environ | {"NODE_PATH": str(_modules_of(package, version))}
    ended = subprocess.run(  # noqa: S603  our own script
        [node, str(script), *arguments],
        input=input,
        capture_output=True,
        text=True,
        timeout=_RUN_S,
        check=False,
        env=environment,
    )
    assert ended.returncode == 0, f"{ended.stderr}\n{ended.stdout}"
    return ended.stdout


def _modules_of(package: str, version: str) -> Path:
    """The folder of installed modules; installed aside and renamed, so that no other run sees half of it."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kpc-tests" / "node"
    folder = home / f"{package}-{version}"
    if not folder.exists():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip(f"npm is not installed, {package} cannot be fetched")
        home.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=home))
        try:
            _install(npm, f"{package}@{version}", aside)
            with contextlib.suppress(OSError):  # another run was faster
                aside.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return folder / "node_modules"


def _install(npm: str, package: str, folder: Path) -> None:
    switches = ("--no-save", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
    try:
        ended = subprocess.run(  # noqa: S603  npm by its own path
            [npm, "install", "--prefix", str(folder), *switches, package],
            capture_output=True,
            text=True,
            timeout=_INSTALL_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not fetch {package} within {_INSTALL_S} s")
    if ended.returncode:
        reason = next(iter(ended.stderr.splitlines()), "no reason given")
        pytest.skip(f"npm cannot fetch {package}: {reason}")
