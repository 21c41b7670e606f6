"""Extracts one partition in a process of its own, to be killed: `extract_child.py SETTINGS.json TABLE KEY RUN_ID`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from oracle_source import road_settings

from assets.oracle_extract import oracle_extract
from kpc.partition import find_partition
from kpc.settings import OracleSettings, SalesforceSettings
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import open_workspace


def main() -> None:
    given = json.loads(Path(sys.argv[1]).read_text())
    settings = road_settings(
        Path(given["folder"]), OracleSettings(**given["oracle"]), SalesforceSettings(**given["salesforce"])
    )
    settings.staging.chunk_rows = given["chunk_rows"]
    with open_workspace(settings, run_id=sys.argv[4], actor="test") as workspace:
        oracle_extract.materialize(PartitionContext(workspace, find_partition(sys.argv[2], sys.argv[3])))


if __name__ == "__main__":
    main()
