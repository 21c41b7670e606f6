"""An emulator of a Salesforce org: OAuth, Bulk API 2.0, REST and SOQL on a real port, with the catalog's objects.

    command -> server -> oauth, rest_*, ingest_api, query_api, admin     HTTP in, HTTP out
                            |
                           org      one org: identity, clock, limits, schema, storage, jobs
                            |
               processing -> dml -> values      rows in: check, convert, resolve, write
               soql_* -> query                  questions: parse, compile, run
                            |
                         storage                DuckDB

It is an emulator: what runs against it is not proven against Salesforce itself.
"""
