"""Servers that speak the real protocols on real sockets: everything runs and is tested without Oracle or Salesforce.

They import the catalog, never the clients. What they print says "emulator": nothing they prove is a claim about Oracle
or Salesforce themselves.
"""

import os

from kpc import ALLOCATOR, ALLOCATOR_SETTING

# Servers have memory to spare: polars' own defaults make the Salesforce emulator a fifth faster.
if os.environ.get(ALLOCATOR) == ALLOCATOR_SETTING:
    del os.environ[ALLOCATOR]
