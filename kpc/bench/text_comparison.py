"""The comparison as it was before comparison hashes: every record is spelled as canonical text.

Kept to be measured beside today's. It counts a page's records at every quote, and joins each piece with all rows.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import polars as pl

from kpc.bench.sample_load import open_sample
from kpc.convert.buckets import marker_bucket
from kpc.convert.canonical import CHECKSUM, KEY_HASH
from kpc.gzip_files import open_gzip_to_read
from kpc.load.chunk_result import read_columns
from kpc.load.org_records import gathered
from kpc.partition import find_partition
from kpc.reconcile.expected_rows import expected_rows
from kpc.reconcile.target_records import record_fields, with_hashes
from kpc.stages.bucket_queries import BucketQueries
from kpc.stages.context import PartitionContext
from kpc.stages.current_manifests import sealed_extract

_ROWS_AT_ONCE = 20_000


def compare(folder: str, org: Mapping[str, str], table: str, key: str) -> int:
    """Compare all records of the partition by their canonical text. Returns how many are equal."""
    workspace = open_sample(Path(folder), org)
    context = PartitionContext(workspace, find_partition(table, key))
    equal = 0
    with tempfile.TemporaryDirectory(dir=folder) as place:
        expected = expected_rows(context, sealed_extract(context), (), Path(place))
        for group, pages in BucketQueries(context, expected.counts).records(record_fields(context.table), Path(place)):
            numbers = [number for name in group.markers if (number := marker_bucket(key, name)) is not None]
            pairs = pl.concat([expected.pairs.bucket(number) for number in numbers])
            for file in pages.files:
                _count(file)
                frames = gathered(read_columns(file, record_fields(context.table)), _ROWS_AT_ONCE)
                for frame in map(partial(with_hashes, context=context), frames):
                    joined = frame.join(pairs, on=KEY_HASH, how="left", suffix=":source")
                    equal += joined.filter(pl.col(CHECKSUM) == pl.col(f"{CHECKSUM}:source")).height
    workspace.close()
    return equal


def _count(file: Path) -> int:
    """The line ends outside of quotes."""
    found, is_quoted = 0, False
    with open_gzip_to_read(file) as content:
        while block := content.read(1 << 20):
            for number, part in enumerate(block.split(b'"')):
                is_quoted ^= number > 0
                found += 0 if is_quoted else part.count(b"\n")
    return found
