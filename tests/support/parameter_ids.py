"""Names of parametrized tests: readable, short, and the same in every process and every second."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Set

LONGEST = 26  # characters of one parameter
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def parameter_id(value: object) -> str | None:
    """A short ASCII name for one parameter; None where pytest's own is good, as for numbers."""
    if value is None or isinstance(value, bool | int | float | complex):
        return None
    return short(_text_of(value))


def _text_of(value: object) -> str:
    """What the value says, a collection without its punctuation, a set in order: its iteration has none."""
    match value:
        case bytes():
            return value.decode("latin-1")
        case Mapping():
            return " ".join(f"{_text_of(key)}={_text_of(each)}" for key, each in value.items())
        case Set():
            return " ".join(sorted(map(_text_of, value)))
        case list() | tuple():
            return " ".join(map(_text_of, value))
    if callable(value):
        return str(getattr(value, "__name__", type(value).__name__)).strip("<>")
    text = str(value)
    return type(value).__name__ if _ADDRESS.search(text) else text


def short(text: str, longest: int = LONGEST) -> str:
    """The text in printable ASCII, cut at `longest` characters; pytest numbers those that become equal."""
    text = _ascii(text) or "empty"
    return text if len(text) <= longest else text[: longest - 3].rstrip() + "..."


def _ascii(text: str) -> str:
    """White space and control characters as one blank each, other characters by their number, brackets round."""
    text = re.sub(r"[\s\x00-\x1f\x7f-\xa0]+", " ", text).strip()
    text = text.replace("[", "(").replace("]", ")").replace("::", ":")
    return re.sub(r"[^\x20-\x7e]+", lambda found: json.dumps(found[0]).strip('"').replace("\\u", "u"), text)
