"""Whether a partition belongs to the campaign."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kpc.errors import ConfigError

if TYPE_CHECKING:
    from kpc.stages.context import PartitionContext

_MOST_NAMED = 6


def refuse_outside_scope(context: PartitionContext) -> None:
    """Raise `ConfigError`, with the command to use, for a partition outside the campaign's scope.

    Without a recorded scope every partition may be moved.
    """
    scope = context.ledger.scope.current(context.environment)
    if scope is None:
        return
    table, key = context.table, context.key
    if table.name not in scope.tables:
        raise ConfigError(
            f"{table.name} is not in the campaign's scope, which has {_named(scope.tables)}.",
            f"Widen it: `kpc plan` with {table.name} among its --tables.",
        )
    if table.is_monthly and key not in scope.months:
        months = sorted(scope.months)
        have = f"{months[0]} to {months[-1]}" if months else "no months"
        raise ConfigError(
            f"{context} is not in the campaign's scope, which has {have}.",
            "Give one of these months, or widen the scope: `kpc plan --months FIRST:COUNT`.",
        )


def _named(tables: list[str]) -> str:
    more = f" and {len(tables) - _MOST_NAMED} more" if len(tables) > _MOST_NAMED else ""
    return ", ".join(tables[:_MOST_NAMED]) + more
