"""The data dictionary and V$ views, computed when they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kpc.emulators.oracle.sql.context import Context, RelationView

if TYPE_CHECKING:
    from kpc.emulators.oracle.engine import EmulatedDatabase


def dictionary_view(owner: str | None, name: str, database: EmulatedDatabase, context: Context) -> RelationView | None:
    return None
