"""A load, or its undoing, in a process of its own that dies at a chosen request or commit: `load_child.py JSON`."""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from pathlib import Path

from faulty_transport import Fault, is_killed
from sqlalchemy import event
from staged_samples import make_workspace

from assets.sf_loaded import sf_loaded
from kpc.ledger import Ledger
from kpc.partition import find_partition
from kpc.rollback.partition_rollback import roll_back
from kpc.settings import SalesforceSettings
from kpc.stages.context import PartitionContext

COMMIT, RENAME = "COMMIT", "RENAME"  # in place of a request's pattern


def die_at_commit(ledger: Ledger, number: int) -> None:
    """The process ends when the `number`th transaction from now is about to be committed."""
    count = itertools.count(1)

    def die(_: object) -> None:
        if next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(ledger.database.engine, "commit", die)


def die_at_rename(number: int) -> None:
    """The process ends when the `number`th file from now is about to get its name."""
    count = itertools.count(1)

    def die(what: str, _: tuple[object, ...]) -> None:
        if what == "os.rename" and next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(die)


def main(given: dict[str, str]) -> None:
    settings = SalesforceSettings.model_validate_json(given["settings"])
    workspace = make_workspace(Path(given["root"]), settings, "killed-run", lease_s=0.5)
    if given["pattern"] == COMMIT:
        die_at_commit(workspace.ledger, int(given["number"]))
    elif given["pattern"] == RENAME:
        die_at_rename(int(given["number"]))
    else:
        fault = Fault(given["pattern"], is_killed, after=bool(given["after"]), first=int(given["number"]), last=999)
        workspace.plant(fault)
    context = PartitionContext(workspace, find_partition("KPS_R_POS_SUPPLIER", "ALL"))
    act = {"load": sf_loaded.materialize, "undo": roll_back}[given.get("act", "load")]
    act(context)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
