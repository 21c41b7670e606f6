"""Switches and faults as they are written on a command line."""

from __future__ import annotations

import json

from kpc.emulators.errors import OptionError


def fault_of(text: str) -> dict[str, object]:
    """A fault rule given as JSON on a command line."""
    try:
        rule = json.loads(text)
    except ValueError as error:
        raise OptionError(f"--fault {text} is not JSON: {error}.", 'Write it like {"action": "cut_after"}.') from error
    if not isinstance(rule, dict):
        raise OptionError(f"--fault {text} is not a JSON object.", 'Write it like {"action": "cut_after"}.')
    return rule


def switch_of(text: str) -> tuple[str, object]:
    """A switch given as NAME=VALUE on a command line."""
    name, _, value = text.partition("=")
    known: dict[str, object] = {"true": True, "false": False}
    if value.lower() in known:
        return name, known[value.lower()]
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    return name, value
