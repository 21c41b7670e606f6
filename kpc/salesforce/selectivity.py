"""How many records one filter on a custom index may match, so that Salesforce answers it from the index.

Source: Salesforce's "Query & Search Optimization Cheat Sheet". A custom index serves a filter that matches at most
10 % of an object's first million records and 5 % of the others, and never more than 333,333. On text it serves only
`=`, `IN` and `LIKE 'x%'`. Every other filter reads the whole object, and a query is ended after 120 seconds.
"""

from __future__ import annotations

from dataclasses import dataclass

INDEXED_ROWS = 333_333
SCANNED_ROWS = 1_000_000
_FIRST = 3  # times the greatest number: the million of which 10 % count
_SHARE_OF_FIRST, _SHARE_OF_OTHERS = 0.10, 0.05
_MARGIN = 0.8  # the org's statistics may be a week old


@dataclass(frozen=True, slots=True)
class Selectivity:
    """`indexed_rows`: the most that an index serves. `scanned_rows`: an object of so few records is read in seconds."""

    indexed_rows: int = INDEXED_ROWS
    scanned_rows: int = SCANNED_ROWS

    def most_rows(self, object_rows: int) -> int | None:
        """The most records that one query should match in an object of this size; None: as many as it likes."""
        if object_rows <= self.scanned_rows:
            return None
        first = min(object_rows, _FIRST * self.indexed_rows)
        served = _SHARE_OF_FIRST * first + _SHARE_OF_OTHERS * (object_rows - first)
        return max(1, int(_MARGIN * min(served, self.indexed_rows)))
