"""An emulator of a Salesforce org: OAuth, Bulk API 2.0, REST and SOQL on a real port, with the catalog's objects.

    command                               the process: options, ports, ready file, signals
      connection, tls                     HTTP, HTTPS, CONNECT
      server -> gate                      all paths; what every request passes (session, counting, faults)
        oauth, soap                       sessions
        ingest, ingest_results            jobs that write   -> processing: threads that work them off
        query_jobs                        jobs that read
        rest, rest_rows, composite, subrequests, describe
        admin                             the emulator's own door: switches, faults, clock, history
      org                                 who it is, clock, limits, schema, storage, jobs
        dml -> lookup, row_checks, values rows in: convert, find, check, write
        soql_lexer -> parser -> compile   questions in: text, tree, SQL   -> query: answers
        storage                           DuckDB

It is an emulator: what runs against it is not proven against Salesforce itself.
"""
