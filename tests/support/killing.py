"""Killing a load at a chosen point, as by a power cut."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from checkout import PROJECT, SUPPORT

from kpc.settings import SalesforceSettings


def kill(root: Path, settings: SalesforceSettings, pattern: str, after: str, number: int, act: str = "load") -> bool:
    """Start `act` in a process that dies at its `number`th request or commit; False if it ended before that."""
    secret = settings.client_secret.get_secret_value()
    given = {
        "settings": json.dumps(settings.model_dump(mode="json") | {"client_secret": secret, "access_token": ""}),
        "root": str(root),
        "act": act,
        "pattern": pattern,
        "after": after,
        "number": str(number),
    }
    path = os.pathsep.join([str(SUPPORT), str(PROJECT)])
    child = subprocess.run(  # noqa: S603  our own program
        [sys.executable, str(SUPPORT / "load_child.py"), json.dumps(given)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert child.returncode in (0, -signal.SIGKILL), child.stderr.decode()[-2000:]
    return child.returncode != 0
