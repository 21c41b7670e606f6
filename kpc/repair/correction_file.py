"""Reading a corrected export as spreadsheets save it: separators, encodings, columns in any order."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID
from kpc.errors import ConfigError
from kpc.repair.spreadsheet_cells import restored

PARTITION, CLASS, CODE, MESSAGE = "_partition", "_class", "_code", "_message"
NOTES = (PARTITION, CLASS, CODE, MESSAGE)

_SEPARATORS = (",", ";", "\t")
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")  # xlsx and ods are ZIP files, xls is an OLE file
_SAVE_AS_CSV = 'In the spreadsheet choose "CSV UTF-8" as file type, save, and import the saved file; nothing was sent.'


@dataclass(frozen=True, slots=True)
class CorrectionLine:
    """One row of a corrected file, with the number of its last line. Protected cells have their values again."""

    number: int
    cells: dict[str, str]

    @property
    def external_id(self) -> str:
        return self.cells[EXTERNAL_ID]


def read_correction_file(file: Path, table: Table) -> list[CorrectionLine]:
    """The rows of a corrected export. Separated by comma, semicolon or tab, in UTF-8, or UTF-16 with its mark.

    Raises `ConfigError`, naming file and line, for everything that is not an export of this table.
    """
    text, separator = _without_separator_line(_text_of(file))
    separator = separator or _separator(text)
    try:
        rows = list(_rows(text, separator))
    except csv.Error as error:
        raise ConfigError(f"{file} cannot be read as CSV: {error}.", _SAVE_AS_CSV) from None
    header = [name.strip() for name in rows[0][1]] if rows else []
    while header and not header[-1]:
        header.pop()  # a spreadsheet may add empty columns
    _check_header(file, table, header)
    lines = [_line(file, number, header, cells) for number, cells in rows[1:] if any(map(str.strip, cells))]
    if not lines:
        raise ConfigError(f"{file} holds no rows.", "Keep the lines of the rows to send; nothing was sent.")
    return lines


def _text_of(file: Path) -> str:
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise ConfigError(
            f"There is no file {file}.", "Name a file that `kpc failed TABLE --export FILE` wrote."
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{file} cannot be read: {error.strerror}.", "Name a readable file; nothing was sent."
        ) from None
    if not content.strip():
        raise ConfigError(f"{file} is empty.", "Export the refused rows again; nothing was sent.")
    if content.startswith(_WORKBOOKS):
        raise ConfigError(f"{file} is a workbook of a spreadsheet, not a CSV file.", _SAVE_AS_CSV)
    try:
        text = content.decode("utf-16" if content.startswith(_UTF16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{file} is not UTF-8: line {line} has the byte 0x{content[error.start]:02X}; the file may be in "
            "Windows-874 (Thai) or another Windows encoding.",
            _SAVE_AS_CSV,
        ) from None
    if "\0" in text:
        raise ConfigError(f"{file} holds zero bytes: it is neither UTF-8 nor marked as UTF-16.", _SAVE_AS_CSV)
    return text


def _without_separator_line(text: str) -> tuple[str, str]:
    """Some spreadsheets write the separator into a first line of its own: `sep=;`."""
    first, _, rest = text.partition("\n")
    first = first.strip().strip('"')
    return (rest, first[4:]) if first.lower().startswith("sep=") and len(first) == 5 else (text, "")


def _separator(text: str) -> str:
    """The separator with which the first line holds the external id's column; a comma if none does."""
    first = re.split("[\r\n]", text, maxsplit=1)[0]
    names = {each: [name.strip(' "') for name in first.split(each)] for each in _SEPARATORS}
    return next((each for each, found in names.items() if EXTERNAL_ID in found), ",")


def _rows(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    for row in reader:
        yield reader.line_num, row


def _check_header(file: Path, table: Table, header: Sequence[str]) -> None:
    known = (*NOTES, *table.header)
    unknown = [name for name in header if name not in known]
    missing = [name for name in (PARTITION, *table.data_header) if name not in header]
    twice = sorted({name for name in header if header.count(name) > 1})
    wrong = [f"it has the column {name!r}{_nearest(name, missing)}" for name in unknown]
    wrong += [f"it lacks the column {name}" for name in missing]
    wrong += [f"it has the column {name} twice" for name in twice]
    if wrong:
        raise ConfigError(
            f"{file} is not an export of {table.name}: {', '.join(wrong[:10])}.",
            f"Export one with `kpc failed {table.name} --export FILE` and correct its cells; keep all its columns, in "
            "any order. Nothing was sent.",
        )


def _nearest(name: str, missing: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, missing, 1)
    return f" (meant is {near[0]}?)" if near else ""


def _line(file: Path, number: int, header: Sequence[str], cells: Sequence[str]) -> CorrectionLine:
    if len(cells) < len(header) or any(map(str.strip, cells[len(header) :])):
        raise ConfigError(
            f"{file} cannot be read: line {number} has {len(cells)} cells, the header {len(header)}.", _SAVE_AS_CSV
        )
    values = {name: restored(cell) for name, cell in zip(header, cells, strict=False)}
    return CorrectionLine(number, {**values, **{name: values[name].strip() for name in (PARTITION, EXTERNAL_ID)}})
