"""Checks of one source table by the dictionary: object type, flashback, access path, key, policies."""

from __future__ import annotations

from collections.abc import Iterator

from kpc.campaign.source_facts import SourceFacts, TableFacts
from kpc.campaign.system_check import CheckSubject, SystemCheck
from kpc.catalog.table import Table
from kpc.extract.statements import rows_of
from kpc.oracle.session import Oracle, ReadSession
from kpc.oracle.statement import Statement

_LARGE_BYTES = 2 * 10**9  # a scan of less takes seconds


def check_table(
    session: ReadSession, oracle: Oracle, table: Table, facts: SourceFacts, scn: int
) -> Iterator[SystemCheck]:
    """All checks of a table; none if the user cannot see it, which the comparison with the catalog reports."""
    known = facts.tables.get(table.name)
    if known is None:
        return
    about = CheckSubject("Oracle", table.name)
    yield _object_type(about, table, known)
    yield about.run("flashback", lambda: _flashback(session, oracle, table, scn))
    yield _access_path(about, table, known)
    yield _key(about, table, known)
    yield _row_policy(about, table, facts)
    yield _redaction(about, table, facts)


def _object_type(about: CheckSubject, table: Table, known: TableFacts) -> SystemCheck:
    name = "object type"
    if known.is_temporary:
        return about.failed(
            name,
            "It is a temporary table: every session sees only its own rows.",
            "Ask the DBA where the rows are kept.",
        )
    kind = "index-organized table" if known.is_index_organized else known.object_type.lower()
    if table.has_rowid and kind != "table":
        return about.failed(
            name,
            f"It is a {kind}, but kpc/catalog says that it has ROWIDs, which the chunks would be ranges of.",
            f"Set has_rowid=False for {table.name} in kpc/catalog, or read the table behind it.",
        )
    return about.ok(name, kind)


def _flashback(session: ReadSession, oracle: Oracle, table: Table, scn: int) -> str:
    """A query AS OF SCN: no dictionary view that a user may read shows the privilege."""
    session.read(Statement(f"SELECT 1 FROM {rows_of(oracle.owner, table, scn)} WHERE ROWNUM <= 1"), table.name)
    return f"read as of SCN {scn}"


def _access_path(about: CheckSubject, table: Table, known: TableFacts) -> SystemCheck:
    name = "access path"
    if known.object_type == "VIEW":
        return about.ok(name, "a view; its size is not known")
    if known.rows is None or known.raw_bytes is None:
        return about.warning(
            name,
            "It has no statistics, so size, duration and undo are not known, and the optimizer has to guess.",
            f"Ask the DBA: EXEC DBMS_STATS.GATHER_TABLE_STATS(OWNER, '{table.name}').",
        )
    size = f"{known.rows:,} rows, {known.raw_bytes / 1e6:,.0f} MB"
    if not table.is_monthly or table.month_column is None:
        return about.ok(name, f"{size}, one partition")
    path = _path_to_month(table, known)
    if path:
        return about.ok(name, f"{size}, {path}")
    return about.warning(
        name,
        f"{size}, neither partitioned by {table.month_column} nor with an index on it: reading a single month scans "
        "all of it.",
        f"Read it once for all months: `kpc one-pass {table.name} --months FIRST:COUNT`; `kpc plan` shows the months.",
    )


def _path_to_month(table: Table, known: TableFacts) -> str:
    """How the rows of one month are found without scanning a large table; empty if that is impossible."""
    if known.partition_column == table.month_column:
        return f"partitioned by {table.month_column}"
    if table.month_column in known.leading_columns:
        return f"index on {table.month_column}"
    return "small enough to be scanned for each month" if (known.raw_bytes or 0) < _LARGE_BYTES else ""


def _key(about: CheckSubject, table: Table, known: TableFacts) -> SystemCheck:
    name = "unique key"
    if any(columns and columns <= set(table.key) for columns in known.unique_keys):
        return about.ok(name, "unique index")
    return about.warning(
        name,
        f"No unique index covers the key {', '.join(table.key)}, so the source may hold duplicates, all of which "
        "are rejected.",
        "Count them in Oracle (GROUP BY the key HAVING COUNT(*) > 1) and agree on a wider key before the campaign.",
    )


def _row_policy(about: CheckSubject, table: Table, facts: SourceFacts) -> SystemCheck:
    name = "row-level security"
    if table.name not in facts.row_policies:
        return about.ok(name, "no policy")
    if "EXEMPT ACCESS POLICY" in facts.privileges:
        return about.ok(name, "a policy, from which the user is exempt")
    return about.failed(
        name,
        "A policy may hide rows from this user, even from the counts that verify the extract: both would agree without "
        "them.",
        "Ask the DBA: GRANT EXEMPT ACCESS POLICY to the user, or use another user, who may see every row.",
    )


def _redaction(about: CheckSubject, table: Table, facts: SourceFacts) -> SystemCheck:
    name = "redaction"
    redacted = [column for column in facts.redacted.get(table.name, ()) if column in table.by_name]
    if not redacted:
        return about.ok(name, "no column")
    if "EXEMPT REDACTION POLICY" in facts.privileges:
        return about.ok(name, f"{', '.join(redacted)}, from which the user is exempt")
    return about.failed(
        name,
        f"Oracle redacts {', '.join(redacted)}: the extract would hold what the policy puts in their place.",
        "Ask the DBA: GRANT EXEMPT REDACTION POLICY to the user.",
    )
