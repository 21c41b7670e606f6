"""The pages in Chromium: nothing is cut off on a telephone; the keyboard reaches everything."""

from __future__ import annotations

import json
import re
import subprocess
from decimal import Decimal
from functools import partial
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from chromium import chromium
from reconciliation_samples import FIRST_RUN_UTC, agreeing, changed, minutes_later

from expectations import build_data_docs, validate
from expectations.campaign_facts import CampaignFacts, ObjectFacts, PartitionFacts, Reached, SignOffFacts, keep_campaign
from expectations.files import Project
from expectations.run_record import ExceptionCause, JobFacts, RestrictedFile, RunRecord, StageFacts
from expectations.timeline import timeline_of
from kpc.catalog import find_table
from kpc.ledger import FinishedRun
from kpc.ledger.states import StageState

LINES = find_table("KPS_T_SALES_MD")
PLACE = (
    "/staging/ora-1042572544-KPC/00D5g00cbhxt0XpEAI/kps_t_sales_md/2024-01/01M8EMRTFMA07GAVB3M6HP0H01/report-65.json"
)
RECORD = RunRecord(
    verdict="reconciled_with_exceptions",
    tool_version="1.2.3",
    mapping_version="4f" * 32,
    stages=(StageFacts("sf_loaded", "done", "airflow:malee", "manual__" + "x" * 60, FIRST_RUN_UTC, None, None, None),),
    jobs=(JobFacts("750000000000001AAA", "chunk", "complete", 3_840_000, 3_840_000),),
    causes=(ExceptionCause("data", "FIELD_CUSTOM_VALIDATION_EXCEPTION", 12),),
    files=(RestrictedFile("this report, with keys of differences", PLACE),),
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mismatch, one with exceptions, one planned; long names and large numbers."""
    root = tmp_path_factory.mktemp("site")
    wrong = changed(agreeing(LINES, rows=783_000_000), "rows", target=Decimal(782_999_998))
    for minute, numbers in enumerate((wrong, agreeing(LINES, rows=783_000_000, excepted=12)), start=1):
        name = f"KPS_T_SALES_MD__2024-0{minute}__01M8EMRTFMA07GAVB3M6HP0H01__{minute}"
        facts = {"SCN": "8123456789", "Oracle database": "ora-1042572544-KPC"}
        clock = partial(minutes_later, minute)
        validate(LINES, f"2024-0{minute}", numbers, run_name=name, root=root, facts=facts, record=RECORD, clock=clock)
    runs = [FinishedRun(1, "T", "ALL", "sf_loaded", "g", "m", StageState.DONE, 600, FIRST_RUN_UTC, minutes_later(10))]
    partitions = (
        PartitionFacts(LINES.name, "2024-01", Reached.COMPARED, "mismatch", "", "9c" * 32, PLACE),
        PartitionFacts(LINES.name, "2024-03", Reached.STAGED, "", "sf_loaded failed"),
    )
    facts_now = CampaignFacts(
        minutes_later(100), "ora-1042572544-KPC", "00D5g00cbhxt0XpEAI", ("2024-01",), FIRST_RUN_UTC, "malee",
        partitions,
        (SignOffFacts("migration", "accepted", "airflow:malee", minutes_later(99), "ab" * 32),),
        (ObjectFacts(LINES.name, 783_000_000, 782_999_998, 2, minutes_later(98)),),
        None, timeline_of(runs, planned=3),
    )  # fmt: skip
    keep_campaign(Project(root), facts_now)
    return build_data_docs(root).parent


def measured(folder: Path, pages: list[Path], script: str, *, width: int) -> list[Any]:
    """What `script` finds in each page, as a function of its document, when the page is `width` pixels wide."""
    frames = "".join(f'<iframe src="{page.as_uri()}" width="{width}" height="900"></iframe>' for page in pages)
    look = f"JSON.stringify([...document.querySelectorAll('iframe')].map((f) => ({script})(f.contentDocument)))"
    harness = folder / "harness.html"
    script_of = f"<script>onload = () => {{ document.querySelector('output').textContent = {look} }}</script>"
    harness.write_text(f"{frames}<output></output>{script_of}")
    command = [chromium(), "--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files"]
    command += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=5000", "--dump-dom", harness.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)  # noqa: S603  our own
    (found,) = re.findall(r"<output>(.*?)</output>", done.stdout, flags=re.DOTALL)
    answers: list[Any] = json.loads(unescape(found))
    return answers


def every_page(site: Path) -> list[Path]:
    return [
        site / "index.html",
        *sorted((site / "validations").rglob("*.html")),
        *(site / "expectations").glob("*.html"),
    ]


def test_nothing_is_cut_off_at_400_pixels(site: Path, tmp_path: Path) -> None:
    """No page is wider than the screen."""
    pages = every_page(site)
    widths = measured(tmp_path, pages, "(page) => page.documentElement.scrollWidth", width=400)
    assert {page.name: width for page, width in zip(pages, widths, strict=True) if width > 400} == {}


def test_a_screen_shows_whole_tables(site: Path, tmp_path: Path) -> None:
    """At 1,400 pixels no page and no table scrolls sideways."""
    look = """(page) => Math.max(
      page.documentElement.scrollWidth,
      ...[...page.querySelectorAll('table')].map((table) => table.getBoundingClientRect().right),
    )"""
    pages = every_page(site)
    widths = measured(tmp_path, pages, look, width=1400)
    assert {page.name: width for page, width in zip(pages, widths, strict=True) if width > 1400} == {}


def test_the_keyboard_reaches_filters_sorting_and_links(site: Path, tmp_path: Path) -> None:
    """The script has shown the filters and made each sortable heading a button; the first stop skips to the content."""
    look = """(page) => {
      const all = [...page.querySelectorAll('a[href], button, input, select')];
      const stops = all.filter((e) => e.tabIndex >= 0 && e.getClientRects().length);
      const sortable = page.querySelectorAll('thead button').length;
      return [stops[0].textContent, sortable, page.getElementById('filters').hidden];
    }"""
    ((first, sortable, is_hidden),) = measured(tmp_path, [site / "index.html"], look, width=1400)
    assert first == "Skip to content"
    assert sortable == 8
    assert is_hidden is False


def test_sorting_puts_partitions_without_a_result_last_or_first(site: Path, tmp_path: Path) -> None:
    """They have no numbers; sorting by one neither fails nor loses a row."""
    look = """(page) => {
      const heading = [...page.querySelectorAll('thead th[data-sort=number]')][0];
      heading.querySelector('button').click();
      return [...page.querySelectorAll('tr.partition[data-table=KPS_T_SALES_MD]')].map((row) => row.id);
    }"""
    ((*order,),) = measured(tmp_path, [site / "index.html"], look, width=1400)
    assert order == ["KPS_T_SALES_MD-2024-03", "KPS_T_SALES_MD-2024-01", "KPS_T_SALES_MD-2024-02"]
