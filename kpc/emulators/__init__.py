"""Servers that speak the real protocols on real sockets: everything runs and is tested without Oracle or Salesforce.

They are products of their own: of the rest of `kpc` they import only the catalog, and only in `catalog_schema`. What
they print says "emulator": nothing they prove is a claim about Oracle or Salesforce themselves.
"""

import os

# What `kpc` sets for its workers, to save memory. Servers have memory to spare: with polars' own defaults the
# Salesforce emulator is a fifth faster. A setting of the user's own is left alone.
_ALLOCATOR = "_RJEM_MALLOC_CONF"
_WORKERS_SETTING = "narenas:1,dirty_decay_ms:1000,muzzy_decay_ms:0"
if os.environ.get(_ALLOCATOR) == _WORKERS_SETTING:
    del os.environ[_ALLOCATOR]
