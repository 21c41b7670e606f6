"""What messages and pages tell people to do exists: commands, options, settings, files, switches, names and numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest
from remedies import PROJECT, WORD, Checker, Text, commands_in, literals, page_texts, program_texts

from kpc.cli.output import Exit
from kpc.emulators.oracle import faults as oracle_faults
from kpc.emulators.salesforce.http import faults as salesforce_faults
from kpc.emulators.salesforce.settings import Switches
from kpc.settings import OracleSettings, ReconcileSettings, StagingSettings

PAGES = [PROJECT / name for name in ("README.md", "RUNBOOK.md", "DECISIONS.md", "CHANGELOG.md")]
PAGES += sorted((PROJECT / "docs").glob("*.md"))


@pytest.fixture(scope="module")
def checker() -> Checker:
    return Checker()


def test_every_message_names_what_exists(checker: Checker) -> None:
    """Each string literal of the program: error messages, help texts, docstrings."""
    texts = list(program_texts())
    assert sum(1 for text in texts for _ in commands_in(text)) > 60
    assert [fault for text in texts for fault in checker.wrong(text)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_page_names_what_exists(checker: Checker, page: Path) -> None:
    """Each paragraph, table row and block of code of what people read."""
    assert [fault for text in page_texts(page) for fault in checker.wrong(text)] == []


WRONG = {
    "command": ("Run `kpc rewind TABLE KEY`.", "no command `kpc rewind TABLE KEY`"),
    "command in prose": ("Then kpc rewind does it.", "no command `kpc rewind`"),
    "command of a group": ("Run `kpc emulate mysql`.", "no command `kpc emulate mysql`"),
    "command in a block of code": ("Do this:\n\n    kpc rewind TABLE", "no command `kpc rewind TABLE`"),
    "command behind a variable": ("    KPC_CONFIG=kpc.toml kpc rewind", "no command `kpc rewind`"),
    "option": ("Run `kpc rerun TABLE KEY --force`.", "--force"),
    "option outside of a command": ("Run the stage again with --force.", "--force is no option of any command"),
    "option of another command": ("Run `kpc show TABLE KEY`, with --export.", "--export is no option of `kpc show`"),
    "option without its value": ("Run `kpc rerun TABLE KEY --mode`.", "requires an argument"),
    "value of an option": ("Run `kpc run TABLE KEY --stage loaded`.", "no --stage loaded"),
    "too many arguments": ("Run `kpc rerun TABLE KEY TWICE`.", "unexpected extra argument"),
    "too few arguments": ("Run `kpc rerun TABLE --mode full`.", "Missing parameter: key"),
    "placeholders, one too many": (f"Run `kpc rerun {WORD} {WORD} {WORD}`.", "unexpected extra argument"),
    "placeholders, one too few": (f"Run `kpc rerun {WORD} --mode full`.", "Missing parameter: key"),
    "setting": ("Raise KPC__ORACLE__SESSION_COUNT.", "no setting KPC__ORACLE__SESSION_COUNT"),
    "section": ("Set KPC__POSTGRES__...", "no setting KPC__POSTGRES__"),
    "setting by its field": ("See `staging.rejects`.", "no setting staging.rejects"),
    "variable": ("Set KPC_LEVEL.", "nothing reads KPC_LEVEL"),
    "file": ("See `kpc/graphs.py`.", "no file kpc/graphs.py"),
    "folder": ("Correct kpc/catalogue.", "no file kpc/catalogue"),
    "file by its name": ("See faultlines.py.", "no file faultlines.py"),
    "link": ("Read [it](docs/manual.md).", "no docs/manual.md"),
    "who defines it": ("The pools are `POOLS` in `assets/graph.py`.", "assets/graph.py does not define POOLS"),
    "make target": ("Run `make everything`.", "the Makefile has no everything"),
    "make variable": ("Run `make demo ARGS=1`.", "the Makefile has no ARGS"),
    "option of the demo": ('Run `make demo DEMO="--tiny"`.', "No such option"),
    "module": ("Run `python -m kpc.emulators.mysql`.", "no module kpc.emulators.mysql"),
    "switch": ("    kpc emulate salesforce --switch turbo=1", "no switch 'turbo'"),
    "fault of Salesforce": ("""    kpc emulate salesforce --fault '{"action": "burn"}'""", "no fault 'burn'"),
    "fault of Oracle": ("    kpc emulate oracle --fault burn=1", "burn"),
    "admin door": ("`DELETE /_emulator/clock` stops it.", "no DELETE /_emulator/clock"),
    "pool": ("Lower the pool `oracle_sessions`.", "no pool oracle_sessions"),
    "connection": ("Use the connection `kpc_sf`.", "no connection kpc_sf"),
    "table": ("For example KPS_T_SALES_X.", "no table KPS_T_SALES_X"),
    "asset": ("Trigger `kps_t_sales_x__sf_loaded`.", "no asset kps_t_sales_x__sf_loaded"),
}


@pytest.mark.parametrize(("text", "fault"), WRONG.values(), ids=list(WRONG))
def test_a_wrong_remedy_is_found(checker: Checker, text: str, fault: str) -> None:
    """A check that could not fail would be no check."""
    found = checker.wrong(Text("made-up:1", text, is_page=True))
    assert any(fault in line for line in found), found


@pytest.mark.parametrize(
    "text",
    [
        "Run `kpc rerun TABLE KEY --mode full`, or `kpc status`, with --json.",
        f"Run `kpc failed {WORD} {WORD} --export FILE`; `kpc rollback` undoes it.",
        "`kpc pause phase sales` and `kpc pause`, then `kpc resume KPS_T_SALES_M`.",
        "    KPC_CONFIG=kpc.toml kpc rerun KPS_T_SALES_M 2024-01   # all four stages",
        "Set KPC__ORACLE__DSN, KPC__SALESFORCE__... or kpc.toml; see kpc/settings.py and `make demo`.",
    ],
    ids=["options", "placeholders", "scopes", "block of code", "settings"],
)
def test_a_right_remedy_passes(checker: Checker, text: str) -> None:
    """Placeholders stand for arguments, and a command that is only named needs none."""
    assert checker.wrong(Text("made-up:1", text, is_page=True)) == []


def test_literals_of_an_f_string_keep_their_placeholders() -> None:
    """A partition prints its table and its key, anything else counts as one word; nested literals come once."""
    source = 'raise E(f"{a} failed.", f"Run `kpc rerun {job.partition} --mode {\'full\'}`.")'
    assert [text for _, text in literals(source)] == ["\x01 failed.", "Run `kpc rerun \x02 --mode \x01`."]


# Pages against numbers and names that they repeat


def _rows(page: str, heading: str) -> Iterator[list[str]]:
    """Cells of the first table below a heading, without its own head."""
    _, _, below = (PROJECT / "docs" / page).read_text(encoding="utf-8").partition(f"\n## {heading}\n")
    table = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert table is not None
    for line in table[0].splitlines()[2:]:
        yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def _spelled(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return f"{int(value):,}" if value >= 10_000 else str(int(value))
    return f"`{value}`" if value else ""


def test_every_switch_is_documented_with_its_default() -> None:
    """The page has each switch of the Salesforce emulator once, with the value that it begins with."""
    written = {}
    for names, defaults, *_ in _rows("salesforce-emulator.md", "Switches"):
        split = re.findall(r"\w+", names)
        written |= dict(zip(split, defaults.split(", ") if len(split) > 1 else [defaults], strict=True))
    counted = {name: text.replace(",", "") for name, text in written.items()}
    assert counted == {name: _spelled(value).replace(",", "") for name, value in Switches().as_dict().items()}


def test_every_fault_is_documented() -> None:
    """Both pages list all actions, and Oracle's all options of a rule."""
    salesforce = [name for cells in _rows("salesforce-emulator.md", "Faults") for name in re.findall(r"\w+", cells[0])]
    assert sorted(salesforce) == sorted(get_args(salesforce_faults.Action))
    oracle = [cells[0].strip("`") for cells in _rows("oracle-emulator.md", "Faults")]
    assert sorted(oracle) == sorted(get_args(oracle_faults.Action))
    page = (PROJECT / "docs" / "oracle-emulator.md").read_text(encoding="utf-8")
    _, _, options = page.partition("| option | meaning |")
    options = options.partition("\n\n")[0]
    known = {each.name for each in fields(oracle_faults.OracleFault)} - {"action", "value", "struck", "id", "made_s"}
    assert set(re.findall(r"^\| `(\w+)`", options, re.MULTILINE)) == known


def test_numbers_that_pages_repeat_are_those_of_the_settings() -> None:
    """Limits of level 3, time-outs, shares and exit codes."""
    readme, runbook = ((PROJECT / name).read_text(encoding="utf-8") for name in ("README.md", "RUNBOOK.md"))
    level3 = ReconcileSettings()
    assert f"a sample of {level3.sample_rows:,}" in " ".join(readme.split())
    assert f"`KPC__ORACLE__CALL_TIMEOUT_S` ({OracleSettings().call_timeout_s:.0f} s)" in runbook
    assert f"`KPC__ORACLE__SCAN_TIMEOUT_S` ({OracleSettings().scan_timeout_s:.0f} s)" in runbook
    assert f"more than {StagingSettings().rejected_share:.0%} rejected".replace("%", " %") in runbook
    codes = re.search(r"ends with (0 done.*?)\.", " ".join(readme.split()))
    assert codes is not None
    assert [int(number) for number in re.findall(r"\d+", codes[1])] == sorted(Exit)


def test_symptoms_of_the_runbook_are_those_of_the_messages() -> None:
    """What the RUNBOOK quotes in its first column is in some message, so that a search for it leads there."""
    texts = [" ".join(text.text.split()) for text in program_texts()]
    unknown = []
    for line in (PROJECT / "RUNBOOK.md").read_text(encoding="utf-8").splitlines():
        first = line.split("|")[1] if line.startswith("| ") else ""
        for quoted in re.findall(r'"([^"]+)"', first):
            parts = [part.strip() for part in quoted.split("...") if part.strip()]
            if not any(all(part.casefold() in text.casefold() for part in parts) for text in texts):
                unknown.append(quoted)
    assert unknown == []
