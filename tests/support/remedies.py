"""What a text tells its reader to run, set or open, held against what there is.

Texts are the string literals of the program (docstrings too) and the pages in Markdown. In an f-string each placeholder
stands for one word of a command, and for two (table and key) where it prints a partition.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import typer
from checkout import PROJECT
from pydantic import BaseModel
from starlette.routing import Route

from assets.graph import asset_specs, hub_specs
from kpc.catalog import TABLES
from kpc.cli import app
from kpc.emulators.errors import OptionError
from kpc.emulators.oracle.faults import OracleFaults, parse_fault
from kpc.emulators.salesforce.http.faults import HttpFaults
from kpc.emulators.salesforce.options import fault_of, switch_of
from kpc.emulators.salesforce.server import build_app
from kpc.emulators.salesforce.settings import Switches
from kpc.errors import KpcError
from kpc.settings import Settings
from kpc.stages.names import POOLS, STAGES

PACKAGES = ("kpc", "assets", "dags", "expectations")
WORD, PAIR = "\x01", "\x02"  # placeholders

_QUOTED = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
_START = r"(?:\$ )?(?:[A-Z_]+=\S+ +)*(?:\.venv/bin/)?"
_COMMAND = re.compile(rf"^{_START}(kpc|make|python -m)(?: |$)")
_PROSE = re.compile(r"(?<![`\w/.-])kpc ([a-z]+(?:-[a-z]+)*)(?![\w`])")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
_ARROW = re.compile(r"--[^\n]*?-->")
_SETTING = re.compile(r"\bKPC__[A-Z0-9_]*")
_VARIABLE = re.compile(r"\bKPC_[A-Z][A-Z_]*")
_FIELD = re.compile(r"`(oracle|salesforce|staging|load|reconcile)\.([a-z0-9_]+)`")
_PATH = re.compile(
    r"(?<![\w/.-])(?:(?:kpc|assets|dags|expectations|tests|docs|deploy)/[\w./-]*|[\w-]+\.(?:py|md|toml|lock))(?![\w*])"
)
_LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[\w-]+)?\)")
_DEFINED = re.compile(r"`([A-Za-z_]+)` (?:in|of) `([\w./]+\.py)`")
_DOOR = re.compile(r"`(GET|POST|PATCH|DELETE) (/_emulator[\w/]*)")
_TABLE = re.compile(r"\bKPS_[A-Z_]+\b(?!\w)")
_ASSET = re.compile(rf"\b\w+__(?:{'|'.join(STAGES)})\b")
_NAME = re.compile(r"\b(pool|connection)s? `(\w+)`(?: and `(\w+)`)?")

_OTHER_PROGRAM = re.compile(r"^ *(?:\$ )?pip .*$|`pip [^`]*`", re.MULTILINE)

FOREIGN_OPTIONS = {"--cacert": "curl's", "--conn-json": "airflow's", "--help": "of every command"}
USER_FILES = {"kpc.toml": "the reader writes it"}


@dataclass(frozen=True)
class Text:
    """`place` is the file and the line; a page is one that is written in Markdown."""

    place: str
    text: str
    is_page: bool = False


def program_texts(root: Path = PROJECT) -> Iterator[Text]:
    """Every string literal that has more than one word; a single one is a name, not something to read."""
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            for line, text in literals(path.read_text(encoding="utf-8")):
                if re.search(r"\s", text.strip()):
                    yield Text(f"{path.relative_to(root)}:{line}", text)


def literals(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of every string literal, f-strings with their placeholders as words."""
    tree = ast.parse(source)
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(map(_part, node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.lineno, node.value


def _part(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    assert isinstance(part, ast.FormattedValue)
    name = ast.unparse(part.value).rpartition(".")[2]
    return PAIR if name == "partition" else WORD


def page_texts(*pages: Path) -> Iterator[Text]:
    """Each paragraph, table row and block of code of the pages."""
    for page in pages:
        place = page.relative_to(PROJECT)
        lines = page.read_text(encoding="utf-8").splitlines()
        block: list[str] = []
        is_code = False
        for number, line in enumerate([*lines, ""], start=1):
            is_fence = line.startswith("```")
            if (not is_code and (not line.strip() or line.startswith("|"))) or is_fence:
                if block:
                    yield Text(f"{place}:{number - len(block)}", "\n".join(block), is_page=True)
                block = [line] if line.startswith("|") else []
                is_code = is_code != is_fence
            else:
                block.append(line)


class Checker:
    """Knows the command line, the settings, the files and the emulators' doors of this checkout."""

    def __init__(self, root: Path = PROJECT) -> None:
        self._root = root
        self._commands = dict(_leaves(typer.main.get_command(app), ()))
        self._settings, self._sections = _setting_names(Settings, "KPC__")
        self._doors = _doors()
        self._connections = _connections(root)
        self._assets = {spec.name for spec in (*asset_specs(), *hub_specs())}
        self._make = (root / "Makefile").read_text(encoding="utf-8")

    @cached_property
    def _file_names(self) -> set[str]:
        return {path.name for top in (*PACKAGES, "tests", "docs", "deploy") for path in (self._root / top).rglob("*.*")}

    @cached_property
    def _variables(self) -> set[str]:
        """Environment variables that the program reads by their whole name."""
        sources = [path.read_text(encoding="utf-8") for top in PACKAGES for path in (self._root / top).rglob("*.py")]
        read = re.compile(r"(?:environ(?:\.get\(|\[)|named_variable\()\s*\"(KPC_[A-Z_]+)\"")
        return {name for source in sources for name in read.findall(source)}

    def wrong(self, text: Text) -> list[str]:
        """What the text names and what is not there, each as one line."""
        checks: tuple[Callable[[Text], Iterator[str]], ...] = (
            self._wrong_commands, self._wrong_options, self._wrong_settings, self._wrong_files, self._wrong_names,
        )  # fmt: skip
        return [f"{text.place}: {fault}" for check in checks for fault in check(text)]

    # Commands

    def _wrong_commands(self, text: Text) -> Iterator[str]:
        for line in commands_in(text):
            yield from self._wrong_command(line)
        for name in _PROSE.findall(re.sub(r"`[^`]*`", "", text.text)):
            if not any(path[0] == name for path in self._commands):
                yield f"there is no command `kpc {name}`"

    def _wrong_command(self, line: str) -> Iterator[str]:
        words = _words(line)
        while words and re.match(r"[A-Z_]+=", words[0]):
            words = words[1:]
        program, words = words[0].removeprefix(".venv/bin/"), words[1:]
        if program == "make":
            yield from self._wrong_make(words)
        elif program == "python":
            yield from () if find_spec(words[1]) else [f"there is no module {words[1]}"]
        elif words:
            yield from self._wrong_kpc(words)

    def _wrong_make(self, words: list[str]) -> Iterator[str]:
        for word in words:
            name, is_variable, value = word.partition("=")
            if not re.search(rf"^{re.escape(name)}{r' *[?:]?=' if is_variable else ':'}", self._make, re.MULTILINE):
                yield f"the Makefile has no {name}"
            elif name == "DEMO":
                yield from self._wrong_kpc(["demo", *shlex.split(value)])

    def _wrong_kpc(self, words: list[str]) -> Iterator[str]:
        shown = " ".join(["kpc", *words]).replace(WORD, "{}").replace(PAIR, "{}")
        path = next((path for path in self._commands if tuple(words[: len(path)]) == path), None)
        if path is None:
            is_group = any(words == list(path[: len(words)]) for path in self._commands)
            yield from () if is_group else [f"there is no command `{shown}`"]
            return
        arguments = [word for word in _arguments(words[len(path) :]) if word != "--help"]
        if not arguments:  # named, not spelled out
            return
        try:
            context = self._commands[path].make_context("kpc", list(arguments), resilient_parsing="..." in words)
        except Exception as error:  # noqa: BLE001  the parser's own class is private to typer
            yield f"`{shown}`: {getattr(error, 'message', '') or error}"
            return
        yield from self._wrong_values(path, context.params)

    def _wrong_values(self, path: tuple[str, ...], given: Mapping[str, Any]) -> Iterator[str]:
        known = {"stage": STAGES, "mode": ("incremental", "full"), "policy": ("archive", "delete"), "level3": _LEVELS}
        for name, value in given.items():
            if isinstance(value, str) and value not in ("", "1", *known.get(name, (value,))):
                yield f"`kpc {' '.join(path)}` knows no --{name} {value}"
        if path == ("emulate", "salesforce"):
            yield from _refused(lambda: Switches().change(dict(map(switch_of, given["switch"] or ()))))
            yield from _refused(lambda: [HttpFaults(1).add(fault_of(rule)) for rule in given["fault"] or ()])
        if path == ("emulate", "oracle"):
            yield from _refused(lambda: [OracleFaults().add(parse_fault(rule)) for rule in given["fault"] or ()])

    def _wrong_options(self, text: Text) -> Iterator[str]:
        """An option outside of a command: of a command that the same text names, or else of any."""
        outside = _OTHER_PROGRAM.sub("", _ARROW.sub("", text.text))
        for line in commands_in(text):
            outside = outside.replace(line, "")
        named = {path for line in commands_in(text) for path in self._commands if _names(_words(line), path)}
        for option in _OPTION.findall(outside):
            commands = named or set(self._commands)
            if option not in FOREIGN_OPTIONS and not any(option in _options(self._commands[each]) for each in commands):
                of_whom = " or ".join(f"`kpc {' '.join(each)}`" for each in sorted(named)) or "any command"
                yield f"{option} is no option of {of_whom}"

    # Settings

    def _wrong_settings(self, text: Text) -> Iterator[str]:
        for name in _SETTING.findall(text.text):
            if name not in self._settings and name.rstrip("_") + "__" not in self._sections:
                yield f"there is no setting {name}"
        for name in _VARIABLE.findall(_SETTING.sub("", text.text)):
            if name not in self._variables and f"AIRFLOW_CONN_{name}" not in text.text:
                yield f"nothing reads {name}"
        for section, name in _FIELD.findall(text.text):
            if f"KPC__{section}__{name}".upper() not in self._settings:
                yield f"there is no setting {section}.{name}"

    # Files

    def _wrong_files(self, text: Text) -> Iterator[str]:
        here = (self._root / text.place.rpartition(":")[0]).parent
        for link in _LINK.findall(text.text) if text.is_page else ():
            if not (here / link).exists():
                yield f"there is no {link}"
        for name in (each.rstrip("./") for each in _PATH.findall(text.text)):
            if name in USER_FILES or (self._root / name).exists() or (here / name).exists():
                continue
            if "/" in name or name not in self._file_names:
                yield f"there is no file {name}"
        for defined, file in _DEFINED.findall(text.text):
            if (self._root / file).exists() and defined not in _definitions(self._root / file):
                yield f"{file} does not define {defined}"

    # Names that Airflow and the emulators know

    def _wrong_names(self, text: Text) -> Iterator[str]:
        known = {"pool": {pool.name for pool in POOLS}, "connection": self._connections}
        for kind, *names in _NAME.findall(text.text):
            yield from (f"there is no {kind} {name}" for name in names if name and name not in known[kind])
        for method, path in _DOOR.findall(text.text):
            if (method, path.rstrip("/")) not in self._doors:
                yield f"the Salesforce emulator has no {method} {path}"
        if text.is_page:
            yield from (f"the catalog has no table {name}" for name in _TABLE.findall(text.text) if name not in TABLES)
            yield from (f"there is no asset {name}" for name in _ASSET.findall(text.text) if name not in self._assets)


_LEVELS = ("auto", "sample", "full", "off")


def commands_in(text: Text) -> Iterator[str]:
    """Command lines: between backticks, or as a line of their own."""
    for quoted in _QUOTED.findall(text.text):
        if _COMMAND.match(quoted):
            yield quoted
    for line in text.text.splitlines():
        bare = line.strip()
        is_code = line.startswith("    ") or text.is_page or line == text.text
        if is_code and "`" not in line and re.match(rf"^{_START}kpc [a-z]|^make [a-z]+(?:  |$)", bare):
            yield bare


def _words(line: str) -> list[str]:
    """The words of a command; what follows a comment sign or two blanks and a capital explains it."""
    line = re.sub(r"(?<=[a-z])[\x01\x02]+", "", line.replace("\n", " "))  # `kpc resume{scope}`
    line = re.sub(r"\s+#\s.*|\s+&$|  +[A-Z].*|  +[a-z]+ .*", "", line)
    try:
        return shlex.split(line)
    except ValueError:
        return line.split()


def _arguments(words: list[str]) -> list[str]:
    """Words as the parser gets them: a placeholder is 1, a partition is two words."""
    arguments = []
    for word in words:
        arguments += ["1", "1"] if word == PAIR else [re.sub(r"[\x01\x02]", "1", word)]
    return [word for word in arguments if word != "..."]


def _names(words: list[str], path: tuple[str, ...]) -> bool:
    words = [word for word in words if "=" not in word]
    return tuple(words[1 : 1 + len(path)]) == path


def _leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, each in command.commands.items():
        if hasattr(each, "commands"):
            yield from _leaves(each, (*path, name))
        else:
            yield (*path, name), each


def _options(command: Any) -> set[str]:
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def _refused(act: Callable[[], object]) -> Iterator[str]:
    try:
        act()
    except (KpcError, OptionError) as error:
        yield str(error)


def _setting_names(model: type[BaseModel], prefix: str) -> tuple[set[str], set[str]]:
    """Environment names of all fields, and the prefixes under which they are grouped."""
    names, sections = set(), {prefix}
    for name, field in model.model_fields.items():
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        nested = next((kind for kind in kinds if issubclass(kind, BaseModel)), None)
        if nested is None:
            names.add(f"{prefix}{name.upper()}")
            continue
        inner, groups = _setting_names(nested, f"{prefix}{name.upper()}__")
        names, sections = names | inner, sections | groups
    return names, sections


def _definitions(path: Path) -> set[str]:
    """What a module defines itself, not what it imports."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def _doors() -> set[tuple[str, str]]:
    served = build_app(None)  # type: ignore[arg-type]  # its routes are all that is asked for
    routes = [route for route in served.routes if isinstance(route, Route)]
    return {(method, route.path.rstrip("/")) for route in routes for method in route.methods or ()}


def _connections(root: Path) -> set[str]:
    """Airflow's connections that the DAGs open."""
    sources = [path.read_text(encoding="utf-8") for path in (root / "dags").rglob("*.py")]
    return {text for source in sources for _, text in literals(source) if re.fullmatch(r"kpc_[a-z]+", text)}
