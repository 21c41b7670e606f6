"""A load in a process of its own that dies at a chosen request: `load_child.py JSON`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from faulty_transport import Fault, FaultyTransport, is_killed
from staged_samples import make_workspace

from assets.sf_loaded import sf_loaded
from kpc.partition import find_partition
from kpc.salesforce import connect
from kpc.settings import SalesforceSettings


def main(given: dict[str, str]) -> None:
    settings = SalesforceSettings.model_validate_json(given["settings"])
    workspace = make_workspace(Path(given["root"]), settings, "killed-run", lease_s=0.5)
    fault = Fault(given["pattern"], is_killed, after=bool(given["after"]), first=int(given["number"]), last=99)
    workspace.__dict__["salesforce"] = connect(settings, FaultyTransport([fault]))
    sf_loaded(find_partition("KPS_R_POS_SUPPLIER", "ALL"), workspace)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
