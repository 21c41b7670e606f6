"""A wrong rule is found, in our conversion or in Oracle's SQL: each rule of docs/values.md is broken in turn.

Rows go into Oracle (the emulator), their records are what `kpc.convert` makes of them, and the comparison is the real
one. A wrong rule in the conversion is a change of what it made, as that rule would have made it: both the sent and the
expected side of `reconciled` share it, so that levels 1 to 3 agree. A wrong rule in the SQL is a change of the SQL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import oracledb
import polars as pl
import pytest
from checkout import PROJECT
from key_rules import KEY_RULES
from probed_opinion import ProbedPartition, probe, session_of_an_emulator
from rejection_rules import REJECTIONS, Rejection
from rules_by_kind import BROKEN_BY
from value_rules import VALUE_RULES, WORDS

from kpc.load.corrected_rows import given
from kpc.reconcile.second_opinion.row_sql import OPINION
from kpc.reconcile.second_opinion.rules import NOT_SEEN_BY_ORACLE, Broken

RULES = VALUE_RULES | KEY_RULES


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[oracledb.Connection]:
    with session_of_an_emulator(tmp_path_factory.mktemp("mutations")) as connection:
        yield connection


@pytest.mark.parametrize("name", RULES)
def test_a_wrong_rule_is_found(connection: oracledb.Connection, tmp_path: Path, name: str) -> None:
    """Right rules on both sides agree; a wrong one on either side is a difference, and names the record."""
    rule = RULES[name]
    partition = rule.partition(connection, tmp_path)
    right, records = partition.opined(), partition.records()
    agreed = partition.compared(right, records)
    assert (agreed.compared, agreed.differing) == (1, 0), agreed.differences
    wrongly_sent = records.with_columns(rule.sent(pl.col(rule.field)).alias(rule.field))
    assert not wrongly_sent.equals(records)
    found = partition.compared(right, wrongly_sent)
    assert found.differing >= 1
    if rule.field != "External_ID__c":
        assert [one.key for one in found.differences] == [records["External_ID__c"][0]]
    assert partition.compared(partition.opined(rule.sql), records).differing >= 1


@pytest.mark.parametrize("name", REJECTIONS)
def test_a_row_that_had_to_be_rejected_is_found(connection: oracledb.Connection, tmp_path: Path, name: str) -> None:
    """A conversion that does not know the rule sends the row; Oracle says which rule it breaks, or knows no such id."""
    rejection = REJECTIONS[name]
    partition = rejected_partition(connection, rejection, tmp_path)
    assert partition.rule == rejection.rule
    sent = partition.records().with_columns(pl.col("External_ID__c").fill_null("AB1|1"), pl.lit("AB1").alias("A__c"))
    (opinion,) = partition.opined()[OPINION]
    found = partition.compared(partition.opined(), sent)
    assert found.differing >= 1
    told = "Oracle has no row" if opinion is None else f"breaks the rule {rejection.rule}"
    assert told in found.differences[0].what


@pytest.mark.parametrize("name", [name for name, one in REJECTIONS.items() if one.rule in set(Broken)])
def test_a_rule_that_oracles_sql_does_not_know_is_found(
    connection: oracledb.Connection, tmp_path: Path, name: str
) -> None:
    """The row was rejected; the SQL without its rule accepts it, and the rejection stands without a cause."""
    rejection = REJECTIONS[name]
    partition = rejected_partition(connection, rejection, tmp_path)
    (opinion,) = partition.opined()[OPINION]
    if opinion is None:
        pytest.skip("a row without an external id has no opinion, whatever the SQL says of its values")
    forgotten = f" THEN '{Broken(rejection.rule).number:02X}'"
    opined = partition.opined((forgotten, f" AND 1=0{forgotten}"))
    listed = {opinion[:32]: rejection.rule}
    assert partition.compared(partition.opined(), partition.records().clear(), rejected=listed).differing == 0
    found = partition.compared(opined, partition.records().clear(), rejected=listed)
    assert [one.what for one in found.differences] == [
        f"rejected by the rule {rejection.rule}, which it does not break in Oracle's opinion"
    ]


def rejected_partition(connection: oracledb.Connection, rejection: Rejection, folder: Path) -> ProbedPartition:
    return ProbedPartition(connection, rejection.whole_table, [rejection.value], folder, rejection.key)


def test_a_row_that_was_rejected_without_cause_is_found(connection: oracledb.Connection, tmp_path: Path) -> None:
    """A rule that is too strict lists an exception; Oracle accepts the row."""
    partition = ProbedPartition(connection, probe(WORDS), ["a", "b"], tmp_path)
    opined, records = partition.opined(), partition.records()
    (key,) = opined.tail(1)[OPINION]
    found = partition.compared(opined, records.head(1), rejected={key[:32]: "too_long"})
    assert found.differing == 1
    assert "too_long" in found.differences[0].what


def test_a_lost_and_an_invented_record_are_found(connection: oracledb.Connection, tmp_path: Path) -> None:
    partition = ProbedPartition(connection, probe(WORDS), ["a", "b"], tmp_path)
    opined, records = partition.opined(), partition.records()
    lost = partition.compared(opined, records.head(1))
    assert (lost.compared, lost.differing) == (1, 1)
    invented = records.with_columns(pl.lit("ZZ|9").alias("External_ID__c")).head(1)
    assert partition.compared(opined, pl.concat([records, invented])).differing == 1


def test_a_wrong_rule_that_a_correction_covers_is_found(connection: oracledb.Connection, tmp_path: Path) -> None:
    """A person replaced a value that the conversion had made wrongly: what was replaced is not what Oracle spells."""
    partition = ProbedPartition(connection, probe(WORDS), ["a", "b"], tmp_path)
    opined, right = partition.opined(), partition.records()
    in_the_org = right.with_columns(
        pl.when(pl.col("External_ID__c") == "AB1|1").then(pl.lit("c")).otherwise("V__c").alias("V__c")
    )
    names = partition.table.data_header
    for replaced, differing in (("a", 0), ("A", 1)):
        before = right.head(1).select(names).with_columns(pl.lit(replaced).alias("V__c"))
        after = in_the_org.head(1).select(pl.col(name).alias(given(name)) for name in names)
        found = partition.compared(opined, in_the_org, corrected=pl.concat([before, after], how="horizontal"))
        assert (found.compared, found.corrected, found.differing) == (2, 1, differing)


def test_every_rule_of_the_page_is_broken_here() -> None:
    """The names of the rules that reject, and the kinds of rules; those that no row of Oracle's tells are named."""
    page = (PROJECT / "docs" / "values.md").read_text(encoding="utf-8")
    named = page.split("## Names of the rules")[1].split("A row is")[0]
    beyond = NOT_SEEN_BY_ORACLE | {"external_id_too_long"}  # which the catalog's check of key lengths rules out
    assert set(re.findall(r"`(\w+)`", named)) == {one.rule for one in REJECTIONS.values()} | beyond
    kinds = re.findall(r"^\| ([^|]+?) \|", page.split("## Rules")[1].split("\nA partition")[0], re.MULTILINE)
    assert kinds[0] == "kind"
    assert set(kinds[1:]) == set(BROKEN_BY)
    assert {name for names in BROKEN_BY.values() for name in names} == {*RULES, *REJECTIONS}
