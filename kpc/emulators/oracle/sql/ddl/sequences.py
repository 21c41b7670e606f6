"""What CREATE SEQUENCE and GENERATED AS IDENTITY say, and the sequence behind an identity column."""

from __future__ import annotations

from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.parsing.token_reader import TokenReader
from kpc.emulators.oracle.sql.storage.store import ALWAYS, BY_DEFAULT, StoredSequence, TableColumn, TableStore

_FLAGS = frozenset({"NOCACHE", "NOCYCLE", "NOORDER", "ORDER", "NOMAXVALUE", "NOMINVALUE", "KEEP", "NOKEEP"})


def read_options(reader: TokenReader, made: StoredSequence) -> None:
    """START WITH, INCREMENT BY and the rest, up to the end or a closing parenthesis. Raises ORA-00933."""
    start = None
    while not reader.is_done and not reader.peek(")"):
        if reader.take("START", "WITH"):
            start = _integer(reader)
        elif reader.take("INCREMENT", "BY"):
            made.increment = _integer(reader)
        elif reader.take("MAXVALUE"):
            made.maximum = _integer(reader)
        elif reader.take("MINVALUE"):
            made.minimum = _integer(reader)
        elif reader.take("CACHE"):
            _integer(reader)
        elif reader.take("CYCLE"):
            made.cycle = True
        elif reader.next().value not in _FLAGS:
            raise ora(933)
    if made.increment < 0 and made.minimum == 1:
        made.minimum, made.maximum = -(10**27 - 1), -1
    made.next_value = start if start is not None else (made.minimum if made.increment > 0 else made.maximum)
    made.first_value = made.next_value
    if start is not None:
        made.minimum = min(made.minimum, start)


def _integer(reader: TokenReader) -> int:
    sign = -1 if reader.take("-") else 1
    token = reader.next(1722)
    if not token.value.isdigit():
        raise ora(1722)
    return sign * int(token.value)


def read_identity(reader: TokenReader, column: TableColumn) -> None:
    """What follows GENERATED: [ALWAYS | BY DEFAULT [ON NULL]] AS IDENTITY [(options)]."""
    column.identity = ALWAYS
    if reader.take("BY", "DEFAULT"):
        column.identity = BY_DEFAULT
        column.default_on_null = reader.take("ON", "NULL")
    else:
        reader.take("ALWAYS")
    if not reader.take("AS", "IDENTITY"):
        raise unsupported("virtual columns")
    if not column.type.is_number:
        raise ora(30675)
    column.sequence = StoredSequence("", "", 0)
    if reader.take("("):
        read_options(reader, column.sequence)
        reader.expect(")", 907)
    column.nullable = False


def enter_identity(store: TableStore, owner: str, column: TableColumn) -> None:
    """Make the sequence that fills an identity column, under the name that Oracle would give it."""
    assert column.sequence is not None
    made = column.sequence
    made.object_id = store.next_object_id()
    made.owner, made.name = owner, f"ISEQ$$_{made.object_id}"
    store.objects[owner, made.name] = made
    column.default = f'"{owner}"."{made.name}".NEXTVAL'
