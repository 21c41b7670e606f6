"""The declaration of a table: its name, the fields that its columns become, and the measures that prove its arrival.

Nothing else is specific to a table. From the declaration follow the SELECT, the chunk plan, the CSV header, the
expectation suite, the upsert target, the load order, the four assets, the DAGs and the emulators' schemas.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property

from kpc.catalog.types import (
    CURRENCY_FIELD,
    EXTERNAL_ID,
    GENERATION_FIELD,
    MARKERS,
    PARTITION_FIELD,
    Column,
    FieldKind,
    Lookup,
    Measure,
    Phase,
    Pii,
)

_WITHOUT_EFFECT_ON_ROWS = frozenset({"rows_per_year", "sessions", "parallel_degree", "chunk_degree"})


@dataclass(frozen=True, eq=False)
class TableDeclaration:
    """One Oracle table, the Salesforce object it becomes, and how it is moved."""

    name: str
    target: str
    phase: Phase
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    rows_per_year: int
    measures: tuple[Measure, ...]
    lookups: tuple[Lookup, ...] = ()
    month_column: str | None = None  # partitioned by the local calendar month of this column; None: one partition, ALL
    day_field: str | None = None  # the target Date field of month_column
    update_column: str | None = None  # set by the source whenever a row changes; the watermark column
    created_column: str | None = None  # used where update_column is NULL: a row that never changed
    chunk_rows: int = 500_000
    sessions: int = 1  # reading one partition at the same time; each takes a slot of the extract pool
    parallel_degree: int = 1  # of the statements that scan the whole table: control totals, plan, keys
    chunk_degree: int = 1  # of the scans of single chunks, which already run in parallel
    currency: str | None = None  # ISO 4217 code of all amounts, sent with each row; only for an org with several
    has_rowid: bool = True  # False for a view or an index-organized table: chunks are ranges of the key instead

    @property
    def slug(self) -> str:
        """The table's name in assets, DAG ids and paths."""
        return self.name.lower()

    @property
    def is_monthly(self) -> bool:
        return self.month_column is not None

    @cached_property
    def by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}

    @cached_property
    def sent_columns(self) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.is_sent)

    @cached_property
    def extracted_columns(self) -> tuple[Column, ...]:
        """The columns that are read from Oracle: a personal one that is left out is not, unless it identifies rows."""
        needed = {*self.key, *(name for lookup in self.lookups for name in lookup.columns)}
        needed |= {name for name in (self.month_column, self.update_column, self.created_column) if name}
        return tuple(each for each in self.columns if each.pii is not Pii.LEAVE_OUT or each.name in needed)

    @cached_property
    def key_columns(self) -> tuple[Column, ...]:
        return tuple(self.by_name[name] for name in self.key)

    @cached_property
    def change_columns(self) -> tuple[Column, ...]:
        """The columns that say when a row last changed; the first that is not NULL counts. Empty: not known."""
        return tuple(self.by_name[name] for name in (self.update_column, self.created_column) if name)

    @cached_property
    def measured_columns(self) -> tuple[Column, ...]:
        return tuple(self.by_name[measure.column] for measure in self.measures)

    @cached_property
    def amounts(self) -> tuple[Column, ...]:
        """The columns that become currency fields."""
        return tuple(column for column in self.sent_columns if column.type and column.type.kind is FieldKind.CURRENCY)

    @cached_property
    def currencies(self) -> tuple[str, ...]:
        """The ISO codes that rows may name: the declared one, or those of the column that becomes CurrencyIsoCode.

        Empty for an org with one currency: its records have no such field.
        """
        named = [column.type.values for column in self.sent_columns if column.field == CURRENCY_FIELD and column.type]
        return (self.currency,) if self.currency else (*named, ())[0]

    @cached_property
    def data_header(self) -> tuple[str, ...]:
        """The CSV columns that carry data, in order: external id, lookups, fields, the declared currency.

        Checksums cover exactly these.
        """
        lookups = (lookup.header for lookup in self.lookups)
        currency = (CURRENCY_FIELD,) if self.currency else ()
        return (EXTERNAL_ID, *lookups, *(column.field or "" for column in self.sent_columns), *currency)

    @cached_property
    def header(self) -> tuple[str, ...]:
        """The whole CSV header: the data and the two markers."""
        return (*self.data_header, PARTITION_FIELD, GENERATION_FIELD)

    @cached_property
    def declaration(self) -> dict[str, object]:
        """The table as plain JSON data, complete enough to know later how a row was mapped.

        Settings of parallelism, and whether parents are locked, are left out: they change no row.
        """
        kept = {name: value for name, value in asdict(self).items() if name not in _WITHOUT_EFFECT_ON_ROWS}
        for lookup in kept["lookups"]:
            del lookup["on_delete"]
        if self.currency is None:
            del kept["currency"]
        return kept | {"markers": MARKERS}

    @cached_property
    def mapping_version(self) -> str:
        """sha256 of the declaration, hexadecimal: rows staged under one version are mapped the same way."""
        canonical = json.dumps(self.declaration, sort_keys=True, separators=(",", ":"), default=str)
        return hashlib.sha256(canonical.encode()).hexdigest()

    @cached_property
    def external_id_version(self) -> str:
        """Hash of how the external id is composed; it may not change while the target holds rows with old ids."""
        parts = [
            (c.name, c.source.ddl, c.date_format, c.calendar, *([c.stored_as] if c.stored_as else []))
            for c in self.key_columns
        ]
        return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:16]
