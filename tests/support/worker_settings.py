"""The settings that a worker makes of connections, by a process of its own (tests/support/airflow_settings.py)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kpc.processes import python_env

_PROGRAM = Path(__file__).with_name("airflow_settings.py")

Answer = dict[str, Any]


def settings_of(folder: Path, *environments: Mapping[str, str], **common: str) -> list[Answer]:
    """The answer to each environment; `common` are variables of the process. No secret may reach its log."""
    env = {name: value for name, value in python_env().items() if not name.upper().startswith(("KPC", "AIRFLOW"))}
    done = subprocess.run(  # noqa: S603  our own program
        [sys.executable, str(_PROGRAM)],
        env={**env, "AIRFLOW_HOME": str(folder), **common},
        input=json.dumps(environments), cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "s3cret" not in done.stderr
    found: list[Answer] = json.loads(done.stdout.splitlines()[-1])
    return found
