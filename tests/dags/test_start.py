"""`python -m dags.start`: what the processes that fork the tasks have imported."""

from __future__ import annotations

import json
import subprocess
import sys

_LISTING = """
import json, sys
from dags.start import prepare_for_tasks
prepare_for_tasks()
print(json.dumps(sorted(sys.modules)))
"""


def test_tasks_inherit_the_slow_modules_but_none_that_must_not_be_forked() -> None:
    """Great Expectations, the ledger, both clients; not polars, whose thread would be missing in each task."""
    done = subprocess.run([sys.executable, "-c", _LISTING], capture_output=True, text=True, check=True)  # noqa: S603
    imported = set(json.loads(done.stdout.splitlines()[-1]))
    assert {"great_expectations", "kpc.ledger", "kpc.oracle.session", "kpc.salesforce", "dags.stages"} <= imported
    assert {name for name in imported if name.partition(".")[0] in ("polars", "polars_hash")} == set()
