"""What the benchmark of the Data Docs promises: both figures, of a site that holds what it says."""

from __future__ import annotations

from pathlib import Path

from kpc.bench.data_docs import measure_data_docs


def test_both_figures_are_measured(tmp_path: Path) -> None:
    """A site of nine partitions, with one result more for five of them."""
    figures = measure_data_docs(tmp_path, partitions=9)
    assert [figure.name for figure in figures] == [
        "validation of a partition, CPU ms",
        "one result into the Data Docs of 9 partitions, CPU s",
    ]
    assert all(0 < figure.value < 10_000 for figure in figures)
    site = tmp_path / "gx" / "uncommitted" / "data_docs" / "migration"
    assert (site / "index.html").read_text(encoding="utf-8").count('<tr class="partition reconciled"') == 9
    assert len(list((site / "validations").rglob("*.html"))) == 9 + 5
