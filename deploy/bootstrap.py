"""Create .venv from a bare Python 3.11+: the locked dependencies, and this project in editable form.

Uses only the standard library. A stamp file with the hash of the lock and of pyproject.toml makes a second call return
immediately; an interrupted installation has no stamp and is continued.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
LOCK = ROOT / "requirements.lock"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / ".installed"


def main() -> int:
    if sys.version_info < (3, 11):
        print(f"Python {sys.version.split()[0]} is too old: install Python 3.11 or newer.", file=sys.stderr)
        return 1
    wanted = _fingerprint()
    if STAMP.is_file() and STAMP.read_text() == wanted and PYTHON.exists():
        return 0
    print("Setting up .venv with the locked dependencies (once, a minute or two) ...", file=sys.stderr)
    try:
        _make_venv()
        _install()
    except subprocess.CalledProcessError as error:
        print(
            f"Setup failed in: {' '.join(map(str, error.cmd))}\n"
            "Check that the package index can be reached, then run the same command again; it continues.",
            file=sys.stderr,
        )
        return 1
    STAMP.write_text(wanted)
    return 0


def _fingerprint() -> str:
    content = b"".join(path.read_bytes() for path in (LOCK, ROOT / "pyproject.toml"))
    return f"{hashlib.sha256(content).hexdigest()} {sys.version_info[:2]} {VENV}"


def _make_venv() -> None:
    if PYTHON.exists() and not _is_usable():
        shutil.rmtree(VENV)
    if PYTHON.exists():
        return
    try:
        _run(sys.executable, "-m", "venv", str(VENV))
    except subprocess.CalledProcessError:
        # Debian packages the standard library's venv separately.
        shutil.rmtree(VENV, ignore_errors=True)
        print("This Python has no venv module; installing Debian's python3-venv ...", file=sys.stderr)
        _run("apt-get", "update", "-qq")
        _run("apt-get", "install", "-y", "-qq", f"python3.{sys.version_info.minor}-venv")
        _run(sys.executable, "-m", "venv", str(VENV))


def _is_usable() -> bool:
    return subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0  # noqa: S603  our own venv


def _install() -> None:
    """Install with uv, which is many times faster, or with pip and the same hashes if uv fails (a private index)."""
    pip = (str(PYTHON), "-m", "pip", "install", "-q")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as uv_only:
        uv_only.write(_locked("uv"))
        uv_only.flush()
        _run(*pip, "--require-hashes", "-r", uv_only.name)
    try:
        uv = (str(VENV / "bin" / "uv"), "pip", "install", "-q", "--python", str(PYTHON))
        _run(*uv, "--require-hashes", "-r", str(LOCK))
    except subprocess.CalledProcessError:
        print("uv could not install the lock; trying pip ...", file=sys.stderr)
        _run(*pip, "--require-hashes", "-r", str(LOCK))
    _run(*pip, "--no-deps", "--no-build-isolation", "-e", str(ROOT))


def _locked(package: str) -> str:
    """The lines of one package in the lock: its pinned version and hashes."""
    entry = re.search(rf"^{package}==.*?(?=^\S)", LOCK.read_text() + "end", re.MULTILINE | re.DOTALL)
    if entry is None:
        raise SystemExit(f"requirements.lock does not pin {package}; run `make lock`.")
    return "\n".join(line for line in entry.group().splitlines() if not line.strip().startswith("#"))


def _run(*command: str) -> None:
    subprocess.run(command, check=True)  # noqa: S603  fixed commands, no shell


if __name__ == "__main__":
    sys.exit(main())
