"""Thick mode, as far as it can be tested without Oracle's client libraries: one mode for a process, clear refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import PROJECT

from kpc.errors import ConfigError
from kpc.oracle.session import Oracle
from kpc.settings import OracleSettings

NOWHERE = OracleSettings(dsn="127.0.0.1:1/X", user="kpc", connect_timeout_s=1)
THICK = {"KPC__ORACLE__DSN": "127.0.0.1:1/X", "KPC__ORACLE__USER": "kpc", "KPC__ORACLE__THICK_MODE": "true"}
THIN_THEN_THICK = """
from kpc.errors import KpcError
from kpc.oracle.driver_mode import enable
from kpc.settings import OracleSettings
enable(OracleSettings())
enable(OracleSettings())
try:
    enable(OracleSettings(thick_mode=True))
except KpcError as error:
    print(error)
"""


def run(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A process of its own, because the driver's mode is one for the whole process."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), **variables}
    return subprocess.run(  # noqa: S603  our own program
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def driver_check(folder: Path, **variables: str) -> dict[str, object]:
    """What `kpc preflight` says about the driver."""
    ended = run(folder, "-c", "from kpc.cli import main; main()", "preflight", "--json", **{**THICK, **variables})
    assert "Traceback" not in ended.stderr, ended.stderr
    checks = json.loads(ended.stdout)["checks"]
    (found,) = [check for check in checks if (check["system"], check["check"]) == ("Oracle", "driver")]
    return dict(found)


def test_missing_libraries_are_one_sentence_of_the_preflight(tmp_path: Path) -> None:
    """It names the setting, where it looked and what to install."""
    check = driver_check(tmp_path, KPC__ORACLE__CLIENT_LIB_DIR=str(tmp_path))
    assert check["ok"] is False
    assert "cannot be loaded in " + str(tmp_path) in str(check["message"])
    assert "Oracle Instant Client" in str(check["message"])
    assert "\n" not in str(check["message"])


def test_a_library_that_is_none_is_refused(tmp_path: Path) -> None:
    """Such as a file cut off while it was copied."""
    (tmp_path / "libclntsh.so").write_bytes(b"\x7fELF")
    check = driver_check(tmp_path, KPC__ORACLE__CLIENT_LIB_DIR=str(tmp_path))
    assert check["ok"] is False
    assert "libclntsh.so" in str(check["message"])


def test_the_preflight_names_the_mode(tmp_path: Path) -> None:
    """Thin mode with the driver's version."""
    check = driver_check(tmp_path, KPC__ORACLE__THICK_MODE="false")
    assert check["ok"] is True
    assert str(check["message"]).startswith("thin mode of python-oracledb 2")


def test_a_process_cannot_change_to_thick_mode(tmp_path: Path) -> None:
    """After thin mode was used, for which a second time is no change."""
    ended = run(tmp_path, "-c", THIN_THEN_THICK)
    assert "has already connected in thin mode" in ended.stdout
    assert "start another process" in ended.stdout


CONTRADICTIONS = {
    "libraries without the mode": ({"client_lib_dir": Path("lib")}, "Set KPC__ORACLE__THICK_MODE=true, or remove"),
    "authority of thin mode": ({"thick_mode": True, "ca_file": Path("ca.pem")}, "KPC__ORACLE__WALLET_LOCATION"),
}


@pytest.mark.parametrize(("settings", "remedy"), CONTRADICTIONS.values(), ids=list(CONTRADICTIONS))
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, object], remedy: str) -> None:
    """Before anything is loaded or connected."""
    with pytest.raises(ConfigError) as caught, Oracle(NOWHERE.model_copy(update=settings)).session("test"):
        pytest.fail("contradicting settings gave a session")
    assert remedy in caught.value.remedy
