"""Migrate KPC TMS's sales history from Oracle to Salesforce, partition by partition, and reconcile the result."""

import os

# How polars' memory allocator (jemalloc) treats freed memory. It reads this once, when polars is loaded, so this must
# be set before. With its defaults (eight arenas that keep pages for ten seconds) staging needs 20 % more memory and
# 10 % more CPU; returning pages after 0.3 s raises the CPU time of a load by 50 %.
ALLOCATOR, ALLOCATOR_SETTING = "_RJEM_MALLOC_CONF", "narenas:1,dirty_decay_ms:1000,muzzy_decay_ms:0"
os.environ.setdefault(ALLOCATOR, ALLOCATOR_SETTING)
