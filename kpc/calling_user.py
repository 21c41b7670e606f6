"""The name of the person or account that runs a command, for the audit log."""

from __future__ import annotations

import os
import pwd
import socket

_VARIABLES = ("LOGNAME", "USER", "LNAME", "USERNAME")  # in this order, as `getpass.getuser` has it
_LONGEST = 100


def calling_user() -> str:
    """The user's name; `uid-1234` in a container whose user id has none."""
    for name in _VARIABLES:
        if found := _printable(os.environ.get(name, "")):
            return found
    try:
        return _printable(pwd.getpwuid(os.getuid()).pw_name)
    except KeyError:
        return f"uid-{os.getuid()}"


def calling_machine() -> str:
    """The name of the machine that a command runs on."""
    return _printable(socket.gethostname()) or "unknown"


def _printable(name: str) -> str:
    return "".join(char for char in name.strip() if char.isprintable())[:_LONGEST]
