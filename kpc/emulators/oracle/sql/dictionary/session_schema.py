"""Names as one session sees them: its own tables first, then public synonyms and the dictionary."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import replace

from kpc.emulators.oracle.sql.context import ColumnView, Context, RelationView
from kpc.emulators.oracle.sql.dictionary.views import dictionary_view
from kpc.emulators.oracle.sql.instance import Instance
from kpc.emulators.oracle.sql.messages import ora
from kpc.emulators.oracle.sql.parsing.grammar import parse_tree
from kpc.emulators.oracle.sql.query.compiler import QueryCompiler
from kpc.emulators.oracle.sql.storage.grants import EXEMPT_FROM_POLICIES, EXEMPT_FROM_REDACTION, READING
from kpc.emulators.oracle.sql.storage.store import SchemaObject, StoredSequence, StoredTable, StoredView, TableStore
from kpc.emulators.oracle.sql.transactions.transaction import Transaction
from kpc.emulators.oracle.sql.types import values
from kpc.emulators.oracle.sql.types.datatypes import varchar2
from kpc.emulators.oracle.sql.types.values import Expr

_REDACTED = {"VARCHAR": "' '", "TIMESTAMP": "TIMESTAMP '2001-01-01'", "BIGINT": "0"}
_DUAL = RelationView("(SELECT 'X' AS dummy)", (ColumnView("DUMMY", "dummy", varchar2(1)),))


class SessionSchema:
    """See `context.NameLookup`."""

    def __init__(self, instance: Instance, transaction: Transaction, schema: str, user: str) -> None:
        self._instance = instance
        self._store: TableStore = instance.store
        self._transaction = transaction
        self.name = schema
        self.user = user
        self.current_values: dict[tuple[str, str], int] = {}

    def find(self, owner: str | None, name: str) -> SchemaObject | None:
        return self._store.find(owner or self.name, name)

    def table(self, owner: str | None, name: str, wanted: Iterable[str] = ()) -> StoredTable:
        """A base table, for its owner or who has one of the `wanted` privileges. Raises ORA-00942 or ORA-01031."""
        found = self.find(owner, name)
        if found is not None:
            self._store.grants.check(self.user, found.owner, name, wanted)
        if isinstance(found, StoredView):
            raise ora(1732)
        if not isinstance(found, StoredTable):
            raise ora(942)
        return found

    def relation(self, owner: str | None, name: str, context: Context, *, scn: int | None) -> RelationView:
        found = self.find(owner, name)
        scn = context.as_of if scn is None else scn
        if found is not None:
            self._store.grants.check(self.user, found.owner, name, READING)
            if scn is not None:
                self._store.grants.check_flashback(self.user, found.owner, name)
        if isinstance(found, StoredTable):
            return self._as_policies_let_see(found, self.table_view(found, scn))
        if isinstance(found, StoredView):
            return self._expand(found, context, scn)
        if name == "DUAL" and owner in (None, "SYS", "PUBLIC"):
            return _DUAL
        made = dictionary_view(owner, name, self._instance, context, self.user) if found is None else None
        if made is None:
            raise ora(942)
        return made

    def table_view(self, table: StoredTable, scn: int | None = None) -> RelationView:
        overlay = self._transaction.overlay(table)
        if overlay is not None:
            self._transaction.refit(table)
        sql = self._store.relation_sql(table, scn, overlay)
        columns = tuple(ColumnView(c.name, c.stored, c.type, c.nullable) for c in table.columns)
        return RelationView(sql, columns, "rid", table)

    def _as_policies_let_see(self, table: StoredTable, view: RelationView) -> RelationView:
        """Row-level security hides every second row; full redaction puts its type's default in place of a value."""
        facts, grants = self._store.facts, self._store.grants
        hides = table.name in facts.row_policies and not grants.has_system(self.user, EXEMPT_FROM_POLICIES)
        redacted = {name.partition(".")[2] for name in facts.redactions if name.startswith(f"{table.name}.")}
        if grants.has_system(self.user, EXEMPT_FROM_REDACTION):
            redacted = set()
        if not hides and not redacted:
            return view
        replaced = ", ".join(
            f"CASE WHEN {c.stored} IS NOT NULL THEN {_REDACTED.get(c.type.duckdb, 'NULL')} END AS {c.stored}"
            for c in view.columns
            if c.name in redacted
        )
        columns = f"* REPLACE ({replaced})" if replaced else "*"
        return replace(view, sql=f"(SELECT {columns} FROM {view.sql}{' WHERE rid % 2 = 0' if hides else ''})")

    def _expand(self, view: StoredView, context: Context, scn: int | None) -> RelationView:
        inner = SessionSchema(self._instance, self._transaction, view.owner, view.owner)
        outer, context.schema = context.schema, inner
        before, context.as_of = context.as_of, scn
        try:
            query = QueryCompiler(context).compile_view(parse_tree(view.text))
        finally:
            context.schema, context.as_of = outer, before
        names = view.names or tuple(column.name for column in query.columns)
        columns = tuple(
            ColumnView(name, f"c{i}", column.type, column.nullable)
            for i, (name, column) in enumerate(zip(names, query.columns, strict=True))
        )
        return RelationView(f"({query.sql})", columns, query.rowid, late=query.late, rowid_error=query.rowid_error)

    def sequence_value(self, owner: str | None, name: str, pseudo: str, context: Context) -> Expr | None:
        sequence = self.find(owner, name)
        if not isinstance(sequence, StoredSequence) or not self._store.grants.is_visible(
            self.user, sequence.owner, name
        ):
            raise ora(2289)
        key = (sequence.owner, sequence.name)
        if context.is_describe:
            return values.number(0)
        if pseudo == "CURRVAL" and f"{key}" not in context.sequences:
            if key not in self.current_values:
                raise ora(8002, name)
            return values.number(self.current_values[key])
        if context.many_rows:
            context.sequences[f"{key}"] = sequence.next_value
            return Expr(
                f"({sequence.next_value} + (row_number() OVER () - 1) * {sequence.increment})::BIGINT",
                values.number(10**17).type,
            )
        if f"{key}" not in context.sequences:
            context.sequences[f"{key}"] = self.take(sequence)
        return values.number(context.sequences[f"{key}"])

    def take(self, sequence: StoredSequence, count: int = 1) -> int:
        """The next value of a sequence; `count` values are consumed."""
        with self._store.lock:
            value = sequence.next_value
            last = value + (count - 1) * sequence.increment
            if not sequence.minimum <= last <= sequence.maximum:
                if not sequence.cycle:
                    raise ora(8004, sequence.name)
                value = last = sequence.minimum if sequence.increment > 0 else sequence.maximum
            sequence.next_value = last + sequence.increment
            self.current_values[sequence.owner, sequence.name] = last
            return value

    def scn_at(self, moment: dt.datetime) -> int:
        return self._store.scn_at(moment)

    def moment_of(self, scn: int) -> dt.datetime:
        return self._store.moment_of(scn)
