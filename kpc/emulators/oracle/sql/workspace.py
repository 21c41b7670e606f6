"""The state in which a session's statements run: its settings, names, open transaction and DuckDB connection."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import duckdb

from kpc.emulators.oracle.sql.context import Context, SessionSettings
from kpc.emulators.oracle.sql.dictionary.session_schema import SessionSchema
from kpc.emulators.oracle.sql.dml.executor import Executor
from kpc.emulators.oracle.sql.instance import Instance
from kpc.emulators.oracle.sql.interruption import Interruption
from kpc.emulators.oracle.sql.messages import ora
from kpc.emulators.oracle.sql.storage.store import StoredTable, TableStore
from kpc.emulators.oracle.sql.transactions.transaction import Transaction
from kpc.emulators.oracle.sql.types.values import Expr


class StatementWorkspace:
    """What DML, DDL and PL/SQL work with; `cursor` runs everything but open queries."""

    def __init__(self, instance: Instance, settings: SessionSettings) -> None:
        self.settings = settings
        self.store: TableStore = instance.store
        self.interruption = Interruption()
        self.transaction = Transaction(settings.session_id, self.store, instance.locks, self.interruption.check)
        self.schema = SessionSchema(instance, self.transaction, settings.schema, settings.user)
        self.cursor: duckdb.DuckDBPyConnection = self.store.cursor()
        self._clock: Callable[[], dt.datetime] = instance.clock
        self._costs = instance.costs

    def context(self, binds: dict[str, Expr], *, is_describe: bool = False) -> Context:
        """A context for one compilation, as of now."""
        return Context(self.settings, self.schema, binds, self._clock(), self.store.scn, is_describe=is_describe)

    def executor(self, context: Context) -> Executor:
        """What runs DML in `context`; a break stops it."""
        self.interruption.watch(self.cursor)
        return Executor(context, self.schema, self.transaction, self.cursor)

    def change_schema(self, name: str) -> None:
        """CURRENT_SCHEMA. Raises ORA-01435."""
        if name not in self.store.grants.users:
            raise ora(1435)
        self.settings.schema = self.schema.name = name

    def set_attributes(self, **attributes: str | None) -> None:
        """Unknown attributes are kept too: V$SESSION shows those it has a column for."""
        schema = attributes.pop("current_schema", None)
        if schema:
            self.change_schema(schema)
        self.settings.attributes.update(attributes)

    def gather_statistics(self, table: StoredTable) -> None:
        """Count the table for the dictionary, as the optimizer's nightly job does."""
        self._costs.gather(table, self.cursor, self._clock())

    def close(self) -> None:
        self.transaction.close()
        self.cursor.close()
