"""An emulator of a Salesforce org: OAuth, Bulk API 2.0, REST and SOQL on a real port, with the catalog's objects.

    command                the process: options, ports, ready file, signals
      server, gate, http   routing, what every request passes (session, counting, faults), connections
        oauth, rest, bulk, bulk_v1
                           the endpoints
        admin              the emulator's own endpoints: switches, faults, clock, history
      soql                 queries: text, tree, SQL, answers
      writing              rows in: convert, find parents, check, store
      org                  identity, clock, allowances, schema, jobs, storage

What runs against it is not proven against Salesforce itself.
"""
