"""The error that both emulators raise for a wrong option."""

from __future__ import annotations


class OptionError(Exception):
    """An option, a switch, a fault rule or a file that an emulator cannot use.

    `what` says what is wrong, `remedy` what to do; `str()` gives both.
    """

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(f"{what} {remedy}".strip())
        self.what = what
        self.remedy = remedy
