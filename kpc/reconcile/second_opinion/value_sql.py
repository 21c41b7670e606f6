"""What a column's value becomes, in Oracle's SQL, written from docs/values.md alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kpc.catalog.table import Table
from kpc.catalog.types import KEY_SEPARATOR, Column, FieldKind, FieldType, NullRule, OracleKind, Pii, TooLong
from kpc.errors import CatalogError
from kpc.reconcile.second_opinion.date_sql import StoredMoment, TextDate, as_date, utc_text
from kpc.reconcile.second_opinion.rules import Broken
from kpc.reconcile.second_opinion.text_sql import (
    cut,
    has_refused,
    left_trimmed,
    masked,
    national,
    right_trimmed,
    stored_text,
    with_line_feeds,
)

_WHOLE_DIGITS, _FRACTION_DIGITS = 28, 10  # digits of a number that is never rounded
_TRUE, _FALSE = ("1", "Y", "YES", "TRUE"), ("0", "N", "NO", "FALSE")
_NULL_TOKEN = "#N/A"  # noqa: S105  not a secret


@dataclass(frozen=True, slots=True)
class Spelling:
    """SQL for a value's canonical text (NVARCHAR2, NULL where it is null), and the cases in which it breaks a rule.

    `broken` is in the order in which it must be tested; for a row that breaks an earlier rule, neither a later case nor
    the text is computed, so that they may rely on it. `is_null`: whether Oracle has no value. `chars`: the longest
    text, in characters of `char_bytes` bytes.
    """

    text: str
    is_null: str
    broken: tuple[tuple[Broken, str], ...]
    chars: int
    char_bytes: int = 1


def spelling(table: Table, column: Column) -> Spelling:
    """The spelling of a column that is sent; for a hashed one, of the text before it is hashed."""
    target = _target(column)
    if target.is_number:
        return _with_null_rule(column, _number(table, column, target))
    if target.kind is FieldKind.BOOLEAN:
        made = _checkbox(table, column)
    elif target.kind in (FieldKind.DATE, FieldKind.DATETIME):
        made = _date(table, column, target.kind)
    elif target.kind is FieldKind.PICKLIST:
        made = _picklist(table, column, target)
    else:
        made = _text(table, column, target)
    return _with_null_rule(column, made)


def _target(column: Column) -> FieldType:
    if column.type is None:
        raise CatalogError(f"Column {column.name} is not sent.", "Declare its field and type in kpc/catalog.")
    return column.type


def _with_null_rule(column: Column, made: Spelling) -> Spelling:
    """A number's zero or default is part of its own text."""
    if column.null is NullRule.REJECT:
        return replace(made, broken=((Broken.REQUIRED_NULL, made.is_null), *made.broken))
    if column.type is None or column.type.is_number or column.null is NullRule.KEEP:
        return made
    instead = "false" if column.null is NullRule.FALSE else column.default or ""
    text = f"NVL({made.text},{national(instead)})"
    return replace(made, text=text, chars=max(made.chars, len(instead)), char_bytes=4)


def trimmed_name(table: Table, column: Column) -> str:
    """The name under which an inner query gives a column's text without white space at its ends (`trimmed_text`)."""
    return f"KPC_T{table.columns.index(column)}"


def trimmed_text(column: Column) -> str:
    return with_line_feeds(left_trimmed(right_trimmed(stored_text(column))))


def part_name(table: Table, column: Column) -> str:
    """The name under which an inner query gives a text column as a part of an external id (`part_text`)."""
    return f"KPC_P{table.columns.index(column)}"


def part_text(column: Column) -> str:
    return with_line_feeds(right_trimmed(stored_text(column)))


def _plain(column: Column) -> str:
    """The text of a value that is not text in Oracle."""
    if column.source.kind is OracleKind.NUMBER:
        return exact_number(column)
    if column.source.is_moment:
        return f"TO_NCHAR({StoredMoment(column).key_part})"
    return f'TO_NCHAR(RAWTOHEX("{column.name}"))'


def _trimmed(table: Table, column: Column) -> str:
    return trimmed_name(table, column) if column.source.is_text else _plain(column)


def exact_number(column: Column) -> str:
    """A number that is never rounded, without exponent and trailing zeros."""
    picture = "9" * (_WHOLE_DIGITS - 1) + "0." + "9" * _FRACTION_DIGITS
    return f"TO_NCHAR(RTRIM(TO_CHAR(\"{column.name}\",'FM{picture}'),'.'))"


def is_inexact(column: Column) -> str:
    """Whether a number that is never rounded has too many digits."""
    name = f'"{column.name}"'
    return f"(ABS({name})>={10**_WHOLE_DIGITS} OR {name}<>ROUND({name},{_FRACTION_DIGITS}))"


def _inexact(column: Column) -> tuple[tuple[Broken, str], ...]:
    is_number = column.source.kind is OracleKind.NUMBER
    return ((Broken.NUMBER_OUT_OF_RANGE, is_inexact(column)),) if is_number else ()


def _text(table: Table, column: Column, target: FieldType) -> Spelling:
    text = _trimmed(table, column)
    broken, is_null = list(_inexact(column)), f"{text} IS NULL"
    if column.source.is_text:
        broken += [
            (Broken.LITERAL_NULL_TOKEN, f"{text}=N'{_NULL_TOKEN}'"),
            (Broken.CONTROL_CHARACTER, has_refused(text)),
        ]
    if column.pii is Pii.HASH:  # hashed whole: the field's length is that of the hash
        return Spelling(text, is_null, tuple(broken), column.source.size or 0, 4)
    if column.too_long is TooLong.REJECT:
        broken.append((Broken.TOO_LONG, f"LENGTH4({text})>{target.length}"))
    elif (column.source.size or target.length + 1) > target.length:
        text = cut(text, target.length)
    return Spelling(masked(text) if column.pii is Pii.MASK else text, is_null, tuple(broken), target.length, 4)


def _picklist(table: Table, column: Column, target: FieldType) -> Spelling:
    """Declared codes become labels; without codes the labels themselves are the codes."""
    text = _trimmed(table, column)
    codes = column.picklist_map or tuple((value, value) for value in target.values)
    whens = "".join(f" WHEN {national(code)} THEN {national(label)}" for code, label in codes)
    label = f"CASE {text}{whens} END"
    broken = (*_inexact(column), (Broken.UNKNOWN_CODE, f"{text} IS NOT NULL AND {label} IS NULL"))
    return Spelling(label, f"{text} IS NULL", broken, max((len(label) for _, label in codes), default=0), 4)


def _checkbox(table: Table, column: Column) -> Spelling:
    name = f'"{column.name}"'
    if column.source.kind is OracleKind.NUMBER:
        text = f"CASE {name} WHEN 1 THEN N'true' WHEN 0 THEN N'false' END"
        broken = ((Broken.UNKNOWN_BOOLEAN, f"{name} IS NOT NULL AND {text} IS NULL"),)
        return Spelling(text, f"{name} IS NULL", broken, 5)
    word = _trimmed(table, column)
    known = "".join(f" WHEN N'{one}' THEN N'true'" for one in _TRUE)
    known += "".join(f" WHEN N'{one}' THEN N'false'" for one in _FALSE)
    text = f"CASE UPPER({word}){known} END"
    broken = ((Broken.UNKNOWN_BOOLEAN, f"{word} IS NOT NULL AND {text} IS NULL"),)
    return Spelling(text, f"{word} IS NULL", broken, 5)


def _date(table: Table, column: Column, kind: FieldKind) -> Spelling:
    is_day = kind is FieldKind.DATE
    if column.source.is_moment:
        moment, name = StoredMoment(column), f'"{column.name}"'
        value = f"TO_NCHAR({moment.day if is_day else moment.utc})"
        return Spelling(value, f"{name} IS NULL", ((Broken.DATE_OUT_OF_RANGE, moment.is_out_of_range()),), 24)
    text, broken = _trimmed(table, column), broken_date_name(table, column)
    cases = ((Broken.DATE_UNREADABLE, f"{broken}=1"), (Broken.DATE_OUT_OF_RANGE, f"{broken}=2"))
    day = day_name(table, column)
    value = f"TO_NCHAR({day if is_day else utc_text(as_date(day))})"
    return Spelling(value, f"{text} IS NULL", cases, 24)


def is_text_date(column: Column) -> bool:
    """Whether a text becomes a day or a moment."""
    return column.date_format is not None and column.type is not None and not column.type.is_text


def broken_date_name(table: Table, column: Column) -> str:
    """The name under which an inner query says what is wrong with a text date (`broken_date`)."""
    return f"KPC_B{table.columns.index(column)}"


def broken_date(table: Table, column: Column) -> str:
    """1 for a text that is not a date, 2 for a date out of range, otherwise NULL."""
    text = trimmed_name(table, column)
    date = TextDate(column, text)
    whens = f"WHEN {date.is_unreadable} THEN 1 WHEN {date.is_out_of_range(_target(column).kind)} THEN 2"
    return f"CASE WHEN {text} IS NOT NULL THEN CASE {whens} END END"


def day_name(table: Table, column: Column) -> str:
    """The name under which an inner query gives a good text date, Gregorian and with its time (`day_text`)."""
    return f"KPC_D{table.columns.index(column)}"


def day_text(table: Table, column: Column) -> str:
    """`YYYY-MM-DD`, with ` HH:MM:SS` for a moment, local."""
    text = trimmed_name(table, column)
    date = TextDate(column, text)
    value = date.day if _target(column).kind is FieldKind.DATE else date.moment
    return f"CASE WHEN {text} IS NOT NULL AND {broken_date_name(table, column)} IS NULL THEN {value} END"


def rounded_name(table: Table, column: Column) -> str:
    """The name under which an inner query gives a number as the field holds it (`rounded_number`)."""
    return f"KPC_N{table.columns.index(column)}"


def rounded_number(column: Column) -> str:
    """The number rounded half away from zero, as ROUND does."""
    name = f'"{column.name}"'
    value = {NullRule.ZERO: f"NVL({name},0)", NullRule.DEFAULT: f"NVL({name},{column.default})"}.get(column.null, name)
    return f"ROUND({value},{_target(column).scale})"


def _number(table: Table, column: Column, target: FieldType) -> Spelling:
    name, rounded, scale = f'"{column.name}"', rounded_name(table, column), target.scale
    whole = target.precision - scale
    picture = "9" * (whole - 1) + "0" + ("." + "0" * scale if scale else "")
    broken: list[tuple[Broken, str]] = []
    if is_identifying(table, column):
        broken += _inexact(column)
        if column.name in table.key:
            broken.append((Broken.KEY_LOSES_DIGITS, f"{name}<>{rounded}"))
    broken.append((Broken.NUMBER_OUT_OF_RANGE, f"ABS({rounded})>={10**whole}"))
    text = f"TO_NCHAR(TO_CHAR({rounded},'FM{picture}'))"
    return Spelling(text, f"{name} IS NULL", tuple(broken), target.precision + 2)


def is_identifying(table: Table, column: Column) -> bool:
    """Whether the column is part of the key or of a reference to a parent."""
    return column.name in table.key or any(column.name in lookup.columns for lookup in table.lookups)


@dataclass(frozen=True, slots=True)
class KeyText:
    """SQL for an external id made of columns: `text` if `is_whole`; `is_incomplete` and `has_separator` say why not.

    `cases`: what else prevents the text of a part. `chars`: its maximum length.
    """

    text: str
    cases: tuple[str, ...]
    is_incomplete: str
    has_separator: str
    chars: int

    @property
    def is_whole(self) -> str:
        """The condition to test before the text is computed."""
        wrong = [*self.cases, self.is_incomplete, self.has_separator]
        return f"CASE WHEN {' THEN 0 WHEN '.join(wrong)} THEN 0 ELSE 1 END=1"


def key_text(table: Table, columns: tuple[Column, ...]) -> KeyText:
    """The external id that these columns make, in this order."""
    parts: list[str] = []
    cases: list[str] = []
    texts: list[str] = []
    chars = len(columns) - 1
    for number, column in enumerate(columns):
        part, wrong, size = _key_part(table, column, is_first=number == 0)
        parts.append(part)
        cases += wrong
        chars += size
        if column.source.is_text and column.date_format is None:
            texts.append(part)
    return KeyText(
        text=f"||N'{KEY_SEPARATOR}'||".join(parts),
        cases=tuple(cases),
        is_incomplete=" OR ".join(f"{part} IS NULL" for part in parts),
        has_separator=" OR ".join(f"INSTR({part},N'{KEY_SEPARATOR}')>0" for part in texts) or "1=0",
        chars=chars,
    )


def _key_part(table: Table, column: Column, *, is_first: bool) -> tuple[str, list[str], int]:
    """SQL of one part, conditions under which it cannot be computed, and its longest text."""
    if column.date_format is not None:
        text = trimmed_name(table, column)
        date = TextDate(column, text)
        part = f"CASE WHEN {text} IS NOT NULL THEN TO_NCHAR({date.key_part}) END"
        return part, [f"{text} IS NOT NULL AND {date.is_unreadable}"], column.date_format.length
    if column.source.is_text:
        text = part_name(table, column)
        return left_trimmed(text) if is_first else text, [], column.source.size or 0
    if column.source.kind is OracleKind.NUMBER:
        return exact_number(column), [is_inexact(column)], _WHOLE_DIGITS + _FRACTION_DIGITS + 2
    wrong = [StoredMoment(column).is_out_of_range()] if column.source.is_moment else []
    return _plain(column), wrong, 2 * (column.source.size or 10)
