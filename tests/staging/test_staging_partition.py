"""A sealed extract becomes chunks: every row accounted for, ordered, cut at the limits, the same bytes each time."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import zlib
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from checkout import PROJECT, SUPPORT
from extracted_rows import GENERATION, HASH_KEY, Bench, bench, key_of, one_row, probe, rows_of
from staged_samples import sample_marker

from kpc.catalog import TABLES, find_table
from kpc.catalog.table import Table
from kpc.catalog.types import EXTERNAL_ID, Column, OracleKind, OracleType, currency
from kpc.convert.canonical import canonical_from_salesforce, fingerprint, key_hash, row_checksum
from kpc.convert.key_sum import KeySum
from kpc.errors import ConfigError, DamagedFile, OutOfSpace, RowsRejected, SchemaDrift
from kpc.settings import Settings
from kpc.staging.partition_staging import ALWAYS_TOLERATED_ROWS
from kpc.storage.manifests import ControlTotals, NumberTotal, StagedManifest
from kpc.storage.store import MANIFEST, read_manifest, sha256_of

SUPPLIER = find_table("KPS_R_POS_SUPPLIER")
TENANT = find_table("KPS_R_EMAIL_TENANT")
LINE = find_table("KPS_T_SALES_MD")
PAYMENT = find_table("KPS_T_SALESPAY_MD")
WEB = find_table("KPS_WEB_SALES")


@pytest.fixture
def staging(tmp_path: Path) -> Bench:
    return bench(tmp_path / "staging")


def load(staging: Bench, table: Table, manifest: StagedManifest) -> None:
    """Confirm everything that was staged, as the load does: the partition's loaded index."""
    index = pl.read_parquet(staging.folder(table, manifest.generation) / manifest.index_file.name)
    path = staging.partition_folder(table) / "loaded_index.parquet"
    before = pl.read_parquet(path) if path.exists() else None
    now = index.select(
        "key_hash",
        "checksum",
        pl.lit("a00").alias("salesforce_id"),
        "external_id",
        pl.lit(value=True).alias("has_bucket"),
    )
    if before is not None:
        now = pl.concat([now, before.join(now, on="key_hash", how="anti")])
    now.sort("key_hash").write_parquet(path)


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_every_table_is_staged_whole(staging: Bench, table: Table) -> None:
    """Good rows of each of the 16 tables arrive in a chunk under the table's header, with both markers."""
    manifest = staging.stage(table, staging.seal(table, [rows_of(table, 9)]))
    sent = staging.sent(table, manifest)
    assert (manifest.extracted, manifest.staged, manifest.rejected) == (9, 9, 0)
    assert tuple(sent.columns) == table.header
    assert sent["Migration_Partition__c"].to_list() == [sample_marker(key_of(table), key) for key in sent[EXTERNAL_ID]]
    assert sent["Migration_Generation__c"].unique().to_list() == [GENERATION]
    assert sent[EXTERNAL_ID].n_unique() == 9


def test_an_empty_partition_is_staged_without_chunks(staging: Bench) -> None:
    """A month without rows gives a manifest with no chunk and an empty fingerprint, not an error."""
    manifest = staging.stage(SUPPLIER, staging.seal(SUPPLIER, []))
    assert (manifest.staged, manifest.chunks, manifest.rejected_file) == (0, (), None)
    folder = staging.folder(SUPPLIER)
    assert pl.read_parquet(folder / manifest.fingerprint_file.name).is_empty()
    assert pl.read_parquet(folder / manifest.index_file.name).is_empty()


def test_the_manifest_lists_exactly_the_files_that_are_there(staging: Bench) -> None:
    """Nothing temporary stays behind, and each listed checksum is the file's."""
    bad = one_row(SUPPLIER, POS_SUPPLIER_CODE="ZZ", ACTIVE=7)
    manifest = staging.stage(SUPPLIER, staging.seal(SUPPLIER, [rows_of(SUPPLIER, 4), bad]))
    folder = staging.folder(SUPPLIER)
    assert {path.name for path in folder.iterdir()} == {entry.name for entry in manifest.files} | {MANIFEST}
    assert all(sha256_of(folder / entry.name) == entry.sha256 for entry in manifest.files)
    assert read_manifest(folder, StagedManifest) == manifest


def test_files_are_private(staging: Bench) -> None:
    """Staged rows hold personal data: only their owner may read them."""
    manifest = staging.stage(SUPPLIER, staging.seal(SUPPLIER, [rows_of(SUPPLIER, 2)]))
    folder = staging.folder(SUPPLIER)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {(folder / entry.name).stat().st_mode & 0o777 for entry in manifest.files} == {0o600}


def test_a_chunk_is_one_gzip_member_without_a_time(staging: Bench) -> None:
    """Several readers stop silently after the first member; a time in the header would change the bytes each run."""
    manifest = staging.stage(SUPPLIER, staging.seal(SUPPLIER, [rows_of(SUPPLIER, 50)]))
    content = (staging.folder(SUPPLIER) / manifest.chunks[0].name).read_bytes()
    decompressor = zlib.decompressobj(31)
    raw = decompressor.decompress(content)
    assert decompressor.eof
    assert decompressor.unused_data == b""
    assert content[4:8] == b"\0\0\0\0"
    assert len(raw) == manifest.chunks[0].raw_bytes
    assert b"\r" not in raw


def test_chunks_are_whole_batches_up_to_the_row_limit(tmp_path: Path) -> None:
    """Each chunk but the last is the largest multiple of a batch that fits the table's chunk rows."""
    staging = bench(tmp_path, batch_rows=10)
    table = replace(TENANT, chunk_rows=25)
    manifest = staging.stage(table, staging.seal(table, [rows_of(table, 67)]))
    assert [chunk.rows for chunk in manifest.chunks] == [20, 20, 20, 7]
    assert [chunk.name for chunk in manifest.chunks] == [f"chunk-{number:05d}.csv.gz" for number in (1, 2, 3, 4)]


def test_chunks_stay_below_the_upload_limit(tmp_path: Path) -> None:
    """Raw bytes close a chunk as well, header included; the batch rule gives way where one batch alone is too big."""
    staging = bench(tmp_path, batch_rows=2_000, chunk_raw_bytes=1_000_000)
    table = replace(WEB, columns=tuple(WEB.columns))
    frame = rows_of(table, 8_000, CUSTOMER_NAME=["น" * 100 for _ in range(8_000)])
    manifest = staging.stage(table, staging.seal(table, [frame]))
    assert max(chunk.raw_bytes or 0 for chunk in manifest.chunks) <= 1_000_000
    assert sum(chunk.rows for chunk in manifest.chunks) == 8_000
    small_batches = bench(tmp_path / "small", batch_rows=500, chunk_raw_bytes=1_000_000)
    cut = small_batches.stage(table, small_batches.seal(table, [frame]))
    assert all(chunk.rows % 500 == 0 for chunk in cut.chunks[:-1])


def test_the_index_says_in_which_chunk_each_row_went(tmp_path: Path) -> None:
    """One entry per staged row, in chunk order, with its key hash and checksum; the manifest sums up each chunk's."""
    staging = bench(tmp_path, batch_rows=10)
    table = replace(TENANT, chunk_rows=20)
    manifest = staging.stage(table, staging.seal(table, [rows_of(table, 45)]))
    index = pl.read_parquet(staging.folder(table) / manifest.index_file.name)
    sent = staging.sent(table, manifest)
    assert index["external_id"].to_list() == sent[EXTERNAL_ID].to_list()
    assert index["chunk"].to_list() == [1] * 20 + [2] * 20 + [3] * 5
    assert [(c.first_key, c.last_key) for c in manifest.chunks] == [
        (sent[EXTERNAL_ID][start], sent[EXTERNAL_ID][end]) for start, end in ((0, 19), (20, 39), (40, 44))
    ]
    for number, chunk in enumerate(manifest.chunks, start=1):
        keys = KeySum()
        keys.add(sent.filter(index["chunk"] == number).select(key_hash()).to_series())
        assert chunk.key_sum == str(keys)
    as_queried = canonical_from_salesforce(sent.with_columns(pl.all().replace("#N/A", None)), table)
    again = as_queried.select(key_hash(), row_checksum(table)).collect()
    assert index.select("key_hash", "checksum").equals(again)


def test_the_same_extract_gives_the_same_bytes(tmp_path: Path) -> None:
    """However little memory there is and however the extract was chunked, every output file is identical."""
    frame = rows_of(PAYMENT, 5_000).sample(fraction=1, shuffle=True, seed=1)
    one = bench(tmp_path / "one")
    whole = one.stage(PAYMENT, one.seal(PAYMENT, [frame]))
    two = bench(tmp_path / "two", memory_bytes=2_000_000)
    parts = two.stage(PAYMENT, two.seal(PAYMENT, list(frame.iter_slices(1_700))))
    assert [chunk.sha256 for chunk in whole.chunks] == [chunk.sha256 for chunk in parts.chunks]
    assert whole.fingerprint_file.sha256 == parts.fingerprint_file.sha256
    assert whole.index_file.sha256 == parts.index_file.sha256


def test_children_of_one_parent_stand_together_in_key_order(tmp_path: Path) -> None:
    """Rows are ordered by (parent, own id) by their bytes, across runs that were sorted on disk."""
    staging = bench(tmp_path, memory_bytes=2_000_000)
    frame = rows_of(PAYMENT, 6_000, SALE_NO=[f"S{row * 7919 % 2_000}" for row in range(6_000)]).sample(
        fraction=1, shuffle=True, seed=7
    )
    sent = staging.sent(PAYMENT, staging.stage(PAYMENT, staging.seal(PAYMENT, [frame])))
    keys = list(zip(sent["Sale__r.External_ID__c"].to_list(), sent[EXTERNAL_ID].to_list(), strict=True))
    assert len(keys) == 6_000
    assert keys == sorted(keys, key=lambda pair: (pair[0].encode(), pair[1].encode()))


def test_a_rejected_row_is_listed_and_the_rest_goes_on(staging: Bench) -> None:
    """The reject file names key, field, rule and value; the other rows are staged."""
    bad = one_row(SUPPLIER, POS_SUPPLIER_CODE="BAD", ACTIVE=7)
    manifest = staging.stage(SUPPLIER, staging.seal(SUPPLIER, [rows_of(SUPPLIER, 3), bad]))
    assert (manifest.extracted, manifest.staged, manifest.rejected) == (4, 3, 1)
    assert staging.rejected(SUPPLIER, manifest).rows() == [("BAD", "Active__c", "unknown_boolean", "7", "BAD")]


def test_ids_that_salesforce_takes_for_one_are_all_rejected(staging: Bench) -> None:
    """Case and trailing blanks do not tell two external ids apart; neither row may silently overwrite the other."""
    codes = ["AB", "ab", "X1", "X1 ", "OK"]
    frame = rows_of(SUPPLIER, 5, POS_SUPPLIER_CODE=codes)
    manifest = staging.stage(SUPPLIER, staging.seal(SUPPLIER, [frame]))
    assert staging.sent(SUPPLIER, manifest)[EXTERNAL_ID].to_list() == ["OK"]
    rejected = staging.rejected(SUPPLIER, manifest)
    assert rejected["rule"].unique().to_list() == ["duplicate_external_id"]
    assert sorted(rejected["external_id"].to_list()) == ["AB", "X1", "X1", "ab"]


def test_a_broken_twin_takes_the_other_one_along(staging: Bench) -> None:
    """Of two rows with one id, the unbroken one is not known to be the right one."""
    twins = rows_of(SUPPLIER, 3, POS_SUPPLIER_CODE=["T", "t", "OK"], ACTIVE=[1, 7, 1])
    manifest = staging.stage(SUPPLIER, staging.seal(SUPPLIER, [twins]))
    assert staging.sent(SUPPLIER, manifest)[EXTERNAL_ID].to_list() == ["OK"]
    assert staging.rejected(SUPPLIER, manifest)["rule"].to_list() == ["unknown_boolean", "duplicate_external_id"]


def test_too_many_rejected_rows_stop_the_partition(staging: Bench) -> None:
    """Above the allowed share a person must look: the list is there, the chunks are not, and nothing looks done."""
    rows = 500
    flags = [7 if row < 20 else 1 for row in range(rows)]
    extract = staging.seal(TENANT, [rows_of(TENANT, rows, ACTIVE=flags)])
    with pytest.raises(RowsRejected, match=r"20 of 500 rows .* \(unknown_boolean: 20\)") as caught:
        staging.stage(TENANT, extract)
    assert caught.value.rows == 20
    assert "KPC__STAGING__REJECTED_SHARE=0.04" in caught.value.remedy
    assert {path.name for path in staging.folder(TENANT).iterdir()} == {"rejected.csv.gz"}
    assert gzip.decompress(Path(caught.value.path).read_bytes()).count(b"unknown_boolean") == 20


def test_duplicates_count_towards_the_share_and_are_listed(staging: Bench) -> None:
    """Duplicates are only known at the end, and stop the partition all the same."""
    names = [f"S{row // 2}" for row in range(100)]
    extract = staging.seal(TENANT, [rows_of(TENANT, 100, SHOP_CODE=names, SEQ=[1] * 100)])
    with pytest.raises(RowsRejected, match="duplicate_external_id: 100"):
        staging.stage(TENANT, extract)


def test_a_few_rejected_rows_never_stop_a_small_table(staging: Bench) -> None:
    """One bad supplier of twelve is 8 %, and no reason to stop."""
    bad = ALWAYS_TOLERATED_ROWS
    extract = staging.seal(SUPPLIER, [rows_of(SUPPLIER, bad + 2, ACTIVE=[7] * bad + [1, 0])])
    assert staging.stage(SUPPLIER, extract).rejected == bad


def test_a_raised_share_lets_the_partition_through(tmp_path: Path) -> None:
    """The remedy that the stop names works."""
    staging = bench(tmp_path, rejected_share=0.04)
    flags = [7 if row < 20 else 1 for row in range(500)]
    assert staging.stage(TENANT, staging.seal(TENANT, [rows_of(TENANT, 500, ACTIVE=flags)])).staged == 480


def test_staging_again_returns_what_is_there(staging: Bench) -> None:
    """A finished folder is not written again: its files keep their inodes."""
    extract = staging.seal(SUPPLIER, [rows_of(SUPPLIER, 5)])
    first = staging.stage(SUPPLIER, extract)
    chunk = staging.folder(SUPPLIER) / first.chunks[0].name
    before = chunk.stat().st_ino
    assert staging.stage(SUPPLIER, extract) == first
    assert chunk.stat().st_ino == before


@pytest.mark.parametrize("damage", ["truncated chunk", "no manifest", "broken manifest"])
def test_what_a_killed_run_left_is_done_again(staging: Bench, damage: str) -> None:
    """A half-written folder, or one whose files no longer match, is replaced by the same good bytes."""
    extract = staging.seal(SUPPLIER, [rows_of(SUPPLIER, 5)])
    first = staging.stage(SUPPLIER, extract)
    folder = staging.folder(SUPPLIER)
    (folder / "chunk-00009.csv.gz").write_bytes(b"left over")
    match damage:
        case "truncated chunk":
            chunk = folder / first.chunks[0].name
            chunk.write_bytes(chunk.read_bytes()[:-10])
        case "no manifest":
            (folder / MANIFEST).unlink()
        case _:
            (folder / MANIFEST).write_text("{")
    assert staging.stage(SUPPLIER, extract) == first
    assert not (folder / "chunk-00009.csv.gz").exists()


def test_a_truncated_extract_is_refused_with_the_remedy(staging: Bench) -> None:
    """Half a Parquet file is not half a partition."""
    extract = staging.seal(SUPPLIER, [rows_of(SUPPLIER, 5)])
    path = next(staging.partition_folder(SUPPLIER).rglob("extract/chunk-00001.parquet"))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DamagedFile, match=r"kpc run KPS_R_POS_SUPPLIER ALL --mode full") as caught:
        staging.stage(SUPPLIER, extract)
    assert caught.value.path == str(path)
    assert not (staging.folder(SUPPLIER) / MANIFEST).exists()


def test_an_extract_that_is_not_parquet_is_refused(staging: Bench) -> None:
    """A file that was sealed broken fails as damaged, not with a library's own error."""
    path = next(iter([staging.partition_folder(SUPPLIER)])) / GENERATION / "extract" / "chunk-00001.parquet"
    extract = staging.seal(SUPPLIER, [rows_of(SUPPLIER, 5)])
    path.write_bytes(b"PAR1 nothing PAR1")
    entry = extract.chunks[0].model_copy(update={"bytes": path.stat().st_size, "sha256": sha256_of(path)})
    with pytest.raises(DamagedFile, match="cannot be read as Parquet"):
        staging.stage(SUPPLIER, extract.model_copy(update={"chunks": (entry,)}))


def test_a_column_that_was_not_extracted_is_named(staging: Bench) -> None:
    """An extract from before a column was declared cannot be staged under the new mapping."""
    extract = staging.seal(SUPPLIER, [rows_of(SUPPLIER, 5).drop("CITY")])
    with pytest.raises((SchemaDrift, DamagedFile), match="CITY"):
        staging.stage(SUPPLIER, extract)


def test_a_full_disk_stops_before_anything_is_written(tmp_path: Path) -> None:
    """The space that staging will need is asked for first."""
    staging = bench(tmp_path, free_bytes=1 << 60)
    extract = staging.seal(SUPPLIER, [rows_of(SUPPLIER, 5)])
    with pytest.raises(OutOfSpace, match="must stay free"):
        staging.stage(SUPPLIER, extract)
    assert list(staging.folder(SUPPLIER).iterdir()) == []


def test_a_hash_without_a_key_is_refused(tmp_path: Path) -> None:
    """A keyed hash with an empty key would be as good as none."""
    staging = replace(bench(tmp_path), settings=Settings(staging={"root": tmp_path}, hash_key=""))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="KPC__HASH_KEY"):
        staging.stage(WEB, staging.seal(WEB, [rows_of(WEB, 2)]))


def test_the_hash_key_stands_in_no_message_and_no_file(staging: Bench) -> None:
    """What the key protects is worth nothing if the key lies beside it."""
    manifest = staging.stage(WEB, staging.seal(WEB, [rows_of(WEB, 2)]))
    folder = staging.folder(WEB)
    contents = [(folder / entry.name).read_bytes() for entry in manifest.files] + [(folder / MANIFEST).read_bytes()]
    contents += [gzip.decompress(content) for content in contents if content[:2] == b"\x1f\x8b"]
    assert all(HASH_KEY.encode() not in content for content in contents)


def test_an_unchanged_partition_sends_nothing(staging: Bench) -> None:
    """Incremental: rows that Salesforce confirmed with the same checksum stay home, under a new generation too."""
    frame = rows_of(PAYMENT, 40)
    first = staging.stage(PAYMENT, staging.seal(PAYMENT, [frame]))
    load(staging, PAYMENT, first)
    again = staging.stage(PAYMENT, staging.seal(PAYMENT, [frame], generation="01JBBBBBBBBBBBBBBBBBBBBBBB"))
    assert (again.staged, again.unchanged, again.chunks) == (0, 40, ())
    assert again.vanished == 0
    assert again.fingerprint_file.sha256 == first.fingerprint_file.sha256


def test_only_changed_and_new_rows_are_sent(staging: Bench) -> None:
    """One amount changed, one row new, one row gone: two rows travel, and the lost key is listed."""
    frame = rows_of(PAYMENT, 40)
    load(staging, PAYMENT, staging.stage(PAYMENT, staging.seal(PAYMENT, [frame])))
    changed = rows_of(PAYMENT, 1, first=5, PAY_AMT=[99])
    after = pl.concat([frame.head(4), changed, frame.slice(5, 34), rows_of(PAYMENT, 1, first=77)])
    generation = "01JBBBBBBBBBBBBBBBBBBBBBBB"
    manifest = staging.stage(PAYMENT, staging.seal(PAYMENT, [after], generation=generation))
    sent = staging.sent(PAYMENT, manifest)
    assert (manifest.extracted, manifest.staged, manifest.unchanged, manifest.vanished) == (40, 2, 38, 1)
    assert sorted(sent["Seq__c"].to_list()) == ["5", "77"]
    assert sent.filter(pl.col("Seq__c") == "5")["Pay_Amt__c"].to_list() == ["99.00"]
    assert manifest.vanished_file is not None
    vanished = gzip.decompress((staging.folder(PAYMENT, generation) / manifest.vanished_file.name).read_bytes())
    assert vanished.decode().splitlines()[1:] == [f"{staging_id(frame, 39)},a00"]


def staging_id(frame: pl.DataFrame, row: int) -> str:
    """The external id of a payment, spelled out by hand."""
    names = ("CON_CODE", "SHOP_CODE", "BRANCH_CODE", "POS_NO", "SALE_NO", "SALE_DATE", "SEQ")
    return "|".join(str(frame[name][row]).rstrip().removesuffix(".0000000000") for name in names)


def test_a_row_that_breaks_a_rule_now_has_not_vanished(staging: Bench) -> None:
    """Its key is still in the source; it is listed as rejected, not as vanished."""
    load(staging, SUPPLIER, staging.stage(SUPPLIER, staging.seal(SUPPLIER, [rows_of(SUPPLIER, 5)])))
    flags = [1, 7, 1, 1, 1]
    after = staging.seal(SUPPLIER, [rows_of(SUPPLIER, 5, ACTIVE=flags)], generation="01JBBBBBBBBBBBBBBBBBBBBBBB")
    manifest = staging.stage(SUPPLIER, after)
    assert (manifest.rejected, manifest.vanished) == (1, 0)


def test_a_row_that_is_a_duplicate_now_has_not_vanished(staging: Bench) -> None:
    """The same holds for a loaded row that got a twin."""
    load(staging, SUPPLIER, staging.stage(SUPPLIER, staging.seal(SUPPLIER, [rows_of(SUPPLIER, 3)])))
    twin = rows_of(SUPPLIER, 1, first=2, POS_SUPPLIER_CODE=[rows_of(SUPPLIER, 3)["POS_SUPPLIER_CODE"][1].lower()])
    frame = pl.concat([rows_of(SUPPLIER, 3), twin])
    extract = staging.seal(SUPPLIER, [frame], generation="01JBBBBBBBBBBBBBBBBBBBBBBB")
    manifest = staging.stage(SUPPLIER, extract)
    assert (manifest.unchanged, manifest.rejected, manifest.vanished) == (2, 2, 0)


def test_full_mode_sends_everything_again(staging: Bench) -> None:
    """What is loaded already does not matter in full mode."""
    frame = rows_of(SUPPLIER, 5)
    load(staging, SUPPLIER, staging.stage(SUPPLIER, staging.seal(SUPPLIER, [frame])))
    extract = staging.seal(SUPPLIER, [frame], mode="full", generation="01JBBBBBBBBBBBBBBBBBBBBBBB")
    manifest = staging.stage(SUPPLIER, extract)
    assert (manifest.staged, manifest.unchanged) == (5, 0)


def test_a_damaged_loaded_index_is_refused(staging: Bench) -> None:
    """A guess at what is loaded could skip rows; the remedy sends all of them."""
    staging.partition_folder(SUPPLIER).mkdir(parents=True)
    (staging.partition_folder(SUPPLIER) / "loaded_index.parquet").write_bytes(b"PAR1")
    with pytest.raises(DamagedFile, match="--mode full"):
        staging.stage(SUPPLIER, staging.seal(SUPPLIER, [rows_of(SUPPLIER, 5)]))


def test_the_fingerprint_covers_what_the_target_must_hold(staging: Bench) -> None:
    """Sent and unchanged rows together, but not rejected ones; made of what can be queried back."""
    good = rows_of(PAYMENT, 30)
    load(staging, PAYMENT, staging.stage(PAYMENT, staging.seal(PAYMENT, [good.head(10)])))
    bad = one_row(PAYMENT, SEQ=999, PAY_AMT=10**17)
    generation = "01JBBBBBBBBBBBBBBBBBBBBBBB"
    manifest = staging.stage(PAYMENT, staging.seal(PAYMENT, [good, bad], generation=generation))
    assert (manifest.staged, manifest.unchanged, manifest.rejected) == (20, 10, 1)
    first = staging.sent(PAYMENT, staging.stage(PAYMENT, staging.seal(PAYMENT, [good.head(10)])))
    held = pl.concat([first, staging.sent(PAYMENT, manifest)]).with_columns(pl.all().replace("#N/A", None))
    rows = canonical_from_salesforce(held, PAYMENT).select(key_hash(), row_checksum(PAYMENT))
    written = pl.read_parquet(staging.folder(PAYMENT, generation) / manifest.fingerprint_file.name)
    assert written.equals(fingerprint(rows))
    assert written["rows"].sum() == 30


def test_an_optional_parent_may_be_missing(staging: Bench) -> None:
    """A null reference leaves its cell empty, and its rows come first; a required one rejects the row."""
    optional = replace(PAYMENT, lookups=(replace(PAYMENT.lookups[0], columns=("PAYMENT_METHOD",), required=False),))
    frame = rows_of(optional, 3, PAYMENT_METHOD=["CASH", None, "CARD"])
    sent = staging.sent(optional, staging.stage(optional, staging.seal(optional, [frame])))
    assert sent["Sale__r.External_ID__c"].to_list() == [None, "CARD", "CASH"]
    assert sent["Payment_Method__c"].to_list() == ["#N/A", "CARD", "CASH"]
    required = replace(optional, lookups=(replace(optional.lookups[0], required=True),))
    manifest = staging.stage(required, staging.seal(required, [frame]))
    listed = staging.rejected(required, manifest)
    assert listed.select("rule", "field").rows() == [("lookup_incomplete", "Sale__c")]


def test_a_bar_in_a_reference_is_rejected(staging: Bench) -> None:
    """It would name another parent than it means."""
    table = replace(PAYMENT, lookups=(replace(PAYMENT.lookups[0], columns=("PAYMENT_METHOD",)),))
    frame = rows_of(table, 2, PAYMENT_METHOD=["A|B", "C"])
    manifest = staging.stage(table, staging.seal(table, [frame]))
    assert staging.rejected(table, manifest)["rule"].to_list() == ["separator_in_lookup"]


def test_truncated_and_rounded_values_are_counted(staging: Bench) -> None:
    """Loss by a declared rule is not silent: values of kept rows, and those that Oracle rounded when they were read."""
    frame = rows_of(SUPPLIER, 3, ADDRESS1=["x" * 130, "y", "z" * 121], ADDRESS2=["x" * 121] * 3, ACTIVE=[1, 0, 7])
    assert staging.stage(SUPPLIER, staging.seal(SUPPLIER, [frame])).truncated == 3
    price = Column("PRICE", OracleType(OracleKind.NUMBER, 18, 4), "Price__c", currency(18, 2))
    table = replace(probe(price), name="PRICES")
    amounts = [Decimal("1.0050"), Decimal("1.1000"), None, Decimal("-0.0001")]
    extract = staging.seal(table, [rows_of(table, 4, PRICE=amounts)])
    assert staging.stage(table, extract).rounded == 2
    by_oracle = ControlTotals(rows=4, numbers=(NumberTotal(column="PRICE", rounded=5),))
    again = staging.seal(table, [rows_of(table, 4, PRICE=amounts)], generation="01JBBBBBBBBBBBBBBBBBBBBBBB")
    assert staging.stage(table, again.model_copy(update={"control_totals": by_oracle})).rounded == 7


def test_nothing_else_than_the_extract_decides_the_bytes(tmp_path: Path) -> None:
    """Another process, another hash seed: the same chunk."""
    program = (
        "import sys; from pathlib import Path; from extracted_rows import *; from kpc.catalog import find_table;"
        "table = find_table('KPS_T_SALES_M'); staging = bench(Path(sys.argv[1]));"
        "print(staging.stage(table, staging.seal(table, [rows_of(table, 500)])).chunks[0].sha256)"
    )
    made = {
        subprocess.run(  # noqa: S603  our own program
            [sys.executable, "-c", program, str(tmp_path / seed)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": f"{SUPPORT}{os.pathsep}{PROJECT}"},
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert len(made) == 1
    assert len(made.pop()) == 64
