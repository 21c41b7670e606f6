"""CREATE TABLE's column and constraint clauses."""

from __future__ import annotations

from dataclasses import dataclass, field

from kpc.emulators.oracle.interface import OraType
from kpc.emulators.oracle.sql.ddl import sequences
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.parsing.lexer import Kind
from kpc.emulators.oracle.sql.parsing.token_reader import TokenReader
from kpc.emulators.oracle.sql.storage.physical import RangePartitions
from kpc.emulators.oracle.sql.storage.store import Constraint, TableColumn
from kpc.emulators.oracle.sql.types import datatypes

_COLUMN_WORDS = (
    "NOT",
    "NULL",
    "DEFAULT",
    "CONSTRAINT",
    "PRIMARY",
    "UNIQUE",
    "CHECK",
    "REFERENCES",
    "GENERATED",
    "INVISIBLE",
    "ENABLE",
    "DISABLE",
)
# What describes storage and has no meaning here.
_STORAGE_FLAGS = frozenset(
    {
        "LOGGING",
        "NOLOGGING",
        "COMPRESS",
        "NOCOMPRESS",
        "CACHE",
        "NOCACHE",
        "PARALLEL",
        "NOPARALLEL",
        "MONITORING",
        "ENABLE",
        "VALIDATE",
    }
)
_STORAGE_VALUES = frozenset({"TABLESPACE", "PCTFREE", "PCTUSED", "INITRANS", "MAXTRANS"})


@dataclass(slots=True)
class Definition:
    """What the parentheses of CREATE TABLE say. `references` are (constraint, owner, table, columns)."""

    columns: list[TableColumn] = field(default_factory=list)
    constraints: list[Constraint] = field(default_factory=list)
    references: list[tuple[Constraint, str | None, str, tuple[str, ...]]] = field(default_factory=list)
    is_index_organized: bool = False
    partitions: RangePartitions | None = None


def read_definition(reader: TokenReader) -> Definition:
    """Everything between the parentheses."""
    made = Definition()
    reader.expect("(", 906)
    while True:
        if any(reader.peek(word) for word in ("CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "FOREIGN")):
            read_table_constraint(reader, made)
        else:
            made.columns.append(read_column(reader, made))
        if not reader.take(","):
            break
    reader.expect(")", 907)
    names = [column.name for column in made.columns]
    if len(set(names)) < len(names):
        raise ora(957)
    return made


def read_type(reader: TokenReader) -> datatypes.SqlType:
    return datatypes.parse_type(reader.slice_until(*_COLUMN_WORDS))


def read_column(reader: TokenReader, made: Definition) -> TableColumn:
    """name type [DEFAULT expression] [constraints]"""
    token = reader.next(904)
    if token.kind not in (Kind.WORD, Kind.QUOTED):
        raise ora(904, f'"{token.value}"')
    column = TableColumn(token.value, "", read_type(reader))
    read_column_rules(reader, column, made)
    return column


def read_column_rules(reader: TokenReader, column: TableColumn, made: Definition) -> None:
    """DEFAULT, NOT NULL and the inline constraints."""
    while not reader.is_done and not reader.peek(",") and not reader.peek(")"):
        name = reader.identifier(2253) if reader.take("CONSTRAINT") else ""
        if reader.take("DEFAULT"):
            if reader.take("ON", "NULL"):
                column.default_on_null, column.nullable = True, False
            column.default = (
                reader.slice_until("NOT", "NULL", "CONSTRAINT", "PRIMARY", "UNIQUE", "CHECK", "REFERENCES")
                if not reader.take("NULL")
                else None
            )
        elif reader.take("GENERATED"):
            sequences.read_identity(reader, column)
        elif reader.take("NOT", "NULL"):
            column.nullable = False
            made.constraints.append(Constraint(name, "C", (column.name,), f'"{column.name}" IS NOT NULL'))
        elif reader.take("NULL"):
            column.nullable = True
        elif reader.take("PRIMARY", "KEY"):
            made.constraints.append(Constraint(name, "P", (column.name,)))
        elif reader.take("UNIQUE"):
            made.constraints.append(Constraint(name, "U", (column.name,)))
        elif reader.take("CHECK"):
            made.constraints.append(Constraint(name, "C", (column.name,), reader.parenthesised()))
        elif reader.take("REFERENCES"):
            _read_reference(reader, Constraint(name, "R", (column.name,)), made)
        elif not (reader.take("ENABLE") or reader.take("VALIDATE")):
            raise unsupported(f"column option {reader.next().value}")
        _skip_state(reader)


def read_table_constraint(reader: TokenReader, made: Definition) -> None:
    """[CONSTRAINT name] PRIMARY KEY | UNIQUE | CHECK | FOREIGN KEY ..."""
    name = reader.identifier(2253) if reader.take("CONSTRAINT") else ""
    if reader.take("PRIMARY", "KEY"):
        made.constraints.append(Constraint(name, "P", reader.names()))
    elif reader.take("UNIQUE"):
        made.constraints.append(Constraint(name, "U", reader.names()))
    elif reader.take("CHECK"):
        made.constraints.append(Constraint(name, "C", (), reader.parenthesised()))
    elif reader.take("FOREIGN", "KEY"):
        constraint = Constraint(name, "R", reader.names())
        reader.expect("REFERENCES", 905)
        _read_reference(reader, constraint, made)
    else:
        raise ora(904, "")
    _skip_state(reader)


def _read_reference(reader: TokenReader, constraint: Constraint, made: Definition) -> None:
    owner, table = reader.object_name()
    columns = reader.names() if reader.peek("(") else ()
    if reader.take("ON", "DELETE"):
        raise unsupported("ON DELETE")
    made.constraints.append(constraint)
    made.references.append((constraint, owner, table, columns))


def _skip_state(reader: TokenReader) -> None:
    while True:
        if reader.take("USING", "INDEX"):
            skip_storage(reader)
        elif (
            reader.take("NOT", "DEFERRABLE")
            or reader.take("INITIALLY", "IMMEDIATE")
            or reader.take("ENABLE")
            or reader.take("VALIDATE")
            or reader.take("RELY")
            or reader.take("NORELY")
        ):
            continue
        elif reader.peek("DISABLE") or reader.peek("DEFERRABLE") or reader.peek("NOVALIDATE"):
            raise unsupported(f"constraint state {reader.next().value}")
        else:
            return


def read_organization(reader: TokenReader) -> bool:
    """ORGANIZATION INDEX | HEAP, and the physical properties around it; whether it is an index."""
    skip_storage(reader)
    if not reader.take("ORGANIZATION"):
        return False
    is_index = reader.take("INDEX")
    if not is_index:
        reader.expect("HEAP", 922)
    skip_storage(reader)
    return is_index


def skip_storage(reader: TokenReader) -> None:
    """Physical properties: accepted, without effect."""
    while not reader.is_done:
        token = reader.tokens[reader.at]
        if token.kind is not Kind.WORD:
            return
        if token.value in _STORAGE_VALUES:
            reader.at += 2
        elif token.value == "STORAGE":
            reader.at += 1
            reader.parenthesised()
        elif token.value in _STORAGE_FLAGS:
            reader.at += 1
            if not reader.is_done and reader.tokens[reader.at].kind is Kind.NUMBER:
                reader.at += 1
        elif token.value == "SEGMENT":
            reader.at += 3  # SEGMENT CREATION IMMEDIATE | DEFERRED
        else:
            return


def check_column_types(columns: list[TableColumn]) -> None:
    for column in columns:
        if column.type.ora is OraType.BOOLEAN or column.type.is_null:
            raise ora(902)
