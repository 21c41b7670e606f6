"""The project's wheel in an environment of its own, with nothing from this checkout or from its `.venv`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from checkout import PROJECT

INSTALL_S = 600.0  # a cold cache downloads some hundred megabytes


@dataclass(frozen=True, slots=True)
class Installation:
    """An environment in `folder`."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def pip(self, *arguments: str | Path) -> None:
        """Run pip's command on this environment: by uv, or by pip itself where uv cannot work (a private index)."""
        uv = [Path(sys.executable).with_name("uv"), "pip", arguments[0], "--python", self.python, *arguments[1:]]
        pip = [sys.executable, "-m", "pip", "--python", self.python, *arguments]
        if _run(uv).returncode:
            done = _run(pip)
            assert done.returncode == 0, done.stdout + done.stderr

    def run(self, *command: str | Path, cwd: Path, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run one of its programs in `cwd`, with `changes` to an environment that says nothing of KPC or Airflow."""
        program, *arguments = command
        return _run([self.folder / "bin" / program, *arguments], cwd=cwd, env=bare_env(**changes))


def bare_env(**changes: str) -> dict[str, str]:
    """This process's environment without what leads Python, Airflow or `kpc` to this checkout, and with `changes`."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("KPC_", "AIRFLOW_", "PYTHONPATH"))
    }
    return {**inherited, **changes}


def build_wheel(folder: Path) -> Path:
    """The wheel, built of a copy: setuptools writes beside the sources."""
    source = folder / "source"
    for name in ("kpc", "assets", "dags", "expectations"):
        shutil.copytree(PROJECT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(PROJECT / name, source / name)
    building = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    done = _run([*building, "--wheel-dir", folder, source])
    assert done.returncode == 0, done.stderr
    return next(folder.glob("kpc_migration-*.whl"))


def install_worker(folder: Path, wheel: Path) -> Installation:
    """What a production worker gets: the locked packages of the base, then the wheel."""
    made = _run([sys.executable, "-m", "venv", "--without-pip", folder])
    assert made.returncode == 0, made.stderr
    worker = Installation(folder)
    worker.pip("install", "--require-hashes", "-r", PROJECT / "requirements-worker.lock")
    worker.pip("install", "--no-deps", wheel)
    return worker


def _run(
    command: list[str | Path], cwd: Path | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603  fixed commands, no shell
        command, cwd=cwd, env=env, capture_output=True, text=True, timeout=INSTALL_S, check=False
    )
