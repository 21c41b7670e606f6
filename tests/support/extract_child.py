"""Extracts one partition in a process of its own: `extract_child.py SETTINGS.json TABLE KEY RUN_ID [POINT]`.

With a POINT, a glob of the end of a path, the process kills itself as soon as such a file was opened or got its name.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path, PurePath

from oracle_source import road_settings

from assets.oracle_extract import oracle_extract
from kpc.partition import find_partition
from kpc.settings import OracleSettings, SalesforceSettings
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import open_workspace

_PATH_OF = {"open": 0, "os.rename": 1, "sqlite3.connect": 0}  # audit event: which argument is the path


def die_at(point: str) -> None:
    """SIGKILL at the first audit event after the one that concerns such a file: it fires before the file is there."""
    is_reached = False

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal is_reached
        if is_reached and event != "os.kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if event in _PATH_OF and PurePath(str(arguments[_PATH_OF[event]])).match(point):
            is_reached = True

    sys.addaudithook(watch)


def main() -> None:
    if len(sys.argv) > 5:
        die_at(sys.argv[5])
    given = json.loads(Path(sys.argv[1]).read_text())
    settings = road_settings(
        Path(given["folder"]), OracleSettings(**given["oracle"]), SalesforceSettings(**given["salesforce"])
    )
    settings.staging.chunk_rows = given["chunk_rows"]
    settings.reconcile.second_opinion = given.get("second_opinion", "some")
    with open_workspace(settings, run_id=sys.argv[4], actor="test") as workspace:
        oracle_extract.materialize(PartitionContext(workspace, find_partition(sys.argv[2], sys.argv[3])))


if __name__ == "__main__":
    main()
