"""Text from servers, made safe for a terminal, a log line, the ledger and an error message."""

from __future__ import annotations

import unicodedata

MOST_CHARACTERS = 300


def shown(text: object, most: int = MOST_CHARACTERS) -> str:
    """`text` on one line of at most `most` characters; each unsafe character becomes its escape, such as `\\x1b`.

    Unsafe are control and format characters (terminal escapes, changes of direction, invisible ones), line ends,
    surrogates, and code points that no character has.
    """
    whole = str(text)
    safe = "".join(map(_escaped, whole[:most]))
    return safe if len(whole) <= most and len(safe) <= most else safe[: most - 1] + "…"


def printable(text: str) -> str:
    """`text` with its line breaks and tabs, and with every other unsafe character as its escape."""
    return "".join(character if character in "\n\t" else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    return character.encode("unicode_escape").decode("ascii")
