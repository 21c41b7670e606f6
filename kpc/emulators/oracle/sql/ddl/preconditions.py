"""Checks before CREATE and DROP: privileges, free names, and the query after AS."""

from __future__ import annotations

from kpc.emulators.oracle.sql.messages import ora
from kpc.emulators.oracle.sql.parsing.grammar import parse_statement
from kpc.emulators.oracle.sql.query.compiled import CompiledQuery
from kpc.emulators.oracle.sql.query.compiler import QueryCompiler
from kpc.emulators.oracle.sql.storage.grants import DBA, Grants
from kpc.emulators.oracle.sql.storage.store import TableStore
from kpc.emulators.oracle.sql.workspace import StatementWorkspace


def check_free(store: TableStore, owner: str, name: str) -> None:
    """Raises ORA-01918 if there is no such user, ORA-00955 if the name is taken."""
    if owner not in store.grants.users:
        raise ora(1918, owner)
    if store.find(owner, name) is not None:
        raise ora(955)


def check_create(grants: Grants, user: str, owner: str, privilege: str) -> None:
    """Raises ORA-01031 for a user without the privilege, or who is not the owner."""
    if user != DBA and (user != owner or not grants.has_system(owner, privilege)):
        raise ora(1031)


def check_drop(store: TableStore, user: str, owner: str, name: str) -> None:
    """Raises ORA-01031 for another user's visible object, ORA-00942 for an invisible one."""
    if store.find(owner, name) is not None:
        store.grants.check(user, owner, name, ())


def query_of(workspace: StatementWorkspace, text: str) -> CompiledQuery:
    """The query after AS."""
    statement = parse_statement(text)
    if statement.tree is None:
        raise ora(928)
    return QueryCompiler(workspace.context({})).compile(statement.tree)
