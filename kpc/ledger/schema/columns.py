"""The columns of the ledger's tables.

Times are UTC; JSON is stored as canonical text, so that its hash can be verified; states are enum members.

Rows of a partition start with the identities of the two live systems (`source_id`, `target_id`), so that loads to a
sandbox never count as loaded in production.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Integer,
    MetaData,
    String,
    Text,
    TypeDecorator,
)


class UtcDateTime(TypeDecorator[datetime]):
    """A timezone-aware UTC time, in databases with and without time zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            message = f"a ledger time must be timezone-aware, got {value!r}"
            raise ValueError(message)
        moment = value.astimezone(UTC)
        return moment if dialect.name == "postgresql" else moment.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(UTC) if dialect.name == "postgresql" else value.replace(tzinfo=UTC)


def canonical_json(value: object) -> str:
    """Deterministic JSON: keys sorted, no spaces, non-ASCII unescaped; values that JSON lacks as their `str`."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


class JsonText(TypeDecorator[Any]):
    """A JSON document as canonical text."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        del dialect
        return None if value is None else canonical_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        del dialect
        return None if value is None else json.loads(value)


class EnumText(TypeDecorator[StrEnum]):
    """A member of `members`, stored as text. Raises `ValueError` for any other text."""

    impl = String
    cache_ok = True

    def __init__(self, members: type[StrEnum], length: int) -> None:
        super().__init__(length)
        self.members = members

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        del dialect
        return None if value is None else self.members(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> StrEnum | None:
        del dialect
        return None if value is None else self.members(value)


metadata = MetaData()


def environment_columns() -> tuple[Column[Any], ...]:
    return (Column("source_id", String(64), nullable=False), Column("target_id", String(64), nullable=False))


def partition_columns() -> tuple[Column[Any], ...]:
    return (
        *environment_columns(),
        Column("table_name", String(64), nullable=False),
        Column("partition_key", String(16), nullable=False),
    )


def number(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, BigInteger, nullable=nullable)


def moment(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, UtcDateTime, nullable=nullable)


def word(name: str, length: int = 64, *, nullable: bool = False) -> Column[Any]:
    return Column(name, String(length), nullable=nullable)


def enum_word(name: str, members: type[StrEnum], length: int) -> Column[Any]:
    return Column(name, EnumText(members, length), nullable=False)


def id_column() -> Column[Any]:
    return Column("id", Integer, primary_key=True, autoincrement=True)
