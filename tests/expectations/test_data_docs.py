"""What the Data Docs promise: the newest state of every partition, on pages that need nothing but themselves."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from checkout import SUPPORT
from reconciliation_samples import CHECKSUMS, agreeing, changed, minutes_later, without

import expectations
from expectations import build_data_docs, validate
from expectations.preflight_page import keep_checks
from kpc.campaign.system_check import CheckSubject
from kpc.catalog import TABLES, find_table
from kpc.reconcile.comparison import Comparison

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)
PAYMENTS = find_table("KPS_T_SALESPAY_MD")
SUPPLIERS = find_table("KPS_R_POS_SUPPLIER")
STYLE = Path(expectations.__file__).with_name("docs") / "style.css"
VOID_ELEMENTS = {"meta", "link", "input", "br", "img", "hr"}


class Page(HTMLParser):
    """A page's links, ids and text; it insists that every element is closed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.links: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self._open == [], f"{path.name} leaves {self._open} open"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in VOID_ELEMENTS:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"{self.path.name}: </{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self.words)


def reconcile(root: Path, key: str, comparisons: list[Comparison], *, minute: int = 0, **facts: str) -> bool:
    return validate(
        PAYMENTS,
        key,
        comparisons,
        run_name=f"run-{minute}",
        root=root,
        facts=facts,
        clock=lambda: minutes_later(minute),
    )


def run_pages(root: Path) -> list[Path]:
    """The pages of all runs, oldest first."""
    return sorted((site(root) / "validations").rglob("*.html"), key=lambda page: page.parent.name)


def site(root: Path) -> Path:
    return root / "gx" / "uncommitted" / "data_docs" / "migration"


def results(root: Path) -> list[Path]:
    return sorted((root / "gx" / "uncommitted" / "validations").rglob("*.json"), key=lambda file: file.parent.name)


def contents(root: Path) -> dict[Path, tuple[int, bytes]]:
    """Every file of the site with the time of its last change."""
    return {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in site(root).rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four partitions: reconciled, with exceptions, a mismatch, and one whose mismatch a second run has settled."""
    root = tmp_path_factory.mktemp("campaign")
    lost = changed(agreeing(PAYMENTS), "rows", target=Decimal(999))
    reconcile(root, "2024-01", agreeing(PAYMENTS, rows=12_345), minute=1)
    reconcile(root, "2024-02", agreeing(PAYMENTS, rows=500_000, excepted=2), minute=2)
    reconcile(root, "2024-03", changed(agreeing(PAYMENTS), "PAY_AMT sum", target=Decimal("1107.01")), minute=3)
    reconcile(root, "2024-04", lost, minute=4)
    reconcile(root, "2024-04", without(agreeing(PAYMENTS), CHECKSUMS), minute=5)
    validate(SUPPLIERS, "ALL", agreeing(SUPPLIERS), run_name="run-6", root=root, clock=lambda: minutes_later(6))
    build_data_docs(root)
    return root


def test_overview_shows_the_newest_run_of_each_partition(campaign: Path) -> None:
    """One row per partition, whatever number of runs it had; tables without a result are there as well."""
    html = (site(campaign) / "index.html").read_text(encoding="utf-8")
    rows = re.findall(r'<tr class="partition (\S+)" id="(\S+)"', html)
    assert sorted(rows) == [
        ("mismatch", "KPS_T_SALESPAY_MD-2024-03"),
        ("reconciled", "KPS_R_POS_SUPPLIER-ALL"),
        ("reconciled", "KPS_T_SALESPAY_MD-2024-01"),
        ("reconciled_with_exceptions", "KPS_T_SALESPAY_MD-2024-02"),
        ("sampled", "KPS_T_SALESPAY_MD-2024-04"),
    ]
    assert html.count('<tr class="partition waiting"') == len(TABLES) - 2
    assert "2 runs" in html


def test_overview_adds_up(campaign: Path) -> None:
    """The headline counts each partition once."""
    text = Page(site(campaign) / "index.html").text
    assert "Partitions 5 " in text
    assert "Reconciled 2 every number agrees" in text
    assert "Sampled 1 is not a proof" in text
    assert "With exceptions 1 2 rows listed" in text
    assert "Mismatch 1 needs review" in text
    proven = 12_345 + 499_998 + 1000 + 1000
    assert f"Records proven {proven:,}" in text


def test_page_of_a_reconciled_partition(campaign: Path) -> None:
    """The verdict first, then the figures."""
    text = Page(run_pages(campaign)[0]).text
    assert "KPS_T_SALESPAY_MD 2024-01" in text
    assert "Reconciled All 7 numbers compared agree. No row is missing, rejected or changed." in text
    assert "All 12,345 records in Salesforce were compared." in text
    assert "Oracle 12,345 − Exceptions 0 = Salesforce 12,345 Difference 0" in text


def test_page_of_a_partition_with_exceptions(campaign: Path) -> None:
    """Exceptions are a state of their own, with the command that lists them."""
    text = Page(run_pages(campaign)[1]).text
    assert "Reconciled with 2 exceptions" in text
    assert "Oracle 500,000 − Exceptions 2 = Salesforce 499,998 Difference 0" in text
    assert "kpc failed KPS_T_SALESPAY_MD 2024-02" in text


def test_page_of_a_mismatch(campaign: Path) -> None:
    """What differs, by how much, and what to do next."""
    text = Page(run_pages(campaign)[2]).text
    assert "Mismatch: 1 of 7 numbers differs" in text
    assert "PAY_AMT sum +107.00" in text
    assert "kpc reconcile KPS_T_SALESPAY_MD 2024-03 --level3 full" in text
    assert "kpc show KPS_T_SALESPAY_MD 2024-03" in text


def test_earlier_run_points_to_the_newer_one(campaign: Path) -> None:
    """A settled mismatch stays as it was, and says that it is settled; both runs know each other."""
    earlier, later = (Page(page) for page in run_pages(campaign)[3:5])
    assert "A newer run of this partition exists." in earlier.text
    assert "Mismatch: 1 of 7" in earlier.text
    assert "A newer run" not in later.text
    assert any(link.endswith(earlier.path.name) and "run-4" in link for link in later.links)


def test_skipped_checksums_are_shown_as_skipped(campaign: Path) -> None:
    """Level 3 that did not run looks like nothing else."""
    text = Page(run_pages(campaign)[4]).text
    assert "Level 3 Checksums – skipped" in text
    assert (
        "Sampled: not a proof All 6 numbers compared agree, but not every record was compared; level 3 was skipped."
        in text
    )
    assert "No record was compared with its source." in text


def test_every_link_leads_somewhere_in_the_site(campaign: Path) -> None:
    """No page needs a network, and no link is dead: each goes to a file of the site, and to a place in it."""
    pages = {page: Page(page) for page in site(campaign).rglob("*.html")}
    assert len(pages) == 1 + 6 + 2
    for page, read in pages.items():
        for link in read.links:
            if link == "data:,":  # the empty icon
                continue
            assert not re.match(r"[a-z]+:|//", link), f"{page.name} links to {link}"
            address, _, anchor = unquote(link).partition("#")
            file = address.partition("?")[0]
            target = (page.parent / file if file else page).resolve()
            assert target.is_file(), f"{page.name} links to {link}"
            if anchor:
                assert anchor in pages[target].ids, f"{page.name} links to {link}"


def test_no_file_of_the_site_names_an_external_address(campaign: Path) -> None:
    """Styles and scripts fetch nothing either."""
    for file in contents(campaign):
        assert not re.search(r"https?:|@import|url\(|\bfetch\b|XMLHttpRequest", file.read_text(encoding="utf-8")), file


def test_overview_is_complete_without_javascript(campaign: Path) -> None:
    """Every partition is in the page itself; only the filters, useless without a script, wait for it."""
    html = (site(campaign) / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<(\w+)[^>]* hidden>", html) == ["form", "p"]


def test_repeated_build_changes_nothing(campaign: Path) -> None:
    """What is up to date is not written again."""
    before = contents(campaign)
    build_data_docs(campaign)
    assert contents(campaign) == before


def test_new_result_changes_only_its_partition(tmp_path: Path) -> None:
    """A build after one more run writes its page, its predecessor's and the overview, and reads no other result."""
    for minute, key in enumerate(("2024-01", "2024-02", "2024-03")):
        reconcile(tmp_path, key, agreeing(PAYMENTS), minute=minute)
    build_data_docs(tmp_path)
    before = contents(tmp_path)
    for result in (results(tmp_path)[0], results(tmp_path)[2]):  # who reads these again will fail
        status = result.stat()
        result.write_bytes(b"x" * status.st_size)
        os.utime(result, ns=(status.st_atime_ns, status.st_mtime_ns))

    reconcile(tmp_path, "2024-02", agreeing(PAYMENTS), minute=9)
    build_data_docs(tmp_path)

    after = contents(tmp_path)
    written = {path for path in after if after[path] != before.get(path)}
    pages = run_pages(tmp_path)
    assert written == {site(tmp_path) / "index.html", pages[1], pages[3]}


def test_damaged_result_is_reported_and_taken_up_when_repaired(tmp_path: Path) -> None:
    """A result that cannot be read hides nothing: the overview says so until it can."""
    reconcile(tmp_path, "2024-01", agreeing(PAYMENTS), minute=1)
    reconcile(tmp_path, "2024-02", agreeing(PAYMENTS), minute=2)
    damaged = results(tmp_path)[1]
    content = damaged.read_bytes()

    damaged.write_bytes(content[: len(content) // 2])
    text = Page(build_data_docs(tmp_path)).text
    assert "1 stored result cannot be read" in text
    assert "Partitions 1 " in text

    damaged.write_bytes(content)
    text = Page(build_data_docs(tmp_path)).text
    assert "cannot be read" not in text
    assert "Partitions 2 " in text


def test_result_damaged_after_it_was_shown_is_not_shown_as_good(tmp_path: Path) -> None:
    """The last known state of a result does not outlive the result."""
    reconcile(tmp_path, "2024-01", agreeing(PAYMENTS))
    build_data_docs(tmp_path)
    results(tmp_path)[0].write_bytes(b"{}")
    text = Page(build_data_docs(tmp_path)).text
    assert "1 stored result cannot be read" in text
    assert "Partitions 0 " in text


def test_removed_result_loses_its_page(tmp_path: Path) -> None:
    """The pages show what is stored, not what was."""
    reconcile(tmp_path, "2024-01", agreeing(PAYMENTS))
    build_data_docs(tmp_path)
    results(tmp_path)[0].unlink()
    assert "Nothing has been planned or reconciled yet" in Page(build_data_docs(tmp_path)).text
    assert run_pages(tmp_path) == []


def test_removed_run_leaves_no_dead_link(campaign: Path, tmp_path: Path) -> None:
    """Without the newer run, the earlier one is the newest again and no longer points to it."""
    root = tmp_path / "copy"
    shutil.copytree(campaign, root)
    results(root)[4].unlink()
    build_data_docs(root)
    text = Page(run_pages(root)[3]).text
    assert "A newer run" not in text
    assert "run-5" not in text


def test_pages_come_back_when_they_were_removed(campaign: Path, tmp_path: Path) -> None:
    """The site can be deleted at any time; the results are its source."""
    root = tmp_path / "copy"
    shutil.copytree(campaign, root)
    before = {path: content for path, (_, content) in contents(root).items()}
    shutil.rmtree(site(root))
    build_data_docs(root)
    assert {path: content for path, (_, content) in contents(root).items()} == before


def test_pages_are_rendered_again_by_another_version(tmp_path: Path) -> None:
    """After an upgrade no page keeps its old face."""
    reconcile(tmp_path, "2024-01", agreeing(PAYMENTS))
    build_data_docs(tmp_path)
    state = site(tmp_path).with_suffix(".json")
    state.write_text(json.dumps(json.loads(state.read_text()) | {"version": "another"}))
    page = run_pages(tmp_path)[0]
    page.write_text("old")
    build_data_docs(tmp_path)
    assert "Reconciled" in Page(page).text


def test_sample_is_not_taken_for_all_records(tmp_path: Path) -> None:
    """Where only some records were compared, both pages say so and claim no more."""
    sample = {"source": Decimal(50), "target": Decimal(50)}
    reconcile(tmp_path, "2024-01", changed(agreeing(PAYMENTS), CHECKSUMS, **sample))
    overview = Page(build_data_docs(tmp_path)).text
    text = Page(run_pages(tmp_path)[0]).text
    assert "1 partition needs a person KPS_T_SALESPAY_MD 2024-01 was compared only in a sample" in overview
    assert "50 of 1,000" in overview
    assert "A sample of 50 of 1,000 records was compared." in text
    assert "A sample of 50 of 1,000: 5 %." in text
    assert "rejected or changed" not in text


def test_facts_are_shown_in_their_order_and_escaped(tmp_path: Path) -> None:
    """Thai text arrives as it is; markup in a fact is text, not markup."""
    reconcile(tmp_path, "2024-01", agreeing(PAYMENTS), SCN="8,123,456", Org="กรุงเทพ", Note="<script>alert(1)</script>")
    build_data_docs(tmp_path)
    page = Page(run_pages(tmp_path)[0])
    assert "SCN 8,123,456 Org กรุงเทพ Note <script>alert(1)</script>" in page.text
    assert "<script>alert" not in page.path.read_text(encoding="utf-8")


def test_airflow_run_ids_become_pages(tmp_path: Path) -> None:
    """Run ids with slashes, colons and 250 characters have a page each, under their full name."""
    names = [f"scheduled__2024-01-01T00:00:00+00:00/{'x' * 200}{end}" for end in "ab"]
    for name in names:
        validate(SUPPLIERS, "ALL", agreeing(SUPPLIERS), run_name=name, root=tmp_path, clock=lambda: minutes_later(0))
    build_data_docs(tmp_path)
    pages = run_pages(tmp_path)
    assert len(pages) == 2
    assert {name for name in names for page in pages if name in Page(page).text} == set(names)


def test_parallel_runs_keep_every_result(tmp_path: Path) -> None:
    """Four processes validate into one folder while a fifth builds the pages; nothing is lost, nothing half read."""
    script = """
import os, sys, pathlib
sys.path.insert(0, sys.argv[2])
from reconciliation_samples import agreeing, minutes_later
import expectations
from kpc.catalog import find_table
import expectations.loading
expectations.loading.import_great_expectations()
root, table = pathlib.Path(sys.argv[1]), find_table("KPS_R_EMAIL_TENANT")
expectations.build_data_docs(root)
children = []
for worker in range(4):
    child = os.fork()
    if child == 0:
        for n in range(25):
            clock = lambda: minutes_later(n)
            expectations.validate(table, "ALL", agreeing(table), run_name=f"run-{worker}", root=root, clock=clock)
        os._exit(0)
    children.append(child)
states = []
while children:
    page = expectations.build_data_docs(root).read_text(encoding="utf-8")
    states.append("cannot be read" in page or not page.rstrip().endswith("</html>"))
    for child in list(children):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert status == 0
            children.remove(child)
expectations.build_data_docs(root)
print(any(states), len(states) > 1)
"""
    done = subprocess.run(  # noqa: S603  our own interpreter and script
        [sys.executable, "-c", script, str(tmp_path), str(SUPPORT)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "False True"
    assert len(results(tmp_path)) == 100
    assert len(run_pages(tmp_path)) == 100
    leftovers = [file for file in tmp_path.rglob("*") if file.name.endswith(".part")]
    assert leftovers == []


def test_great_expectations_builds_the_same_site(campaign: Path, tmp_path: Path) -> None:
    """Who knows the library opens the project with it: suites, results, pages and their addresses are all there."""
    import great_expectations as gx

    root = tmp_path / "copy"
    shutil.copytree(campaign, root)
    before = {path: content for path, (_, content) in contents(root).items()}
    shutil.rmtree(site(root))

    context = gx.get_context(mode="file", project_root_dir=root)
    assert context.build_data_docs() == {"migration": (site(root) / "index.html").as_uri()}

    assert {path: content for path, (_, content) in contents(root).items()} == before
    assert sorted(suite.name for suite in context.suites.all()) == ["KPS_R_POS_SUPPLIER", "KPS_T_SALESPAY_MD"]
    for identifier in context.validation_results_store.list_keys():
        (address,) = context.get_docs_sites_urls(resource_identifier=identifier)
        assert Path(unquote((address["site_url"] or "").removeprefix("file://"))).is_file()


def test_command_builds_the_pages(campaign: Path, tmp_path: Path) -> None:
    """`python -m expectations build ROOT` prints where the overview is; a wrong folder is told apart from success."""
    done = _command("build", str(campaign))
    assert (done.returncode, done.stdout.strip()) == (0, str(site(campaign) / "index.html"))

    wrong = _command("build", str(tmp_path))
    assert wrong.returncode == 2
    assert "There is no Great Expectations project" in wrong.stderr
    assert _command("paint").returncode == 2


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "expectations", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603  our own


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast(scheme: str) -> None:
    """Each text colour is readable on each paper it is used on: 4.5 to 1 (WCAG 2.2 AA)."""
    css = STYLE.read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", css, flags=re.DOTALL)[:2]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light))
    if scheme == "dark":
        colours |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", dark))
    plain = [(text, paper) for text in ("ink", "soft", "link", "info") for paper in ("paper", "card", "faint")]
    tinted = [(text, f"{kind}-paper") for kind in ("good", "warn", "bad", "info") for text in ("ink", "link", kind)]
    states = [(kind, paper) for kind in ("good", "warn", "bad", "info") for paper in ("card", "faint")]
    weak = {
        (text, paper): round(_contrast(colours[text], colours[paper]), 2)
        for text, paper in [*plain, *tinted, *states, ("soft", "bad-paper"), ("ink", "mark"), ("on-bad", "bad-bar")]
        if _contrast(colours[text], colours[paper]) < 4.5
    }
    assert weak == {}


def _contrast(first: str, second: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    darker, lighter = sorted((luminance(first), luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def test_preflight_is_a_page_that_the_overview_links_to(tmp_path: Path) -> None:
    """Failed checks and warnings with their remedies, the others counted; the newest run replaces the page."""
    index = build_data_docs(tmp_path)
    assert "preflight.html" not in Page(index).links
    about = CheckSubject("Salesforce", "KPS_Sales__c")
    found = [
        about.failed("access", "no <b>Delete", "Grant it."),
        about.warning("flows", "one", "Ask."),
        about.ok("a", ""),
    ]
    keep_checks(tmp_path, found, NOON)
    assert "preflight.html" in Page(build_data_docs(tmp_path)).links
    page = Page(index.with_name("preflight.html"))
    assert "1 check failed, 1 warning. " in page.text
    assert "no <b>Delete Grant it." in page.text
    keep_checks(tmp_path, [about.ok("access", "all")], NOON)
    build_data_docs(tmp_path)
    assert "0 checks failed, 0 warnings." in Page(index.with_name("preflight.html")).text
