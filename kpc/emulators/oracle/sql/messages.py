"""Oracle's error texts, and how DuckDB's errors become Oracle's."""

from __future__ import annotations

import re

import duckdb

from kpc.emulators.oracle.interface import OraError

# Database Error Messages, by number; {} is filled in by `ora`.
TEXTS: dict[int, str] = {
    1: "unique constraint ({}) violated",
    18: "maximum number of sessions exceeded",
    54: "resource busy and acquire with NOWAIT specified or timeout expired",
    60: "deadlock detected while waiting for resource",
    900: "invalid SQL statement",
    901: "invalid CREATE command",
    902: "invalid datatype",
    903: "invalid table name",
    904: "{}: invalid identifier",
    905: "missing keyword",
    906: "missing left parenthesis",
    907: "missing right parenthesis",
    909: "invalid number of arguments",
    910: "specified length too long for its datatype",
    911: "invalid character",
    913: "too many values",
    918: "column ambiguously defined",
    920: "invalid relational operator",
    921: "unexpected end of SQL command",
    922: "missing or invalid option",
    923: "FROM keyword not found where expected",
    924: "missing BY keyword",
    925: "missing INTO keyword",
    926: "missing VALUES keyword",
    927: "missing equal sign",
    928: "missing SELECT keyword",
    932: "inconsistent datatypes: expected {} got {}",
    933: "SQL command not properly ended",
    934: "group function is not allowed here",
    936: "missing expression",
    937: "not a single-group group function",
    938: "not enough arguments for function",
    939: "too many arguments for function",
    940: "invalid ALTER command",
    942: "table or view does not exist",
    946: "missing TO keyword",
    947: "not enough values",
    950: "invalid DROP option",
    955: "name is already used by an existing object",
    957: "duplicate column name",
    960: "ambiguous column naming in select list",
    969: "missing ON keyword",
    971: "missing SET keyword",
    972: "identifier is too long",
    975: "date + date not allowed",
    978: "nested group function without GROUP BY",
    979: "not a GROUP BY expression",
    987: "missing or invalid username(s)",
    988: "missing or invalid password(s)",
    990: "missing or invalid privilege",
    998: "must name this expression with a column alias",
    1003: "no statement parsed",
    1006: "bind variable does not exist",
    1008: "not all variables bound",
    1012: "not logged on",
    1013: "user requested cancel of current operation",
    1017: "invalid username/password; logon denied",
    1027: "bind variables not allowed for data definition operations",
    1031: "insufficient privileges",
    1045: "user {} lacks CREATE SESSION privilege; logon denied",
    1086: "savepoint '{}' never established in this session or is invalid",
    1400: "cannot insert NULL into ({})",
    1401: "inserted value too large for column",
    1407: "cannot update ({}) to NULL",
    1408: "such column list already indexed",
    1410: "invalid ROWID",
    1416: "two tables cannot be outer-joined to each other",
    1418: "specified index does not exist",
    1422: "exact fetch returns more than requested number of rows",
    1424: "missing or illegal character following the escape character",
    1425: "escape character must be character string of length 1",
    1426: "numeric overflow",
    1427: "single-row subquery returns more than one row",
    1428: "argument '{}' is out of range",
    1430: "column being added already exists in table",
    1435: "user does not exist",
    1438: "value larger than specified precision allowed for this column",
    1439: "column to be modified must be empty to change datatype",
    1440: "column to be modified must be empty to decrease precision or scale",
    1441: "cannot decrease column length because some value is too big",
    1442: "column to be modified to NOT NULL is already NOT NULL",
    1445: "cannot select ROWID from, or sample, a join view without a key-preserved table",
    1446: "cannot select ROWID from, or sample, a view with DISTINCT, GROUP BY, etc.",
    1449: "column contains NULL values; cannot alter to NOT NULL",
    1451: "column to be modified to NULL cannot be modified to NULL",
    1452: "cannot CREATE UNIQUE INDEX; duplicate keys found",
    1453: "SET TRANSACTION must be first statement of transaction",
    1455: "converting column overflows integer datatype",
    1456: "may not perform insert/delete/update operation inside a READ ONLY transaction",
    1465: "invalid hex number",
    1466: "unable to read data - table definition has changed",
    1468: "a predicate may reference only one outer-joined table",
    1476: "divisor is equal to zero",
    1481: "invalid number format model",
    1489: "result of string concatenation is too long",
    1555: 'snapshot too old: rollback segment number {} with name "{}" too small',
    1719: "outer join operator (+) not allowed in operand of OR or IN",
    1722: "invalid number",
    1723: "zero-length columns are not allowed",
    1727: "numeric precision specifier is out of range (1 to 38)",
    1728: "numeric scale specifier is out of range (-84 to 127)",
    1730: "invalid number of column names specified",
    1732: "data manipulation operation not legal on this view",
    1735: "invalid ALTER TABLE option",
    1747: "invalid user.table.column, table.column, or column specification",
    1756: "quoted string not properly terminated",
    1758: "table must be empty to add mandatory (NOT NULL) column",
    1760: "illegal argument for function",
    1767: "UPDATE ... SET expression must be a subquery",
    1780: "string literal required",
    1785: "ORDER BY item must be the number of a SELECT-list expression",
    1789: "query block has incorrect number of result columns",
    1790: "expression must have same datatype as corresponding expression",
    1791: "not a SELECTed expression",
    1796: "this operator cannot be used with lists",
    1799: "a column may not be outer-joined to a subquery",
    1810: "format code appears twice",
    1811: "Julian date precludes use of day of year",
    1816: "month may only be specified once",
    1818: "'HH24' precludes use of meridian indicator",
    1820: "format code cannot appear in date input format",
    1821: "date format not recognized",
    1830: "date format picture ends before converting entire input string",
    1839: "date not valid for month specified",
    1840: "input value not long enough for date format",
    1841: "(full) year must be between -4713 and +9999, and not be 0",
    1843: "not a valid month",
    1846: "not a valid day of the week",
    1847: "day of month must be between 1 and last day of month",
    1848: "day of year must be between 1 and 365 (366 for leap year)",
    1849: "hour must be between 1 and 12",
    1850: "hour must be between 0 and 23",
    1851: "minutes must be between 0 and 59",
    1852: "seconds must be between 0 and 59",
    1853: "seconds in day must be between 0 and 86399",
    1855: "AM/A.M. or PM/P.M. required",
    1858: "a non-numeric character was found where a numeric was expected",
    1859: "a non-alphabetic character was found where an alphabetic was expected",
    1861: "literal does not match format string",
    1867: "the interval is invalid",
    1873: "the leading precision of the interval is too small",
    1880: "the fractional seconds must be between 0 and 999999999",
    1882: "timezone region not found",
    1898: "too many precision specifiers",
    1917: "user or role '{}' does not exist",
    1918: "user '{}' does not exist",
    1920: "user name '{}' conflicts with another user or role name",
    1922: "CASCADE must be specified to drop '{}'",
    1927: "cannot REVOKE privileges you did not grant",
    1935: "missing user or role name",
    1950: "no privileges on tablespace '{}'",
    1952: "system privileges not granted to '{}'",
    2001: "user SYS is not permitted to create indexes with freelist groups",
    2003: "invalid USERENV parameter",
    2014: "SELECT FOR UPDATE cannot be specified with DISTINCT, GROUP BY, etc.",
    2149: "Specified partition does not exist",
    2158: "invalid CREATE INDEX option",
    2238: "filename lists have different numbers of files",
    2248: "invalid option for ALTER SESSION",
    2253: "constraint specification not allowed here",
    2260: "table can have only one primary key",
    2261: "such unique or primary key already exists in the table",
    2264: "name already used by an existing constraint",
    2266: "unique/primary keys in table referenced by enabled foreign keys",
    2270: "no matching unique or primary key for this column-list",
    2273: "this unique/primary key is referenced by some foreign keys",
    2275: "such a referential constraint already exists in the table",
    2287: "sequence number not allowed here",
    2289: "sequence does not exist",
    2290: "check constraint ({}) violated",
    2291: "integrity constraint ({}) violated - parent key not found",
    2292: "integrity constraint ({}) violated - child record found",
    2293: "cannot validate ({}) - check constraint violated",
    2296: "cannot enable ({}) - null values found",
    2298: "cannot validate ({}) - parent keys not found",
    2299: "cannot validate ({}) - duplicate keys found",
    2329: "column of datatype {} cannot be unique or a primary key",
    2429: "cannot drop index used for enforcement of unique/primary key",
    2430: "cannot enable constraint ({}) - no such constraint",
    2431: "cannot disable constraint ({}) - no such constraint",
    2437: "cannot validate ({}) - primary key violated",
    2441: "Cannot drop nonexistent primary key",
    2443: "Cannot drop constraint  - nonexistent constraint",
    2449: "unique/primary keys in table referenced by foreign keys",
    3001: "unimplemented feature",
    3290: "Invalid truncate command - missing CLUSTER or TABLE keyword",
    4043: "object {} does not exist",
    6502: "PL/SQL: numeric or value error: character string buffer too small",
    6550: "line {}, column {}:\n{}",
    8002: "sequence {}.CURRVAL is not yet defined in this session",
    8004: "sequence {}.NEXTVAL exceeds MAXVALUE and cannot be instantiated",
    8006: "specified row no longer exists",
    8180: "no snapshot found based on specified time",
    8181: "specified number is not a valid system change number",
    12801: "error signaled in parallel query server",
    12899: "value too large for column {} (actual: {}, maximum: {})",
    12983: "cannot drop all columns in a table",
    12991: "column is referenced in a multi-column constraint",
    22835: "Buffer too small for CLOB to CHAR or BLOB to RAW conversion (actual: {}, maximum: {})",
    22848: "cannot use {} type as comparison key",
    24344: "success with compilation error",
    25156: "old style outer join (+) cannot be used with ANSI joins",
    28000: "The account is locked.",
    30001: "trim set should have only one character",
    30006: "resource busy; acquire with WAIT timeout expired",
    30076: "invalid extract field for extract source",
    30081: "invalid data type for datetime/interval arithmetic",
    30483: "window functions are not allowed here",
    30484: "missing window specification for this function",
    30485: "missing ORDER BY expression in the window specification",
    30491: "missing ORDER BY clause",
    30926: "unable to get a stable set of rows in the source tables",
    32038: "number of WITH clause column names does not match number of elements in select list",
    38104: "Columns referenced in the ON Clause cannot be updated: {}",
}

_ORA = re.compile(r"ORA-(\d{5}): ?(.*)", re.DOTALL)


def ora(code: int, *words: object, position: int = 0) -> OraError:
    """The error `code` with Oracle's text."""
    return OraError(code, TEXTS[code].format(*words), position)


def unsupported(what: str) -> OraError:
    """ORA-03001 with what exactly the emulator does not do: running it as something else would be worse."""
    return OraError(3001, f"unimplemented feature (emulator: {what})")


def error_sql(code: int, *words: object) -> str:
    """A DuckDB call that fails with Oracle's error `code` when a row reaches it."""
    text = f"ORA-{code:05d}: {TEXTS[code].format(*words)}".replace("'", "''")
    return f"error('{text}')"


def from_duckdb(error: BaseException) -> OraError:
    """What a client of Oracle would have seen of this DuckDB error."""
    if isinstance(error, OraError):
        return error
    text = str(error)
    raised = _ORA.search(text)
    if raised:
        return OraError(int(raised[1]), raised[2].strip())
    if isinstance(error, duckdb.InterruptException):
        return ora(1013)
    if isinstance(error, duckdb.OutOfMemoryException):
        return OraError(4030, "out of process memory when trying to allocate bytes")
    for pattern, code in _PATTERNS:
        if pattern.search(text):
            return ora(code)
    return unsupported(f"{type(error).__name__}: {text.splitlines()[0][:300]}")


# DuckDB's own refusals that are a client's mistake with a number of its own in Oracle.
_PATTERNS = (
    (re.compile(r"must appear in the GROUP BY clause"), 979),
    (re.compile(r"aggregate function calls cannot be nested"), 978),
    (re.compile(r"WHERE clause cannot contain window functions"), 30483),
    (re.compile(r"WHERE clause cannot contain aggregates"), 934),
    (re.compile(r"More than one row returned by a subquery"), 1427),
    (re.compile(r"Overflow|out of range|Out of Range|Could not cast value .* to DECIMAL"), 1426),
)
