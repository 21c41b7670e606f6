"""Queries of a session before their rows are read: compiled, described, their rows locked."""

from __future__ import annotations

import duckdb

from kpc.emulators.oracle.interface import OraColumn, OraError
from kpc.emulators.oracle.sql.context import Context
from kpc.emulators.oracle.sql.messages import from_duckdb, ora, unsupported
from kpc.emulators.oracle.sql.parsing import lexer
from kpc.emulators.oracle.sql.parsing.grammar import ParsedStatement
from kpc.emulators.oracle.sql.query import bind_rows
from kpc.emulators.oracle.sql.query.compiled import CompiledQuery
from kpc.emulators.oracle.sql.query.compiler import QueryCompiler
from kpc.emulators.oracle.sql.storage.grants import READING
from kpc.emulators.oracle.sql.workspace import StatementWorkspace


def compile_query(statement: ParsedStatement, context: Context) -> CompiledQuery:
    assert statement.tree is not None
    names = lexer.select_items(statement.sql, statement.tokens)
    return QueryCompiler(context).compile(statement.tree, names=names)


def describe(workspace: StatementWorkspace, statement: ParsedStatement) -> tuple[OraColumn, ...]:
    """The columns of a query whose binds need not be set."""
    context = workspace.context(bind_rows.unset(len(statement.bind_names)), is_describe=True)
    query = compile_query(statement, context)
    _validate(workspace, query, context, statement)
    return tuple(output.described for output in query.columns)


def _validate(
    workspace: StatementWorkspace, query: CompiledQuery, context: Context, statement: ParsedStatement
) -> None:
    """Let DuckDB bind the query, so that describe refuses what execute would."""
    with workspace.store.lock:
        for name, table in context.arrow.items():
            workspace.cursor.register(name, table)
        try:
            workspace.cursor.execute(f"EXPLAIN {query.sql}").fetchall()
        except duckdb.Error as error:
            raise explained(error, statement) from None


def lock_rows(workspace: StatementWorkspace, query: CompiledQuery) -> None:
    """FOR UPDATE: lock until nothing more had to be waited for."""
    if query.locks is None:
        return
    for name, sql in query.locks.tables:
        owner, _, table_name = name.partition(".")
        table = workspace.schema.table(owner or None, table_name, READING)
        waited = True
        while waited:
            workspace.interruption.watch(workspace.cursor)
            rids = workspace.cursor.sql(sql).to_arrow_table()["p"].to_pylist()
            wanted: list[object] = [(table.object_id, rid) for rid in rids if rid is not None]
            if query.locks.skip_locked:
                raise ora(3001)
            waited = workspace.transaction.lock(wanted, query.locks.wait_s)


def explained(error: BaseException, statement: ParsedStatement) -> OraError:
    """DuckDB's error as Oracle's; which of two codes it is depends on the statement's text."""
    made = from_duckdb(error)
    if made.code == 979 and "GROUP" not in statement.text.upper():
        return ora(937)
    if made.code == 978 and "GROUP" in statement.text.upper():
        return unsupported("nested group functions")
    return made
