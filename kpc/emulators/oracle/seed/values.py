"""One DuckDB expression per column: what row number `i` holds.

Everything follows from `hash(row + salt)`, where the salt comes from seed, table and column: the same seed gives the
same rows, and a child spells its parent's key by evaluating the parent's expressions at the parent's row number.
"""

from __future__ import annotations

import hashlib
from calendar import monthrange
from dataclasses import dataclass

from kpc.emulators.catalog_schema import TABLES
from kpc.emulators.schema import ColumnSchema, DateText, SourceKind, TableSchema, TargetKind

# Thai, accents, quotes, commas, line breaks, emoji: what CSV and encodings stumble over.
_NAMES = (
    "สมชาย ใจดี", "สุดารัตน์ แก้วมณี", "นางสาวปิยะนุช ศรีสุวรรณ", "กิตติพงษ์ ณ อยุธยา",
    "O'Brien, Sean", 'Anna "Annie" Müller', "李小龍",
    "Nguyễn Thị Hương", "ธนกร, บริษัท (มหาชน) จำกัด", "José Ángel Peña", "Иван Петров", "วันดี 😀 ยิ้มแย้ม",
)  # fmt: skip
_REMARKS = (
    "ลูกค้าขอเปลี่ยนสินค้า", "line one\nline two", 'said "ok", then left', "ส่วนลด 10%, สมาชิก",
    "ของขวัญ 🎁 วันเกิด", "a;b,c\td", "=1+1", "ยกเลิกรายการ\r\nโดยผู้จัดการ",
    "duty-free, gate C4", "ไม่มีหมายเหตุ", "x", "' OR 1=1 --",
)  # fmt: skip
_WORDS = {
    "CITY": ("กรุงเทพมหานคร", "เชียงใหม่", "ภูเก็ต", "Bangkok", "สมุทรปราการ"),
    "NATION_CODE": ("THA", "CHN", "JPN", "DE", "GB", "USA"),
    "CURRENCY_CODE": ("THB", "USD", "CNY", "JPY", "EUR"),
    "ZIP_CODE": ("10110", "10540", "50200", "83110", "2013"),
    "PAYMENT_METHOD": ("CASH", "VISA", "MASTER", "UNIONPAY", "พร้อมเพย์", "ALIPAY"),
    "CON_CODE": ("01", "02", "03", "A1"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """Where a value is wanted: `index` is DuckDB SQL of the table's row number, `month` fixed for monthly tables."""

    index: str
    month: str | None
    months: tuple[str, ...]
    seed: int
    counts: dict[str, int]
    month_counts: dict[str, int]  # rows of the monthly tables in `month`


def _salt(seed: int, table: str, column: str) -> int:
    digest = hashlib.sha256(f"{seed}/{table}/{column}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


def _random(row: Row, table: TableSchema, column: str, below: int, extra: str = "") -> str:
    """A whole number 0 <= n < below."""
    return f"(hash(({row.index}) + {_salt(row.seed, table.name, column + extra)}) % {below})::BIGINT"


def _pick(row: Row, table: TableSchema, column: str, choices: tuple[str, ...]) -> str:
    listed = ", ".join("'" + choice.replace("'", "''") + "'" for choice in choices)
    return f"([{listed}])[1 + {_random(row, table, column, len(choices))}]"


def column_sql(table: TableSchema, column: ColumnSchema, row: Row) -> str:
    """The value of a column; key columns come from the parent where there is one."""
    if column.name in table.key:
        return key_sql(table, column.name, row)
    value = _value(table, column, row)
    if not column.nullable or column.is_required:
        return value
    percent = 2 if column.type is not None and column.type.is_number else 15
    return f"CASE WHEN {_random(row, table, column.name, 100, '/null')} < {percent} THEN NULL ELSE {value} END"


# Keys


def key_sql(table: TableSchema, name: str, row: Row) -> str:
    """One part of the natural key."""
    lookup = next((lookup for lookup in table.lookups if name in lookup.columns), None)
    if lookup is not None:
        parent = TABLES[lookup.parent]
        return key_sql(parent, parent.key[lookup.columns.index(name)], _parent_row(table, parent, row))
    column = table.by_name[name]
    if name == "SEQ":
        return f"CAST({_sequence(table, row)} AS DECIMAL(38,10))"
    if column.date_text is not None:
        return _date_text(column, _day_sql(table, row))
    if name == "SALE_MONTH":
        ordinal = f"(({row.index}) // {row.counts[table.lookups[0].parent]})"
        return f"strftime(DATE '{row.months[0]}-01' + to_months(({ordinal})::INTEGER), '%Y-%m')"
    if name == _identity(table):
        return _identity_sql(table, column, row)
    if name in _WORDS:
        return _padded(column, _pick(row, table, name, _WORDS[name]))
    return _padded(column, f"'{name[0]}' || lpad(({_random(row, table, name, 400)} + 1)::VARCHAR, 4, '0')")


def _identity(table: TableSchema) -> str:
    """The key column that alone tells the rows of a root table apart."""
    plain = [n for n in table.key if n != "SEQ" and table.by_name[n].date_text is None and n != "SALE_MONTH"]
    return plain[-1]


def _identity_sql(table: TableSchema, column: ColumnSchema, row: Row) -> str:
    size = column.source.size or 20
    prefix = "".join(word[0] for word in column.name.split("_"))
    if size < 10:
        return _padded(column, f"'{prefix[0]}' || lpad((({row.index}) + 1)::VARCHAR, {size - 1}, '0')")
    month = row.month.replace("-", "")[2:] if row.month else ""
    return _padded(column, f"'{prefix}{month}' || lpad((({row.index}) + 1)::VARCHAR, 8, '0')")


def _parent_row(table: TableSchema, parent: TableSchema, row: Row) -> Row:
    """The parent's row number: in monthly tables neighbours share a parent, elsewhere parents are taken in turn."""
    if table.is_monthly:
        mine, theirs = row.month_counts[table.name], row.month_counts[parent.name]
        index = f"((({row.index}) * {theirs}) // {mine})"
    else:
        index = f"(({row.index}) % {row.counts[parent.name]})"
    return Row(index, row.month, row.months, row.seed, row.counts, row.month_counts)


def _sequence(table: TableSchema, row: Row) -> str:
    if not table.lookups:
        return "1"
    parent = table.lookups[0].parent
    if not table.is_monthly:
        return f"(({row.index}) // {row.counts[parent]} + 1)"
    mine, theirs = row.month_counts[table.name], row.month_counts[parent]
    first = f"((((({row.index}) * {theirs}) // {mine}) * {mine} + {theirs - 1}) // {theirs})"
    return f"(({row.index}) - {first} + 1)"


# Dates


def _day_sql(table: TableSchema, row: Row, column: str = "SALE_DATE") -> str:
    """A DATE within the row's month (or one of the months)."""
    if row.month is not None:
        year, month = (int(part) for part in row.month.split("-"))
        return f"(DATE '{row.month}-01' + {_random(row, table, column, monthrange(year, month)[1])}::INTEGER)"
    firsts = ", ".join(f"DATE '{month}-01'" for month in row.months)
    which = _random(row, table, column, len(row.months), "/month")
    return f"(([{firsts}])[1 + {which}] + {_random(row, table, column, 28)}::INTEGER)"


_PATTERNS = {
    DateText.ISO: "{y}-%m-%d",
    DateText.ISO_TIME: "{y}-%m-%d %H:%M:%S",
    DateText.DMY: "%d/%m/{y}",
    DateText.DMY_TIME: "%d/%m/{y} %H:%M:%S",
}


def _date_text(column: ColumnSchema, day: str) -> str:
    """A date as the column spells it; a Buddhist year is 543 more."""
    assert column.date_text is not None
    pattern = _PATTERNS[column.date_text]
    if not column.year_offset:
        return f"strftime({day}, '{pattern.format(y='%Y')}')"
    before, after = pattern.split("{y}")
    parts = [f"strftime({day}, '{part}')" for part in (before, after) if part]
    parts.insert(1 if before else 0, f"(year({day}) + {column.year_offset})::VARCHAR")
    return f"({' || '.join(parts)})"


def _moment_sql(table: TableSchema, column: ColumnSchema, row: Row) -> str:
    seconds = _random(row, table, column.name, 86_400, "/time")
    return f"({_day_sql(table, row, column.name)}::TIMESTAMP + to_seconds({seconds}))"


# Values


def _value(table: TableSchema, column: ColumnSchema, row: Row) -> str:
    kind = column.type.kind if column.type is not None else TargetKind.STRING
    if column.source.kind is SourceKind.DATE or column.source.kind is SourceKind.TIMESTAMP:
        return _moment_sql(table, column, row)
    if column.date_text is not None:
        if column.name == "BIRTH_DATE":
            return _date_text(column, f"(DATE '1950-01-01' + {_random(row, table, column.name, 20_000)}::INTEGER)")
        return _date_text(
            column,
            _moment_sql(table, column, row) if column.date_text.has_time else _day_sql(table, row, column.name),
        )
    if kind is TargetKind.BOOLEAN:
        if column.source.is_text:
            return _padded(column, _pick(row, table, column.name, ("Y", "N", "1", "0")))
        return f"CAST({_random(row, table, column.name, 2)} AS DECIMAL(38,10))"
    if column.source.kind is SourceKind.NUMBER:
        return _number(table, column, row)
    return _padded(column, _text(table, column, row, kind))


def _number(table: TableSchema, column: ColumnSchema, row: Row) -> str:
    """An exact decimal that the target field can hold; money sometimes has a third and fourth digit to round."""
    assert column.type is not None
    scale = column.type.scale
    if scale == 0:
        return f"CAST({_random(row, table, column.name, 10)} AS DECIMAL(38,10))"
    whole_digits = min(column.type.precision - scale, 5)
    cents = _random(row, table, column.name, 10 ** (whole_digits + 2))
    value = f"(CAST({cents} AS DECIMAL(20,0)) * 0.01::DECIMAL(3,2))"
    if column.type.kind is TargetKind.CURRENCY:
        more = f"(CAST({_random(row, table, column.name, 100, '/fine')} AS DECIMAL(20,0)) * 0.0001::DECIMAL(5,4))"
        chance = _random(row, table, column.name, 20, "/chance")
        sign = f"CASE WHEN {_random(row, table, column.name, 50, '/sign')} = 0 THEN -1 ELSE 1 END"
        value = f"({value} + CASE WHEN {chance} = 0 THEN {more} ELSE 0 END) * {sign}"
    return f"CAST({value} AS DECIMAL(38,10))"


def _text(table: TableSchema, column: ColumnSchema, row: Row, kind: TargetKind) -> str:
    name, size = column.name, column.source.size or 255
    number = _random(row, table, name, 10_000_000)
    if kind is TargetKind.PICKLIST:
        return _pick(row, table, name, column.picklist_codes)
    if kind is TargetKind.EMAIL or "EMAIL" in name:
        return f"'user' || {number} || '@example' || ({number} % 7) || '.co.th'"
    if kind is TargetKind.PHONE:
        return f"'02-' || lpad(({number} % 1000)::VARCHAR, 3, '0') || '-' || lpad(({number} % 10000)::VARCHAR, 4, '0')"
    if name in _WORDS:
        return _pick(row, table, name, _WORDS[name])
    if name == "CARD_NO":
        return f"'4' || lpad({number}::VARCHAR, 15, '0')"
    if "NAME" in name or name.endswith("_BY"):
        return _pick(row, table, name, tuple(n for n in _NAMES if len(n) <= size))
    if size >= 100 or "REASON" in name or "ADDRESS" in name:
        long = _limit(column) < size and column.is_truncated
        text = _pick(row, table, name, _REMARKS)
        if not long:
            return text
        return (
            f"CASE WHEN {_random(row, table, name, 200, '/long')} = 0 THEN repeat('ยาว ', {size // 4}) ELSE {text} END"
        )
    return f"'{name[0]}' || lpad({number}::VARCHAR, {min(size - 1, 8)}, '0')"


def _limit(column: ColumnSchema) -> int:
    return column.type.length if column.type is not None else 0


def _padded(column: ColumnSchema, sql: str) -> str:
    """CHAR is stored with its blanks."""
    return f"rpad({sql}, {column.source.size}, ' ')" if column.source.kind is SourceKind.CHAR else sql
