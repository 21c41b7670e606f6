"""Every command in the environments of containers, cron jobs and pipes: a result or one sentence, never a traceback.

The commands are those of the real application; a new one is tried without a change here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import typer
from command_line import environment_of
from oracle_source import OracleServer
from typer.testing import CliRunner

from kpc.cli import app
from kpc.cli.unexpected import explained_at_the_top
from kpc.settings import SalesforceSettings

KPC = Path(sys.executable).with_name("kpc")
PARTITION = ("KPS_R_POS_SUPPLIER", "ALL")
ARGUMENTS = {"table": PARTITION[0], "key": PARTITION[1], "subject": "reference", "months": "2024-01:1", "number": "1"}
# Options that end a command soon which would serve, or measure, for a long time.
ENDING = {
    ("emulate", "oracle"): ("--rows", "10", "--port", "0", "--ready-file", "/proc/none/ready.json"),
    ("emulate", "salesforce"): ("--port", "0", "--ready-file", "/proc/none/ready.json"),
    ("demo",): ("--work-dir", "/proc/none"),
    ("cluster", "up"): ("--work-dir", "/proc/none"),
}
MEASURES = ("bench",)  # for minutes, reading no setting


def leaves(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Each command with the arguments that it requires."""
    if hasattr(command, "commands"):
        for name, each in command.commands.items():
            yield from leaves(each, (*path, name))
        return
    given: list[str] = []
    for parameter in command.params:
        value = ARGUMENTS.get(parameter.name, "")
        if parameter.required or (value and parameter.param_type_name == "argument"):
            is_option = parameter.param_type_name == "option"
            given += [parameter.opts[0], value] if is_option else [value]
    if path[0] not in MEASURES:
        yield path, (*given, *ENDING.get(path, ()))


COMMANDS = dict(leaves(typer.main.get_command(app)))
NEED_NO_LEDGER = (
    ("docs",),
    ("rerun",),
    ("alerts", "test"),
    ("campaign", "start"),
    ("data-map",),
    ("certificate", "public-key"),
)
# A certificate is verified where there is neither ledger nor settings; a cluster is found by its folder.
READ_NO_SETTINGS = tuple(
    path for path in COMMANDS if path in ENDING or path == ("certificate", "verify") or path[0] == "cluster"
)


@dataclass(frozen=True)
class Environment:
    """Variables, and what a refusal must name (any of `names`); `make` prepares the folder."""

    variables: dict[str, str]
    names: tuple[str, ...] = ()
    make: Callable[[Path], object] = field(default=lambda _: None)


def text_file(folder: Path) -> None:
    (folder / "note.txt").write_text("neither a database nor a folder\n")


REFUSED = {
    "KPC_CONFIG names no file": Environment({"KPC_CONFIG": "etc/kpc.tolm"}, ("kpc.tolm",)),
    "a mistyped variable": Environment({"KPC__LEDGER__URL": "x"}, ("KPC__LEDGER__URL",)),
    "a key that is no text": Environment({"KPC__HASH_KEY": os.fsdecode(b"\xe9")}, ("KPC__HASH_KEY",)),
    "kpc.toml is a folder": Environment({}, ("kpc.toml",), lambda folder: (folder / "kpc.toml").mkdir()),
}
LEDGERS = {
    "a text file": Environment({"KPC__LEDGER_URL": "sqlite:///note.txt"}, ("note.txt",), text_file),
    "a folder": Environment({"KPC__LEDGER_URL": "sqlite:////"}, ("ledger",)),
    "a device": Environment({"KPC__LEDGER_URL": "sqlite:////dev/null"}, ("/dev/null",)),
    "a missing folder": Environment({"KPC__LEDGER_URL": "sqlite:///gone/ledger.db"}, ("gone",)),
    "below a file": Environment({"KPC__LEDGER_URL": "sqlite:///note.txt/l.db"}, ("note.txt",), text_file),
    "an unknown kind": Environment({"KPC__LEDGER_URL": "mysql://u:s3cret@h/d"}, ("mysql",)),
    "a port that is no number": Environment({"KPC__LEDGER_URL": "postgresql://u:s3cret@h:x/d"}, ("ledger",)),
    "an unknown parameter": Environment({"KPC__LEDGER_URL": "postgresql://u:s3cret@127.0.0.1:1/d?x=1"}, ("ledger",)),
    "a closed port": Environment({"KPC__LEDGER_URL": "postgresql://u:s3cret@127.0.0.1:1/d"}, ("127.0.0.1",)),
    "a file in the way of .kpc": Environment({}, (".kpc",), lambda folder: (folder / ".kpc").touch()),
}
PLACES = {
    "staging below a file": Environment({"KPC__STAGING__ROOT": "note.txt/st"}, ("STAGING__ROOT",), text_file),
    "staging in no file system": Environment({"KPC__STAGING__ROOT": "/proc/none"}, ("STAGING__ROOT",)),
    "documents below a file": Environment({"KPC__RECONCILE__DOCS_ROOT": "note.txt/d"}, ("DOCS_ROOT",), text_file),
    "names too long": Environment({"KPC__STAGING__ROOT": "a" * 300}, ("STAGING__ROOT",)),
    "addresses of nothing": Environment(
        {"KPC__SALESFORCE__BASE_URL": "http://[::1", "KPC__AIRFLOW_URL": "x", "KPC__ORACLE__DSN": "//:"}, ("KPC__",)
    ),
    "files that are gone": Environment(
        {"KPC__SALESFORCE__CA_FILE": "gone.pem", "KPC__SALESFORCE__PRIVATE_KEY_FILE": "gone.key",
         "KPC__ORACLE__CA_FILE": "gone.pem"}, ("gone",),
    ),
}  # fmt: skip


@pytest.fixture
def variables(oracle: OracleServer, salesforce: SalesforceSettings) -> dict[str, str]:
    """Of a caller without HOME, TERM and LANG, as cron has it."""
    return {"PATH": "/usr/bin:/bin", **environment_of(oracle, salesforce)}


def assert_explained(code: int, output: str, names: tuple[str, ...], *, may_succeed: bool = False) -> None:
    assert "Traceback" not in output, output
    assert "defect of this program" not in output, output
    assert "s3cret" not in output
    assert "Exception ignored" not in output, output
    if not (may_succeed and code in (0, 3)):
        assert code in (1, 2, 69), output
        assert any(name in output for name in names), output


def invoked(path: tuple[str, ...], arguments: tuple[str, ...], variables: dict[str, str]) -> tuple[int, str]:
    """Exit code and output of a command run in this process; an unexplained error fails the test."""
    done = CliRunner().invoke(app, [*path, *arguments], env=variables)
    assert done.exception is None or isinstance(done.exception, SystemExit), f"{path}: {done.exception!r}"
    return done.exit_code, " ".join(done.output.split())


@pytest.mark.parametrize("environment", [*REFUSED.values(), *LEDGERS.values()], ids=[*REFUSED, *LEDGERS])
def test_no_command_begins_with_settings_or_a_ledger_that_cannot_be_used(
    environment: Environment, variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is refused by name, and no new ledger appears beside the one that was meant."""
    monkeypatch.chdir(tmp_path)
    environment.make(tmp_path)
    has_ledger = environment in LEDGERS.values()
    for path, arguments in COMMANDS.items():
        if path not in READ_NO_SETTINGS:
            code, output = invoked(path, arguments, {**variables, **environment.variables})
            needs_ledger = not has_ledger or path not in NEED_NO_LEDGER
            names = environment.names if needs_ledger else ("",)
            assert_explained(code, output, names, may_succeed=not needs_ledger)
    assert not list(tmp_path.rglob("*.db"))


@pytest.mark.parametrize("environment", PLACES.values(), ids=list(PLACES))
def test_every_command_explains_a_place_or_an_address_that_cannot_be_used(
    environment: Environment, variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that does not need it does its work; the others name the setting, and preflight reports it."""
    monkeypatch.chdir(tmp_path)
    environment.make(tmp_path)
    for path, arguments in COMMANDS.items():
        code, output = invoked(path, arguments, {**variables, **environment.variables})
        expected = ("",) if path != ("preflight",) else environment.names
        assert_explained(code, output, expected, may_succeed=path != ("preflight",))
    checked = CliRunner().invoke(app, ["preflight", "--json"], env={**variables, **environment.variables})
    wrong = [check["message"] for check in json.loads(checked.stdout)["checks"] if not check["ok"]]
    assert any(name in message for name in environment.names for message in wrong)


# Streams and limits: only a process of its own has them


def in_shell(line: str, variables: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a shell command in which `$KPC` is the program."""
    bash = shutil.which("bash")
    assert bash is not None
    return subprocess.run(  # noqa: S603  our own command line
        [bash, "-c", line], env={**variables, "KPC": str(KPC)}, cwd=folder, capture_output=True, text=True,
        errors="surrogateescape", timeout=120, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


THAI = "ปิดปรับปรุง"
STREAMS = {
    "stdout is closed": ("$KPC status >&-", 0, ""),
    "all streams are closed": ("$KPC status <&- >&- 2>&-", 0, ""),
    "the reader goes away": ("$KPC status | true; exit ${PIPESTATUS[0]}", 0, ""),
    "the reader of everything goes away": ("$KPC status 2>&1 | true; exit ${PIPESTATUS[0]}", 0, ""),
    "stdout is full": ("$KPC status >/dev/full", 1, "cannot be written: No space left"),
    "stderr is full": ("$KPC status 2>/dev/full", 0, ""),
    "stdout is ASCII": ("PYTHONIOENCODING=ascii $KPC status --json", 0, ""),
    "stdout is that of a Thai Windows": ("PYTHONIOENCODING=cp874 $KPC status", 0, ""),
    "stdout is that of a western Windows": ("PYTHONIOENCODING=cp1252 $KPC status", 0, ""),
    "the locale is C": ("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 $KPC status", 0, ""),
    "an argument is no text": ("$KPC pause --reason $'\\xe9'", 1, "argument \\xe9"),
    "the level of logging is none": ("KPC_LOG=loud $KPC status", 1, "KPC_LOG"),
    "the level of logging is empty": ("KPC_LOG= $KPC status", 0, ""),
    "the working directory is gone": ("mkdir g; cd g; rmdir ../g; $KPC status", 1, "working directory"),
    "few files may be open": ("ulimit -n 8; $KPC run KPS_R_POS_SUPPLIER ALL", 1, "ulimit -n"),
    "a proxy stands before this machine": ("ALL_PROXY=socks5://127.0.0.1:1 HTTP_PROXY=? $KPC status", 0, ""),
}


def test_streams_and_limits_of_a_process_are_used_or_refused(variables: dict[str, str], tmp_path: Path) -> None:
    """One after the other in one folder; a pause has a reason in Thai, which every stream must handle."""
    assert in_shell(f"$KPC pause --reason {THAI}", variables, tmp_path).returncode == 0
    for name, (line, code, named) in STREAMS.items():
        done = in_shell(line, variables, tmp_path)
        output = " ".join((done.stdout + done.stderr).split())
        assert_explained(done.returncode or 1, output, (named,))
        assert done.returncode == code, f"{name}: {output}"
        if "--json" in line:
            assert json.loads(done.stdout)["paused"][0]["reason"] == THAI


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line, code, _ in STREAMS.values() if code == 0])
def test_every_command_bears_every_stream(line: str, variables: dict[str, str], tmp_path: Path) -> None:
    for path, arguments in COMMANDS.items():
        done = in_shell(line.replace("status", " ".join([*path, *arguments])), variables, tmp_path)
        assert_explained(done.returncode or 1, done.stdout + done.stderr, ("",))


# Folders that are read-only or full, and a user without a name: with a mount or a user of its own


def in_own_mount(options: str, line: str, variables: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a shell command with a file system mounted on the folder `own`, which nobody else sees."""
    (folder / "own").mkdir(exist_ok=True)
    script = f"mount -t tmpfs -o {options} tmpfs own && ({line})"
    return in_shell(f"unshare --user --map-root-user --mount sh -c '{script}'", variables, folder)


MOUNTS = {
    "staging is read-only": ("ro", "KPC__STAGING__ROOT=own/st", "KPC__STAGING__ROOT"),
    "documents are read-only": ("ro", "KPC__RECONCILE__DOCS_ROOT=own/d", "KPC__RECONCILE__DOCS_ROOT"),
    "the ledger is read-only": ("ro", "KPC__LEDGER_URL=sqlite:///own/l.db", "ledger"),
    "staging is full": ("size=8k", "KPC__STAGING__ROOT=own/st KPC__STAGING__FREE_BYTES=0", "own/st"),
    "documents are full": ("size=4k", "KPC__RECONCILE__DOCS_ROOT=own/d", "KPC__RECONCILE__DOCS_ROOT"),
    "the ledger's disk is full": ("size=300k", "KPC__LEDGER_URL=sqlite:///own/l.db", "ledger"),
    "the scratch disk is full": (
        "size=8k", "KPC__STAGING__ROOT=memory://k KPC__STAGING__SCRATCH=own/s KPC__STAGING__FREE_BYTES=0", "own/s"),
}  # fmt: skip


SLOW = ("documents are read-only", "documents are full", "the ledger's disk is full")


@pytest.mark.parametrize(
    ("options", "settings", "named"),
    [pytest.param(*case, id=name, marks=[pytest.mark.slow] if name in SLOW else []) for name, case in MOUNTS.items()],
)
def test_a_read_only_or_full_disk_is_named(
    options: str, settings: str, named: str, variables: dict[str, str], tmp_path: Path
) -> None:
    if in_own_mount(options, "true", variables, tmp_path).returncode:
        pytest.skip("this user cannot mount a file system")
    done = in_own_mount(options, f"{settings} $KPC run {' '.join(PARTITION)}", variables, tmp_path)
    output = " ".join(done.stderr.split())
    assert_explained(done.returncode, output, (named,))
    assert "Read-only" in output or "unable to open" in output or "room" in output or "disk" in output


def test_a_user_without_a_name_and_a_home_can_work(variables: dict[str, str], tmp_path: Path) -> None:
    line = "unshare --user --map-user=54321 $KPC pause --reason x"
    if in_shell("unshare --user --map-user=54321 true", variables, tmp_path).returncode:
        pytest.skip("this user cannot take another user's id")
    done = in_shell(line, variables, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "by uid-54321" in done.stdout


def test_an_error_that_is_a_defect_is_reported_without_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence and a file with the places in the code; a library's message may quote a personal value."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    value = "".join(["not-a-number", "-of-a-person"])
    try:
        int(value)
    except ValueError as error:
        explained = explained_at_the_top(error)
    (report,) = tmp_path.iterdir()
    assert str(report) in explained.remedy
    assert "ValueError" in report.read_text()
    assert value not in report.read_text() + str(explained)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    assert "file" not in explained_at_the_top(KeyError("x")).remedy
