"""`python -m kpc.emulators.oracle`: the emulator without the `kpc` command around it."""

from __future__ import annotations

import argparse
import datetime as dt
import sys
from pathlib import Path

from kpc.emulators.errors import OptionError
from kpc.emulators.oracle.command import SERVICE, OracleOptions, run
from kpc.emulators.oracle.sql.storage.character_set import CLIENT_CODECS, NAMES, UNICODE
from kpc.emulators.oracle.wire.login.logon import ListenerOptions


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m kpc.emulators.oracle", description="Run the Oracle emulator.")
    parser.add_argument("--port", type=int, default=0, help="0 chooses a free one")
    parser.add_argument("--rows", type=int, default=1000, help="size of the seeded data; 0 seeds nothing")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--scale", type=int, default=1, help="rows that each row stands for in costs; 0: no costs")
    parser.add_argument("--layout", choices=("heap", "index", "partitions"), default="heap", help="of monthly tables")
    parser.add_argument("--character-set", choices=NAMES, default=UNICODE, help="the database's")
    parser.add_argument(
        "--stored-through",
        choices=tuple(CLIENT_CODECS),
        help="the seeded text is bytes of this set",
    )
    parser.add_argument("--with-bad-rows", type=int, default=0, help="rows that a rule must reject")
    parser.add_argument("--months", type=_months, default=(), help="2024-01,2024-02,... for the tables split by month")
    parser.add_argument("--ready-file", type=Path, help="where to write how to connect, as JSON")
    parser.add_argument("--password-file", type=Path, help="the password of user KPC; a new one without it")
    parser.add_argument("--field-version", type=int, default=12, help="TTC field version to offer")
    parser.add_argument("--end-of-response", action="store_true", help="mark the end of responses, as 23ai does")
    parser.add_argument("--sdu", type=int, default=65535, help="largest packet in bytes")
    parser.add_argument(
        "--fault", action="append", default=[], metavar="ACTION=VALUE", help="see docs/oracle-emulator.md; repeatable"
    )
    parser.add_argument(
        "--reader", action="append", default=[], metavar="USER", help="a user who may only read; repeatable"
    )
    parser.add_argument("--service", action="append", default=[], metavar="NAME", help="repeatable; KPCDB without one")
    parser.add_argument(
        "--pdb", action="append", default=[], metavar="NAME", help="another pluggable database; repeatable"
    )
    parser.add_argument("--tls", action="store_true", help="a second port that speaks TLS")
    parser.add_argument(
        "--client-certificates", action="store_true", help="with --tls: every TLS client must have the wallet's"
    )
    parser.add_argument("--admin", action="store_true", help="open the admin channel: faults and counters at run time")
    parser.add_argument("--verbose", action="store_true")
    return parser


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        return run(
            OracleOptions(
                port=given.port,
                rows=given.rows,
                seed=given.seed,
                with_bad_rows=given.with_bad_rows,
                scale=given.scale,
                layout=given.layout,
                character_set=given.character_set,
                stored_through=given.stored_through,
                months=given.months,
                ready_file=given.ready_file,
                listener=ListenerOptions(given.field_version, given.end_of_response, given.sdu),
                faults=given.fault,
                readers=given.reader,
                password_file=given.password_file,
                services=given.service or (SERVICE,),
                pdbs=given.pdb,
                tls=given.tls,
                client_certificates=given.client_certificates,
                admin=given.admin,
                verbose=given.verbose,
            )
        )
    except OptionError as error:
        parser.error(str(error))


def _months(text: str) -> tuple[str, ...]:
    months = tuple(month for month in text.split(",") if month)
    for month in months:
        try:
            dt.date.fromisoformat(f"{month}-01")
        except ValueError:
            raise argparse.ArgumentTypeError(f"{month} is not a month like 2024-01") from None
    return months


if __name__ == "__main__":
    sys.exit(main())
