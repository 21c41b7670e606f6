"""An emulator of an Oracle database: the TNS/TTC wire protocol in front of DuckDB, with a seeded KPS schema.

    command                the process: options, ports, ready file, signals
      wire                 bytes: packets, login, calls, rows; it calls `DatabaseSession`
      engine               the database: users, sessions, change clock
        sql                statements: parse, compile to DuckDB's SQL, run
        seed               the KPS tables with made-up rows
      admin, faults        what Oracle does not have: an HTTP channel for tests, and faults on demand

What runs against it is not proven against Oracle itself.
"""
