"""When each table is planned to run: its share of the time between the campaign's start and its estimated end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from kpc.ledger import ScopeRow


def planned_spans(
    scope: ScopeRow | None, cells: Sequence[Mapping[str, Any]], finish_utc: datetime | None
) -> list[dict[str, Any]]:
    """One span per planned table, in load order, each as long as its part of all planned rows.

    The rows are those that `kpc plan` counted; of a table that was not counted, those extracted so far. Empty without a
    plan, or when neither an estimate nor an end is known.
    """
    began = min(_times(cells, "started_utc"), default=None)
    end = finish_utc or max(_times(cells, "finished_utc"), default=None)
    if scope is None or end is None:
        return []
    start = min(began or scope.set_utc, end)
    rows = {table: max(1, _planned_rows(table, scope, cells)) for table in dict.fromkeys(c["table"] for c in cells)}
    total, before = sum(rows.values()), 0
    spans = []
    for table, count in rows.items():
        first, last = (start + (end - start) * share for share in (before / total, (before + count) / total))
        spans.append({"table": table, "start_utc": first, "finish_utc": last})
        before += count
    return spans


def _planned_rows(table: str, scope: ScopeRow, cells: Sequence[Mapping[str, Any]]) -> int:
    counted = (scope.rows or {}).get(table)
    if counted is not None:
        return sum(counted.values())
    return sum(cell["stages"][0].get("rows") or 0 for cell in cells if cell["table"] == table)


def _times(cells: Iterable[Mapping[str, Any]], name: str) -> Iterator[datetime]:
    return (stage[name] for cell in cells for stage in cell["stages"] if name in stage)
