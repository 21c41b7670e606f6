"""`python -m kpc.emulators.salesforce`: the emulator as a process."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from kpc.emulators.errors import OptionError
from kpc.emulators.salesforce.command import run
from kpc.emulators.salesforce.options import fault_of, switch_of


def main() -> int:
    parser = argparse.ArgumentParser(prog="kpc emulate salesforce", description="Run the Salesforce emulator.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 chooses a free one")
    parser.add_argument("--ready-file", type=Path, help="file that says how to connect, written once it is ready")
    parser.add_argument("--data-file", type=Path, help="database file; without it everything is lost at the end")
    parser.add_argument("--seed", type=int, default=42, help="seed of everything that looks random, except secrets")
    parser.add_argument("--workers", type=int, default=4, help="jobs processed at the same time")
    parser.add_argument("--verbose", action="store_true", help="print a line per request")
    parser.add_argument("--tls", action="store_true", help="answer HTTPS as well, with a certificate of its own")
    parser.add_argument(
        "--scale", type=int, default=1, help="records that each record stands for in costs; 0: no costs"
    )
    parser.add_argument("--speed", type=float, default=1.0, help="org seconds per second; 0 stops the org's time")
    parser.add_argument("--switch", action="append", default=[], metavar="NAME=VALUE", help="set a fault switch")
    parser.add_argument("--fault", action="append", default=[], metavar="JSON", help="add a fault rule")
    options = vars(parser.parse_args())
    try:
        faults = [fault_of(each) for each in options.pop("fault")]
        switches = dict(switch_of(each) for each in options.pop("switch"))
        return run(**options, switches=switches, faults=faults)
    except OptionError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 1


if __name__ == "__main__":
    sys.exit(main())
