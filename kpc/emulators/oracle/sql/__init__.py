"""The SQL side of the Oracle emulator: Oracle's statements, run by DuckDB.

A statement goes `lexer` -> `grammar` -> `query` or `dml` (with `expressions`, `functions`, `conversion` ...) ->
DuckDB -> `results`. `store` keeps tables and their versions, `transaction` what a session has not committed yet. What
is not known to mean the same in Oracle is refused with ORA-03001.
"""
