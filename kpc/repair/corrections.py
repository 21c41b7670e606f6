"""Corrections of refused rows: read from an edited export, and checked as staging checks rows of Oracle.

The external id is made anew from the key's cells and must be the one that was refused. Other cells may change only if
Salesforce named their fields when it refused the row, or if the caller allows them.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from kpc.catalog.table import Table
from kpc.catalog.types import CURRENCY_FIELD, EXTERNAL_ID, GENERATION_FIELD, PARTITION_FIELD, FieldKind
from kpc.convert.rules import Rule
from kpc.convert.typed_text import TypedRows, convert_typed, key_fields
from kpc.errors import ConfigError
from kpc.ledger import FailedRecord
from kpc.ledger.states import FailureClass
from kpc.repair.correction_file import PARTITION, CorrectionLine, read_correction_file
from kpc.repair.refused_rows import open_failures, refused_rows
from kpc.repair.spreadsheet_cells import spreadsheet_damage
from kpc.salesforce.constants import NULL_TOKEN
from kpc.stages.context import PartitionContext

_LISTED = 20  # problems listed; all are counted

_NO_DAY = "is not a date like 2024-01-31; a spreadsheet may have rewritten it"
_NO_TIME = "is not a UTC time like 2024-01-31T05:00:00.000Z; a spreadsheet may have rewritten it"
_REASONS = {
    Rule.REQUIRED_NULL: "is required",
    Rule.LITERAL_NULL_TOKEN: f"is the text {NULL_TOKEN}, which means no value",
    Rule.CONTROL_CHARACTER: "has a control character",
    Rule.NUMBER_UNREADABLE: "is not a number like -12.50",
    Rule.NUMBER_OUT_OF_RANGE: "is larger than its field holds",
    Rule.DATE_OUT_OF_RANGE: "is outside the years 1700 to 4000",
    Rule.UNKNOWN_BOOLEAN: "is neither true nor false",
    Rule.OUTSIDE_PARTITION: "is a day outside this partition",
}


@dataclass(frozen=True, slots=True)
class Correction:
    """The changed cells of one refused row, in the form of its CSV file (`#N/A`: no value). Empty: sent as it is."""

    external_id: str
    before: Mapping[str, str]
    after: Mapping[str, str]


Corrections = Mapping[str, Correction]  # by external id in lower case


def corrections_of(
    file: Path, table: Table, partitions: Sequence[PartitionContext], allowed: str = ""
) -> dict[str, Corrections]:
    """The corrections of an edited export, by partition key. Nothing is sent yet.

    `allowed` names further fields that may change, separated by commas. Raises `ConfigError` for a file that is not an
    export of this table, and listing every cell that may not be sent, by line and field, without its value.
    """
    more = _allowed_fields(table, allowed)
    lines = read_correction_file(file, table)
    contexts = {context.key: context for context in partitions}
    problems = list(_misplaced(lines, contexts))
    found: dict[str, Corrections] = {}
    for key, context in contexts.items():
        if mine := [line for line in lines if line.cells[PARTITION] == key]:
            checked = _PartitionCheck(context, mine, more)
            problems += checked.problems()
            found[key] = checked.corrections()
    if problems:
        shown = "\n  ".join(problems[:_LISTED])
        raise ConfigError(
            f"{len(problems):,} cells or lines of {file} cannot be taken:\n  {shown}",
            "Correct them and import the file again; nothing was sent.",
        )
    return found


def _allowed_fields(table: Table, allowed: str) -> frozenset[str]:
    """Raises `ConfigError` for a name that is no field of the table, and for a field of the key."""
    fixed = (EXTERNAL_ID, CURRENCY_FIELD) if table.currency else (EXTERNAL_ID,)
    names = {name.lower(): name for name in table.data_header if name not in fixed}
    names |= {lookup.field.lower(): lookup.header for lookup in table.lookups}
    found = set()
    for given in filter(None, map(str.strip, allowed.split(","))):
        field = names.get(given.lower())
        if field is None:
            near = difflib.get_close_matches(given.lower(), names, 1)
            raise ConfigError(
                f"--allow-fields: {table.name} has no field {given!r}.",
                f"Is {names[near[0]]} meant?" if near else f"Its fields are {', '.join(sorted(set(names.values())))}.",
            )
        if field in key_fields(table):
            raise ConfigError(
                f"--allow-fields: {field} is part of the key of {table.name}, which may not change.",
                f"Correct it in Oracle, then `kpc run {table.name}` with the partition's key.",
            )
        found.add(field)
    return frozenset(found)


def _misplaced(lines: Sequence[CorrectionLine], contexts: Mapping[str, PartitionContext]) -> Iterator[str]:
    """Lines of other partitions, and second lines of one row."""
    first: dict[tuple[str, str], int] = {}
    for line in lines:
        key = line.cells[PARTITION]
        if key not in contexts:
            yield (
                f"line {line.number}, {PARTITION} is {key!r}: a partition that has no refused rows, was not named, or "
                "that a spreadsheet rewrote"
            )
        earlier = first.setdefault((key, line.external_id.lower()), line.number)
        if earlier != line.number:
            yield f"line {line.number} has the same {EXTERNAL_ID} as line {earlier}"


@dataclass(frozen=True)
class _CheckedLine:
    """A line with its refused row: as exported, and both as `convert_typed` converts them."""

    line: CorrectionLine
    before: dict[str, str]
    old: dict[str, str | None]
    new: dict[str, str | None]
    broken: dict[str, Rule]

    def changed(self, table: Table) -> Iterator[str]:
        """The columns whose value differs: `TRUE` for `true`, or `1.5` for `1.50`, is no change."""
        for name in table.data_header:
            cell = self.line.cells[name]
            if cell == self.before[name] or (_is_null(cell) and _is_null(self.before[name])):
                continue
            if self.old[name] != self.new[name] or name in self.broken or spreadsheet_damage(cell):
                yield name


class _PartitionCheck:
    """The lines of one partition beside its refused rows."""

    def __init__(self, context: PartitionContext, lines: Sequence[CorrectionLine], more: Collection[str]) -> None:
        self._context = context
        self._table = context.table
        self._more = more
        self._records = open_failures(context)
        rows = refused_rows(context).select(self._table.header)
        known = {row[EXTERNAL_ID].lower(): row for row in rows.to_dicts()}
        self._strangers = [line for line in lines if line.external_id.lower() not in known]
        mine = [line for line in lines if line.external_id.lower() in known]
        self._checked = self._pair(mine, [known[line.external_id.lower()] for line in mine])

    def problems(self) -> Iterator[str]:
        for line in self._strangers:
            yield (
                f"line {line.number}, {EXTERNAL_ID} is not, or no longer, that of a row of {self._context} which "
                "Salesforce refused (a spreadsheet removes leading zeros)"
            )
        for checked in self._checked:
            yield from self._problems_of(checked)

    def corrections(self) -> Corrections:
        return {checked.line.external_id.lower(): self._correction(checked) for checked in self._checked}

    def _pair(self, lines: Sequence[CorrectionLine], rows: Sequence[dict[str, str]]) -> list[_CheckedLine]:
        new = self._convert([line.cells for line in lines])
        old = self._convert(rows).rows.to_dicts()
        broken: dict[int, dict[str, Rule]] = {}
        for one in new.broken:
            broken.setdefault(one.row, {}).setdefault(one.field, one.rule)
        values = new.rows.to_dicts()
        return [
            _CheckedLine(line, rows[position], old[position], values[position], broken.get(position, {}))
            for position, line in enumerate(lines)
        ]

    def _convert(self, rows: Sequence[Mapping[str, str]]) -> TypedRows:
        header = self._table.data_header
        frame = pl.DataFrame(
            [[None if _is_null(row[name]) else row[name] for name in header] for row in rows],
            schema=dict.fromkeys(header, pl.String),
            orient="row",
        )
        hash_key = self._context.settings.hash_key.get_secret_value()
        return convert_typed(frame, self._table, key=self._context.key, hash_key=hash_key)

    def _problems_of(self, checked: _CheckedLine) -> Iterator[str]:
        where, keys = f"line {checked.line.number}", key_fields(self._table)
        changed = list(checked.changed(self._table))
        if moved := [name for name in changed if name in keys]:
            names = ", ".join(moved)
            yield f"{where}, {names}: part of the key, which may not change (a spreadsheet removes leading zeros)"
        elif EXTERNAL_ID in changed or checked.line.external_id != checked.before[EXTERNAL_ID]:
            yield f"{where}, {EXTERNAL_ID} is not the one that its key columns make"
        fixed = dict.fromkeys((PARTITION_FIELD, GENERATION_FIELD), "a mark of the migration")
        fixed |= {CURRENCY_FIELD: "declared for the whole table"} if self._table.currency else {}
        for name, why in fixed.items():
            if checked.line.cells.get(name, checked.before[name]) != checked.before[name]:
                yield f"{where}, {name} is {why}, which may not change"
        fields = self._refused_fields(checked) | set(self._more)
        for name in changed:
            if name in keys or name == EXTERNAL_ID:
                continue
            if reason := self._reason(checked, name):
                yield f"{where}, {name} {reason}"
            elif name not in fields:
                yield f"{where}, {name} was not refused and may change only with --allow-fields {name}"

    def _reason(self, checked: _CheckedLine, name: str) -> str:
        """Why staging would not take the cell; empty if it would."""
        if damage := spreadsheet_damage(checked.line.cells[name]):
            return damage
        rule = checked.broken.get(name)
        if rule is None:
            return ""
        column = next((column for column in self._table.sent_columns if column.field == name), None)
        kind = column.type if column else None
        if rule is Rule.TOO_LONG and kind is not None:
            return (
                f"has more than {kind.scale} decimal places"
                if kind.is_number
                else f"has more than {kind.length} characters"
            )
        if rule is Rule.UNKNOWN_CODE and kind is not None:
            return f"is not one of {', '.join(kind.values)}"
        if rule is Rule.DATE_UNREADABLE and kind is not None:
            return _NO_TIME if kind.kind is FieldKind.DATETIME else _NO_DAY
        return _REASONS.get(rule, f"breaks the rule {rule}")

    def _refused_fields(self, checked: _CheckedLine) -> set[str]:
        """The columns that Salesforce named when it refused the row; for a missing parent, its references."""
        record: FailedRecord = self._records[checked.line.external_id.lower()]
        named = {name.lower() for name in record.fields}
        found = {name for name in self._table.data_header if name.lower() in named}
        is_parent_missing = record.error_class == FailureClass.DEPENDENCY
        return found | {
            lookup.header for lookup in self._table.lookups if is_parent_missing or lookup.field.lower() in named
        }

    def _correction(self, checked: _CheckedLine) -> Correction:
        changed = list(checked.changed(self._table))
        after = {name: checked.new[name] for name in changed}
        return Correction(
            checked.before[EXTERNAL_ID],
            before={name: checked.before[name] for name in changed},
            after={name: NULL_TOKEN if value is None else value for name, value in after.items()},
        )


def _is_null(cell: str) -> bool:
    return cell.strip() in ("", NULL_TOKEN)
