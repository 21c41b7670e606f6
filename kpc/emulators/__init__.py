"""Servers that speak the real protocols on real sockets, so that everything runs without Oracle or Salesforce.

They are independent of the rest of `kpc`, except that `catalog_schema` imports the catalog. Their output says
"emulator": a result against an emulator proves nothing about Oracle or Salesforce themselves.
"""

import os

# `kpc` sets this for its workers to save memory. The emulators need not save memory, and with polars' defaults the
# Salesforce emulator is 20 % faster. A value set by the user is kept.
_ALLOCATOR = "_RJEM_MALLOC_CONF"
_WORKERS_SETTING = "narenas:1,dirty_decay_ms:1000,muzzy_decay_ms:0"
if os.environ.get(_ALLOCATOR) == _WORKERS_SETTING:
    del os.environ[_ALLOCATOR]
