"""How a client declares a bind, and the raw form in which its values arrive."""

from __future__ import annotations

from dataclasses import dataclass

from kpc.emulators.oracle.interface import OraType

BINARY_INTEGER = 3
NATIONAL = 2
MAX_STRING_BYTES = 32767
LOB_TYPES = frozenset({OraType.CLOB, OraType.BLOB})
RawValue = bytes | list[bytes | None] | None


@dataclass(frozen=True, slots=True)
class BindSpec:
    """How a client declared a bind, or wants a column delivered."""

    type: int
    size: int
    max_elements: int = 0
    charset_form: int = 1
    is_array: bool = False

    @property
    def is_late(self) -> bool:
        """Values declared longer than a string can be follow the others of their row (not in PL/SQL)."""
        return self.size > MAX_STRING_BYTES and self.type not in {OraType.CLOB, OraType.BLOB}
