"""The data map says where every column is stored, and docs/data-map.md is that map."""

from __future__ import annotations

from checkout import PROJECT

from kpc.campaign.data_map import as_page, data_map_of
from kpc.campaign.file_kinds import FileKind
from kpc.catalog import TABLES
from kpc.catalog.types import Pii
from kpc.settings import RetentionSettings


def test_the_page_is_current() -> None:
    """After a change of the catalog: `kpc data-map > docs/data-map.md`."""
    page = (PROJECT / "docs" / "data-map.md").read_text(encoding="utf-8")
    assert page == as_page(data_map_of(RetentionSettings())) + "\n"


def test_every_column_has_treatment_files_owner_and_retention() -> None:
    found = data_map_of(RetentionSettings(owner="somebody", extract_days=7)).as_json()
    columns = {(each["table"], each["column"]): each for each in found["columns"]}  # type: ignore[attr-defined]
    assert len(columns) == sum(len(table.columns) for table in TABLES.values())
    for table in TABLES.values():
        for column in table.columns:
            one = columns[table.name, column.name]
            assert one["personal"] == (column.pii is not None)
            if column.pii is Pii.LEAVE_OUT:
                assert (one["treatment"], one["files"]) == ("left out", ())
            else:
                assert one["files"][0] == "extract"
                assert "somebody" in one["owner"]
                assert one["retention_days"]["extract"] == 7


def test_every_kind_of_file_has_a_retention() -> None:
    settings = RetentionSettings()
    assert [kind.days(settings) for kind in FileKind] == [getattr(settings, kind.setting) for kind in FileKind]
    assert {kind.value for kind in FileKind} <= {each.name for each in data_map_of(settings).files}
