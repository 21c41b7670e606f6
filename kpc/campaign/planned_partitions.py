"""The partitions of a planned scope. Imports nothing heavy: pages and triggers use it."""

from __future__ import annotations

import logging

from kpc.catalog import TABLES, Phase
from kpc.errors import ConfigError
from kpc.ledger import ScopeRow
from kpc.partition import Partition, check_key, partitions_of

log = logging.getLogger(__name__)


def partitions_in_scope(phase: Phase | None, scope: ScopeRow) -> list[Partition]:
    """The planned partitions of a phase, or of the whole migration, in load order."""
    tables = [table for table in TABLES.values() if table.name in scope.tables and phase in (None, table.phase)]
    return [partition for table in tables for partition in partitions_of(table, readable_months(scope))]


def readable_months(scope: ScopeRow) -> tuple[str, ...]:
    """The months of the scope, without invalid ones that an older version planned."""
    months = []
    for key in scope.months:
        try:
            months.append(check_key(key, is_monthly=True))
        except ConfigError as error:
            log.warning(
                "Skipping a month of the planned scope: %s Plan again with `kpc plan --months FIRST:COUNT`.",
                error.what,
            )
    return tuple(months)
