"""Text from servers reaches a terminal only as text."""

from __future__ import annotations

import json

import pytest

from kpc.cli.output import as_json_text, print_json
from kpc.salesforce import parse_row_error
from kpc.untrusted_text import printable, shown

ESCAPES = [
    "\x1b[31m",
    "\x9b31m",
    "\x07",
    "\x00",
    "\x7f",
    "\r",
    "\u202e",
    "\u2066",
    "\u200b",
    "\u2028",
    "\ufeff",
    "\ud800",
]


@pytest.mark.parametrize("escape", ESCAPES, ids=ascii)
def test_what_a_terminal_would_obey_is_escaped(escape: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In a message, in multi-line output, in JSON (which still means the same), and in a refused row's error."""
    text = f"a{escape}b"
    assert shown(text).isprintable()
    assert printable(f"{text}\n\tc").replace("\n\t", "").isprintable()
    assert as_json_text({"what": text}).isprintable()
    assert json.loads(as_json_text({"what": text})) == {"what": text}
    print_json({"what": text})
    printed = capsys.readouterr().out
    assert printed.rstrip("\n").isprintable()
    assert json.loads(printed) == {"what": text}
    error = parse_row_error(f"DUPLICATE_VALUE:{text}:Name --")
    assert error.code == "DUPLICATE_VALUE"
    assert error.message.isprintable()


def test_ordinary_text_stays_as_it_is() -> None:
    """Thai with its marks, accents, emoji and a no-break space."""
    for text in ("ยอดขายเดือนนี้ ก็ดี", "é ü ß", "🙂", "1\u00a0000", "", "C:\\x1b"):
        assert shown(text) == printable(text) == text


def test_length_is_bounded() -> None:
    """However long, and however much the escapes add, the text ends at its limit."""
    assert shown("x" * 300) == "x" * 300
    for text in ("x" * 301, "\x1b" * 300, "x" * 10_000_000):
        assert len(shown(text)) == 300
        assert shown(text).endswith("…")
