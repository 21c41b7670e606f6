"""Dispatches DDL statements. Each commits before and after, as in Oracle."""

from __future__ import annotations

from kpc.emulators.oracle.interface import ExecutionOutcome, StatementKind
from kpc.emulators.oracle.sql.ddl import alter_table, user_commands
from kpc.emulators.oracle.sql.ddl.create_objects import create_index, create_sequence, create_view
from kpc.emulators.oracle.sql.ddl.create_table import create_table
from kpc.emulators.oracle.sql.ddl.drop import drop, truncate
from kpc.emulators.oracle.sql.ddl.naming import comment, rename
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.parsing.grammar import ParsedStatement
from kpc.emulators.oracle.sql.parsing.token_reader import TokenReader
from kpc.emulators.oracle.sql.workspace import StatementWorkspace

_STORED_CODE = ("PROCEDURE", "FUNCTION", "PACKAGE", "TRIGGER", "TYPE")


def execute(workspace: StatementWorkspace, statement: ParsedStatement) -> ExecutionOutcome:
    """Run one DDL statement, committing the open transaction first."""
    workspace.transaction.commit()
    tokens = statement.tokens
    if any(token.is_word(*_STORED_CODE) for token in tokens[1:5]):
        raise unsupported(f"{tokens[0].value} of stored code")
    if tokens[-1].is_sign(";"):
        raise ora(922 if tokens[0].is_word("CREATE", "ALTER") else 933)
    reader = TokenReader(statement.sql, tokens)
    if statement.bind_names:
        raise ora(1027)
    rows = 0
    with workspace.store.lock:
        if reader.take("CREATE"):
            rows = _create(workspace, reader)
        elif reader.take("ALTER"):
            _alter(workspace, reader)
        elif reader.take("DROP"):
            drop(workspace, reader)
        elif reader.take("TRUNCATE"):
            truncate(workspace.store, workspace.schema, reader)
        elif reader.take("COMMENT", "ON"):
            comment(workspace.schema, reader)
        elif reader.take("RENAME"):
            rename(workspace.store, workspace.schema.name, reader)
        elif not user_commands.execute(workspace, reader):
            raise unsupported(f"statement {tokens[0].value}")
    return ExecutionOutcome(StatementKind.DDL, row_count=rows)


def _alter(workspace: StatementWorkspace, reader: TokenReader) -> None:
    if reader.take("USER"):
        user_commands.alter_user(workspace.store.grants, workspace.settings.user, reader)
        return
    reader.expect("TABLE", 940)
    alter_table.execute(workspace, reader)


def _create(workspace: StatementWorkspace, reader: TokenReader) -> int:
    replace = reader.take("OR", "REPLACE")
    if reader.take("FORCE") or reader.take("NOFORCE"):
        pass
    if reader.take("TABLE"):
        return create_table(workspace, reader)
    if reader.take("VIEW"):
        create_view(workspace, reader, replace=replace)
    elif reader.take("SEQUENCE"):
        create_sequence(workspace, reader)
    elif reader.take("UNIQUE", "INDEX"):
        create_index(workspace, reader, unique=True)
    elif reader.take("INDEX"):
        create_index(workspace, reader, unique=False)
    elif reader.take("USER"):
        user_commands.create_user(workspace.store.grants, workspace.settings.user, reader)
    else:
        raise unsupported(f"CREATE {reader.next(901).value}")
    return 0
