"""Parts of SOQL queries, and result values as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import quote

_MOST_VALUES = 100
_MOST_CHARACTERS = 8_000  # a request's whole URL may have 16,384


def text_literal(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def in_conditions(field: str, values: Sequence[str]) -> Iterator[str]:
    """`field IN (...)` for all values, in as many conditions as the length of a URL requires."""
    literals: list[str] = []
    characters = 0
    for value in values:
        literal = text_literal(value)
        length = len(quote(literal)) + 3
        if literals and (len(literals) == _MOST_VALUES or characters + length > _MOST_CHARACTERS):
            yield f"{field} IN ({', '.join(literals)})"
            literals, characters = [], 0
        literals.append(literal)
        characters += length
    if literals:
        yield f"{field} IN ({', '.join(literals)})"


def text_at(record: dict[str, object], path: str) -> str | None:
    """A value of a query result record as text; `Sale__r.External_ID__c` is nested."""
    value: object = record
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)
