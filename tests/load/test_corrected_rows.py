"""A correction counts from the moment that Salesforce accepted it."""

from __future__ import annotations

import polars as pl
from staged_samples import fresh_keys, stage

from kpc.load.corrected_rows import ACCEPTED, accept_corrections, note_corrections, read_corrections, sent_corrections
from kpc.partition import find_partition
from kpc.stages.context import PartitionContext
from kpc.stages.workspace import Workspace
from kpc.storage.manifests import StagedManifest

SUPPLIERS = find_partition("KPS_R_POS_SUPPLIER", "ALL")
ID, NAME = "External_ID__c", "Name_E__c"


def _note(context: PartitionContext, staged: StagedManifest, key: str, name: str) -> None:
    note_corrections(context, staged, [{**dict.fromkeys(SUPPLIERS.table.data_header, ""), ID: key, NAME: name}])


def _accept(context: PartitionContext, staged: StagedManifest, *keys: str) -> None:
    accept_corrections(context, staged.generation, [pl.DataFrame({ID: list(keys)}, schema={ID: pl.String})])


def test_refused_correction_does_not_replace_the_accepted_one(workspace: Workspace) -> None:
    """It is only remembered as sent, until a later generation's load; another generation's pending one is dropped."""
    (key,) = fresh_keys(1)
    context = PartitionContext(workspace, SUPPLIERS)
    first = stage(workspace, SUPPLIERS, [key])
    _note(context, first, key, "one")
    assert read_corrections(context).is_empty()
    _accept(context, first, key)
    second = stage(workspace, SUPPLIERS, [key])
    _note(context, second, key, "two")
    _accept(context, second)
    assert read_corrections(context)[NAME].to_list() == ["one"]
    assert sorted(sent_corrections(context)[NAME]) == ["one", "two"]
    third = stage(workspace, SUPPLIERS, [key])
    _accept(context, third)
    assert sent_corrections(context)[NAME].to_list() == ["one"]
    _accept(context, third, key)
    assert sent_corrections(context).is_empty()


def test_file_of_an_older_version_holds_accepted_corrections(workspace: Workspace) -> None:
    """It was written without the mark; its corrections go on to count."""
    (key,) = fresh_keys(1)
    context = PartitionContext(workspace, SUPPLIERS)
    _note(context, stage(workspace, SUPPLIERS, [key]), key, "one")
    path = context.paths.corrected_rows
    pl.read_parquet(path).drop(ACCEPTED).write_parquet(path)
    assert read_corrections(context)[NAME].to_list() == ["one"]
