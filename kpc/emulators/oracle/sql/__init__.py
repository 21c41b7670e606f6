"""The SQL side of the Oracle emulator: Oracle's statements, run by DuckDB.

    session                prepare, describe, execute
      parsing              text -> tokens -> tree
      query, dml, ddl, plsql, transactions
                           one package per kind of statement; each compiles against a `context`
        types, functions   expressions: Oracle's data types and functions as DuckDB's SQL
      dictionary           names as a session sees them, and the views of the data dictionary
      storage              tables and their versions, in DuckDB

A construct whose meaning may differ from Oracle's is refused with ORA-03001.
"""
