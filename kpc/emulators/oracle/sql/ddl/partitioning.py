"""PARTITION BY RANGE: accepted with MAXVALUE as the last bound, so that every row has its partition."""

from __future__ import annotations

from kpc.emulators.oracle.sql.ddl.preconditions import query_of
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.parsing.token_reader import TokenReader
from kpc.emulators.oracle.sql.storage.physical import RangePartitions
from kpc.emulators.oracle.sql.workspace import StatementWorkspace


def read_partitions(workspace: StatementWorkspace, reader: TokenReader) -> RangePartitions | None:
    """PARTITION BY RANGE (column) (PARTITION name VALUES LESS THAN (bound), ...), if it comes next."""
    if not reader.take("PARTITION", "BY"):
        return None
    if not reader.take("RANGE"):
        raise unsupported("partitions other than by range")
    columns = reader.names()
    if len(columns) != 1:
        raise unsupported("partitions by several columns")
    if reader.peek("INTERVAL"):
        raise unsupported("interval partitions")
    reader.expect("(", 906)
    names, written = [], []
    while True:
        reader.expect("PARTITION", 14004)
        names.append(reader.identifier(14004))
        for word in ("VALUES", "LESS", "THAN"):
            reader.expect(word, 14004)
        written.append(reader.parenthesised())
        if not reader.take(","):
            break
    reader.expect(")", 907)
    if written.pop().strip().upper() != "MAXVALUE":
        raise unsupported("range partitions without MAXVALUE")
    bounds = tuple(f"({query_of(workspace, f'SELECT {text} FROM DUAL').sql})" for text in written)
    return RangePartitions(columns[0], tuple(names), bounds, tuple(written))


def check_column(parts: RangePartitions | None, columns: set[str]) -> None:
    """Raises ORA-00904 for partitions by a column that the table does not have."""
    if parts is not None and parts.column not in columns:
        raise ora(904, f'"{parts.column}"')
