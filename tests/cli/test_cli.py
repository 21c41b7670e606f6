"""What a person types: answers on stdout, remarks on stderr, exit codes, and one clear error for each mistake."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from checkout import PROJECT
from command_line import environment_of
from emulated_org import Emulator
from oracle_source import OracleServer
from typer.testing import CliRunner, Result

from kpc.cli import app
from kpc.settings import SalesforceSettings

COMMANDS = (
    "demo", "plan", "run", "rerun", "status", "show", "failed", "pause", "resume", "rollback", "preflight", "reconcile",
    "docs", "audit", "delta", "archive", "purge", "data-map", "bench", "constants", "source",
    "certificate", "sign-off", "campaign",
)  # fmt: skip


@pytest.fixture
def kpc(
    tmp_path: Path, oracle: OracleServer, emulated: Callable[..., Emulator], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """Runs a command in an empty folder, against an empty org; keyword arguments change the environment."""
    monkeypatch.chdir(tmp_path)
    return runner(oracle, emulated().settings)


@pytest.fixture
def kpc_that_sends_nothing(
    tmp_path: Path, oracle: OracleServer, salesforce: SalesforceSettings, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """The same against the org that all tests share."""
    monkeypatch.chdir(tmp_path)
    return runner(oracle, salesforce)


def runner(oracle: OracleServer, org: SalesforceSettings) -> Callable[..., Result]:
    environment = environment_of(oracle, org)

    def run(*arguments: str, **changes: str) -> Result:
        return CliRunner().invoke(app, list(arguments), env={**environment, **changes})

    return run


def test_one_partition_from_the_command_line(kpc: Callable[..., Result], tmp_path: Path) -> None:
    """Run, status, show, failed, reconcile, docs and audit work for the same partition, also with --json."""
    ran = kpc("run", "kps_r_pos_supplier", "ALL", "--json")
    assert ran.exit_code == 0, ran.output
    stage_results = json.loads(ran.stdout)["receipts"]
    assert [stage_result["stage"] for stage_result in stage_results] == [
        "oracle_extract",
        "staged_csv",
        "sf_loaded",
        "reconciled",
    ]
    (partition,) = json.loads(kpc("status", "--json").stdout)["partitions"]
    assert partition["stages"]["reconciled"]["state"] == "reconciled"
    shown = json.loads(kpc("show", "KPS_R_POS_SUPPLIER", "ALL", "--json").stdout)
    assert shown["staged"]["chunks"][0]["rows"] == shown["extract"]["rows"] == 4
    assert re.fullmatch("[0-9a-f]{64}", shown["mapping_version"])
    assert json.loads(kpc("failed", "KPS_R_POS_SUPPLIER", "--json").stdout)["records"] == []
    compared = json.loads(kpc("reconcile", "KPS_R_POS_SUPPLIER", "ALL", "--drill", "--json").stdout)
    assert compared["records"]["equal"] == 4
    assert Path(json.loads(kpc("docs", "--json").stdout)["index"]).is_file()
    audit = json.loads(kpc("audit", "--json").stdout)
    assert (audit["ok"], audit["problems"], audit["in_work"]) == (True, [], [])
    archived = json.loads(kpc("archive", "KPS_R_POS_SUPPLIER", "ALL", "--json").stdout)
    assert (Path(archived["place"]) / archived["chunks"][0]["name"]).is_file()
    cleaned = json.loads(kpc("show", "KPS_R_POS_SUPPLIER", "ALL", "--json").stdout)["staged"]["cleaned"]
    assert (cleaned["policy"], cleaned["place"]) == ("archive", archived["place"])
    assert "archive" in kpc("show", "KPS_R_POS_SUPPLIER", "ALL").stdout
    for command in ("status", "audit"):
        assert kpc(command).stdout.strip()
    assert not (tmp_path / "kpc.toml").exists()


def test_a_partition_is_purged_from_the_command_line(kpc: Callable[..., Result], tmp_path: Path) -> None:
    """The dry run lists what the purge then removes; the audit agrees; a reconciliation says what it compared."""
    assert kpc("run", "KPS_R_POS_SUPPLIER", "ALL", "--json").exit_code == 0
    assert json.loads(kpc("purge", "--json").stdout)["files"] == 0  # nothing is old enough
    wanted = ("purge", "KPS_R_POS_SUPPLIER", "ALL", "--due-now", "--kind", "extract,chunks", "--json")
    listed = json.loads(kpc(*wanted, "--dry-run").stdout)
    assert len(list(tmp_path.rglob("extract/*.parquet"))) > 0
    done = json.loads(kpc(*wanted, "--reason", "a customer asked").stdout)
    assert [each["files"] for each in done["purged"]] == [each["files"] for each in listed["purged"]] != []
    assert list(tmp_path.rglob("extract/*.parquet")) == list(tmp_path.rglob("staged-*/chunk-*.csv.gz")) == []
    assert json.loads(kpc("audit", "--json").stdout)["problems"] == []
    compared = kpc("reconcile", "KPS_R_POS_SUPPLIER", "ALL", "--json")
    assert json.loads(compared.stdout)["purged_utc"] is not None
    assert "Compared only by key hashes and row checksums: the extract was purged on" in compared.stderr
    columns = json.loads(kpc("data-map", "--json").stdout)["columns"]
    assert {"table", "column", "personal", "treatment", "files", "owner", "retention_days"} <= columns[0].keys()


def test_preflight_looks_at_both_systems(kpc_that_sends_nothing: Callable[..., Result]) -> None:
    """16 tables and 16 objects, two folders, the staging root and the hash key are seen; nothing is sent."""
    ran = kpc_that_sends_nothing("preflight", "--json")
    answer = json.loads(ran.stdout)
    assert ran.exit_code == 0
    assert answer["ok"]
    subjects = [(check["system"], check["subject"]) for check in answer["checks"] if check["check"] == "schema"]
    assert len(subjects) == 16 + 16
    assert {"driver", "login", "identity"} <= {check["check"] for check in answer["checks"]}
    assert {check["result"] for check in answer["checks"]} == {"ok", "warning"}
    warnings = {check["check"] for check in answer["checks"] if check["result"] == "warning"}
    assert warnings == {"time zone", "storage"}
    assert [check["system"] for check in answer["checks"][-2:]] == ["Staging", "Constants"]
    strange = json.loads(kpc_that_sends_nothing("preflight", "--json", KPC__STAGING__ROOT="elsewhere").stdout)
    assert "not the one" in strange["checks"][-2]["message"]


def test_paused_table_waits_until_it_is_resumed(kpc: Callable[..., Result]) -> None:
    """A paused load exits with 69 and the remedy, and sends nothing; after resume it continues."""
    paused = json.loads(kpc("pause", "kps_r_pos_supplier", "--reason", "maintenance", "--json").stdout)
    assert paused["is_new"]
    assert not json.loads(kpc("pause", "KPS_R_POS_SUPPLIER", "--json").stdout)["is_new"]
    assert "maintenance" in kpc("status").stderr
    held = kpc(*RUN, "--json")
    assert held.exit_code == 69
    assert json.loads(held.stdout)["error"] == "Paused"
    assert "kpc run KPS_R_POS_SUPPLIER ALL --stage sf_loaded" in " ".join(held.stderr.split())
    assert kpc("resume", "phase", "sales").exit_code == 0
    assert len(json.loads(kpc("status", "--json").stdout)["paused"]) == 1
    assert json.loads(kpc("resume", "--json").stdout) == {"lifted": 1, "paused": []}
    assert kpc(*RUN).exit_code == 0


def test_load_without_quota_says_when_it_can_go_on(kpc: Callable[..., Result]) -> None:
    """With the day's batches used up, a run exits with 69, the exact time and the command that continues it."""
    assert kpc(*RUN).exit_code == 0
    full = kpc("run", "KPS_R_EMAIL_SUPPLIER", "ALL", "--json", KPC__SALESFORCE__DAILY_BATCHES="1")
    assert full.exit_code == 69
    answer = json.loads(full.stdout)
    next_free = datetime.fromisoformat(answer["next_free_utc"])
    assert timedelta(hours=23, minutes=59) < next_free - datetime.now(UTC) <= timedelta(hours=24, minutes=1)
    assert f"{next_free:%Y-%m-%d %H:%M:%S}" in answer["remedy"]
    assert "kpc run KPS_R_EMAIL_SUPPLIER ALL --stage sf_loaded" in answer["remedy"]
    state = json.loads(kpc("status", "--json").stdout)["quota"]
    assert (state["batches"], state["jobs_in_flight"]) == (1, 0)
    assert kpc("run", "KPS_R_EMAIL_SUPPLIER", "ALL").exit_code == 0


def test_rollback_is_a_dry_run_unless_it_is_confirmed(kpc: Callable[..., Result]) -> None:
    """Without --yes it only counts; with it the records are deleted and the partition can be loaded again."""
    assert kpc(*RUN).exit_code == 0
    planned = json.loads(kpc("rollback", "KPS_R_POS_SUPPLIER", "ALL", "--json").stdout)
    assert (planned["dry_run"], planned["created"], planned["updated"], planned["children"]) == (True, 4, 0, [])
    assert json.loads(kpc("reconcile", "KPS_R_POS_SUPPLIER", "ALL", "--json").stdout)["state"] == "reconciled"
    assert "no image of them was taken" in " ".join(kpc("rollback", "KPS_R_POS_SUPPLIER", "ALL").stdout.split())
    done = json.loads(kpc("rollback", "KPS_R_POS_SUPPLIER", "ALL", "--yes", "--json").stdout)
    assert (done["dry_run"], done["deleted"], done["left"]) == (False, 4, 0)
    (partition,) = json.loads(kpc("status", "--json").stdout)["partitions"]
    assert partition["rolled_back_utc"] == partition["stages"]["sf_loaded"]["finished_utc"]
    assert kpc("status").stdout.count("rolled back") == 4
    assert kpc("rollback", "KPS_R_POS_SUPPLIER", "ALL", "--yes").exit_code == 1
    assert kpc("audit").exit_code == 0
    assert kpc(*RUN).exit_code == 0


def test_records_of_somebody_else_are_kept_and_set_back(kpc: Callable[..., Result]) -> None:
    """A second migration into the same org changes the first one's records; its rollback restores them."""
    first = {"KPC__LEDGER_URL": "sqlite:///first.db", "KPC__STAGING__ROOT": "first"}
    assert kpc(*RUN, **first).exit_code == 0
    loaded = json.loads(kpc(*RUN, "--json").stdout)["receipts"][2]["detail"]
    assert (loaded["created"], loaded["pre_image"]) == (0, 4)
    assert "4 records have a pre-image" in " ".join(kpc("status").stderr.split())
    (shown,) = json.loads(kpc("show", "KPS_R_POS_SUPPLIER", "ALL", "--json").stdout)["pre_images"]
    assert (shown["chunk"], shown["rows"]) == ("chunk-00001.csv.gz", 4)
    planned = kpc("rollback", "KPS_R_POS_SUPPLIER", "ALL")
    assert "4 records that existed before would be restored" in " ".join(planned.stdout.split())
    done = json.loads(kpc("rollback", "KPS_R_POS_SUPPLIER", "ALL", "--yes", "--json").stdout)
    counts = {name: done[name] for name in ("deleted", "with_pre_image", "restored", "left", "changed", "differing")}
    assert counts == {"deleted": 0, "with_pre_image": 4, "restored": 4, "left": 0, "changed": 0, "differing": 0}
    again = json.loads(kpc("reconcile", "KPS_R_POS_SUPPLIER", "ALL", "--drill", "--json", **first).stdout)
    assert again["records"]["equal"] == 4


def test_failed_records_are_exported_and_sent_again_by_command(kpc: Callable[..., Result], tmp_path: Path) -> None:
    """Export and retry work on a table without failures too; two such options at once are refused."""
    assert kpc(*RUN).exit_code == 0
    exported = kpc("failed", "KPS_R_POS_SUPPLIER", "ALL", "--export", "out.csv", "--json")
    assert json.loads(exported.stdout) == {"rows": 0, "file": "out.csv"}
    assert (tmp_path / "out.csv").read_text("utf-8-sig").startswith("_partition,_class,_code,_message,External_ID__c,")
    retried = kpc("failed", "KPS_R_POS_SUPPLIER", "ALL", "--retry", "--json")
    assert retried.exit_code == 0, retried.output
    assert json.loads(retried.stdout)["repairs"][0]["sent"] == 0
    assert kpc("failed", "KPS_R_POS_SUPPLIER", "--retry", "--export", "x").exit_code == 1


def test_a_plan_books_the_scope(kpc_that_sends_nothing: Callable[..., Result]) -> None:
    """Every partition is counted; the seeded months leave nothing unassigned."""
    answer = kpc_that_sends_nothing("plan", "--months", "2024-01:3", "--json")
    assert answer.exit_code == 0, answer.output
    planned = json.loads(answer.stdout)
    assert len(planned["tables"]) == 16
    assert planned["unassigned"] == 0
    short = kpc_that_sends_nothing("plan", "--months", "2024-01:2", "--json")
    assert short.exit_code == 3
    assert json.loads(short.stdout)["unassigned"] > 0
    causes = json.loads(kpc_that_sends_nothing("show", "KPS_T_SALES_M", "UNASSIGNED", "--json").stdout)["causes"]
    assert [cause["cause"] for cause in causes] == ["out_of_scope"]


RUN = ("run", "KPS_R_POS_SUPPLIER", "ALL")
MISTAKES: dict[str, tuple[tuple[str, ...], dict[str, str], str]] = {
    "wrong Oracle password": (RUN, {"KPC__ORACLE__PASSWORD": "wrong"}, "KPC__ORACLE__PASSWORD"),
    "unreachable Oracle": (RUN, {"KPC__ORACLE__DSN": "127.0.0.1:1/KPCDB"}, "127.0.0.1:1"),
    "no Oracle address": (RUN, {"KPC__ORACLE__DSN": ""}, "KPC__ORACLE__DSN"),
    "wrong Salesforce secret": (RUN, {"KPC__SALESFORCE__CLIENT_SECRET": "wrong"}, "KPC__SALESFORCE__CLIENT_SECRET"),
    "unreachable Salesforce": (RUN, {"KPC__SALESFORCE__BASE_URL": "http://127.0.0.1:1"}, "127.0.0.1:1"),
    "unknown table": (("run", "KPS_NOPE", "ALL"), {}, "no table"),
    "wrong key": (("run", "KPS_T_SALES_M", "2024-1"), {}, "2024-01"),
    "month of a whole table": (("run", "KPS_T_PREINV", "2024-01"), {}, "give ALL"),
    "missing key": (("run", "KPS_T_SALES_M"), {}, "partition key is missing"),
    "unknown stage": ((*RUN, "--stage", "nope"), {}, "oracle_extract"),
    "unknown phase": (("pause", "phase", "nope"), {}, "reference"),
    "unknown scope": (("pause", "this", "and", "that"), {}, "name of a table"),
    "unknown mode": ((*RUN, "--mode", "nope"), {}, "incremental"),
    "future month": (("run", "KPS_T_SALES_M", "2099-01"), {}, "'2099-01' has not begun"),
    "future months to plan": (("plan", "--months", "2024-01:900"), {}, "has not begun"),
    "future months to run": (("run", "KPS_T_SALES_M", "--months", "2024-01:900"), {}, "has not begun"),
    "future months of one pass": (("one-pass", "KPS_T_SALES_MD", "--months", "2024-01:900"), {}, "has not begun"),
    "future months of a campaign": (
        ("campaign", "start", "--first-month", "2024-01", "--last-month", "2099-01"), {}, "has not begun"),
    "wrong months": (("plan", "--months", "soon"), {}, "2024-01:3"),
    "no room on the disk": (RUN, {"KPC__STAGING__FREE_BYTES": str(10**18)}, "Free space"),
    "object store without driver": (RUN, {"KPC__STAGING__ROOT": "s3://bucket/kpc"}, "s3fs"),
    "unknown clean-up": (("archive", "KPS_T_PREINV", "ALL", "--policy", "burn"), {}, "archive and delete"),
    "unknown kind of files": (("purge", "--kind", "all"), {}, "pre-images"),
    "purge of an unknown table": (("purge", "KPS_NOPE"), {}, "no table"),
    "purge before its time without a reason": (("purge", "--due-now"), {}, "--reason TEXT"),
    "unknown setting": (RUN, {"KPC__ORACLE__DNS": "x"}, "nearest is KPC__ORACLE__DSN"),
    "unreachable ledger": (
        RUN, {"KPC__LEDGER_URL": "postgresql://u:s3cret@127.0.0.1:1/x"}, "ledger"),
    "not loaded yet": (("reconcile", "KPS_T_PREINV", "ALL"), {}, "has not been extracted"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "environment", "named"), MISTAKES.values(), ids=list(MISTAKES))
def test_a_mistake_gives_one_clear_error(
    arguments: tuple[str, ...],
    environment: dict[str, str],
    named: str,
    kpc_that_sends_nothing: Callable[..., Result],
    tmp_path: Path,
) -> None:
    """The message names the thing and the remedy; the exit code is not zero; nothing looks done."""
    result = kpc_that_sends_nothing(*arguments, **environment)
    assert result.exit_code == 1, result.output
    assert named.lower() in " ".join(result.stderr.split()).lower()
    assert "Traceback" not in result.output
    assert "s3cret" not in result.output
    assert not list(tmp_path.rglob("manifest.json"))


def test_wrong_usage_is_exit_code_2(kpc_that_sends_nothing: Callable[..., Result]) -> None:
    """An option that does not exist is the user's mistake, not a failure."""
    assert kpc_that_sends_nothing("run", "--nope").exit_code == 2


def test_every_command_has_help_and_is_documented() -> None:
    """The help of each command starts with a sentence, and README or RUNBOOK mentions the command."""
    pages = ("README.md", "RUNBOOK.md", "docs/campaign.md", "docs/benchmarks.md")
    prose = "".join((PROJECT / page).read_text() for page in pages)
    for command in COMMANDS:
        assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0
        assert f"kpc {command}" in prose, f"`kpc {command}` is not documented"


def test_the_console_script_starts_quickly() -> None:
    """Help must not wait for polars, DuckDB or Great Expectations to be imported."""
    slow = ["polars", "duckdb", "great_expectations", "oracledb", "airflow", "sqlalchemy", "httpx"]
    program = f"import sys, kpc.cli; print([name for name in {slow} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "[]"


def test_constants_are_shown_and_changed_by_command(kpc: Callable[..., Result]) -> None:
    """A different hash key is refused; `adopt` changes it with a reason, which is in the audit log."""
    assert kpc("run", "KPS_T_SALES_M", "2024-01").exit_code == 0
    other = {"KPC__HASH_KEY": "another-key-0123456789-0123456789"}
    refused = kpc("run", "KPS_T_SALES_M", "2024-02", **other)
    assert refused.exit_code == 1
    assert "kpc constants adopt hash_key" in " ".join(refused.stderr.split())
    shown = json.loads(kpc("constants", "show", "--json", **other).stdout)["constants"]
    assert {one["name"]: one["same"] for one in shown} == {
        "hash_key": False, "time_zone": True, "external_id:kps_t_sales_m": True,
    }  # fmt: skip
    failed = kpc("preflight", **other)
    assert failed.exit_code == 1
    assert "hash_key" in failed.output
    adopted = kpc("constants", "adopt", "hash_key", "--reason", "the old one was known to too many", **other)
    assert adopted.exit_code == 0
    assert "--mode full" in adopted.output
    assert kpc("run", "KPS_T_SALES_M", "2024-01", "--mode", "full", **other).exit_code == 0
    assert kpc("audit").exit_code == 0
    assert kpc("constants", "adopt", "no_such", "--reason", "x").exit_code == 1


def test_what_was_learned_about_the_org_can_be_shown_and_forgotten(kpc: Callable[..., Result]) -> None:
    """`kpc org` lists what loads have learned, forgets one fact, rejects unknown names, and writes an audit entry."""
    assert "nothing has been learned yet" in kpc("org", "show").stdout
    assert kpc("run", "kps_r_pos_supplier", "ALL", "--json").exit_code == 0
    facts = {fact["name"]: fact["value"] for fact in json.loads(kpc("org", "show", "--json").stdout)["facts"]}
    assert facts["upload_encoding"] == "gzip"
    assert "upload_encoding" in kpc("org", "show").stdout
    unknown = kpc("org", "forget", "gzip")
    assert unknown.exit_code == 1
    assert "upload_encoding" in unknown.output
    forgotten = json.loads(kpc("org", "forget", "upload_encoding", "--json").stdout)
    assert forgotten == {"forgotten": "upload_encoding", "value": "gzip"}
    assert "upload_encoding" not in kpc("org", "show").stdout
    assert kpc("audit").exit_code == 0
