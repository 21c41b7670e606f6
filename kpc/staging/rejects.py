"""The file of rejected rows: which row, which field, which rule, which value."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import polars as pl

from kpc.catalog.types import EXTERNAL_ID
from kpc.convert.frame import FIELD, KEY, RULE, VALUE
from kpc.convert.gzip_csv import GzipTable, csv_bytes
from kpc.convert.rules import Rule
from kpc.storage.store import FileEntry

REJECTED = "rejected.csv.gz"
REJECT_HEADER = ("source_key", "field", "rule", "value", "external_id")


class RejectFile:
    """rejected.csv.gz, a context manager; the file is created when the first row is rejected.

    Callers mask personal values. A null is an empty cell. `rows_by_rule` counts how often each rule was the first one
    broken.
    """

    def __init__(self, folder: Path, level: int) -> None:
        self.path = folder / REJECTED
        self.rows_by_rule: Counter[str] = Counter()
        self._level = level
        self._scope = ExitStack()
        self._file: GzipTable | None = None

    def __enter__(self) -> RejectFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._scope.__exit__(kind, error, trace)

    @property
    def rows(self) -> int:
        return self.rows_by_rule.total()

    def add(self, rejected: pl.DataFrame) -> None:
        """Add rows of `convert_frame` that broke a rule."""
        if rejected.is_empty():
            return
        if self._file is None:
            self._file = self._scope.enter_context(GzipTable(self.path, REJECT_HEADER, self._level))
        lines = csv_bytes(rejected.select(KEY, FIELD, RULE, VALUE, EXTERNAL_ID), null="")
        self._file.write(lines, rejected.height)
        for rule, rows in rejected.group_by(RULE).len().iter_rows():
            self.rows_by_rule[rule] += rows

    def add_duplicates(self, identifiers: pl.Series) -> None:
        """Rows that share their external id with others; the id is shown as the value."""
        identifier = pl.col(EXTERNAL_ID)
        self.add(
            identifiers.to_frame(EXTERNAL_ID).select(
                identifier.alias(KEY),
                pl.lit(EXTERNAL_ID).alias(FIELD),
                pl.lit(Rule.DUPLICATE_EXTERNAL_ID.value).alias(RULE),
                identifier.alias(VALUE),
                identifier,
            )
        )

    def close(self) -> FileEntry | None:
        """Publish the file and describe it; None if nothing was rejected."""
        return None if self._file is None else self._file.close()


def read_rejected(path: Path) -> pl.DataFrame:
    """Read a reject file: the columns of `REJECT_HEADER`, all String."""
    return pl.read_csv(path, schema=dict.fromkeys(REJECT_HEADER, pl.String))
