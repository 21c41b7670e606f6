"""Where settings come from: environment variables and `kpc.toml`, each checked before its values are used.

What is named must exist: a variable or key that is no setting is refused with the nearest name, a file named by
`KPC_CONFIG` must be readable. Line ends around a value (secret stores add them) are removed; an empty value counts as
not set.
"""

from __future__ import annotations

import codecs
import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kpc.errors import ConfigError
from kpc.untrusted_text import shown

PREFIX = "KPC__"
CONFIG_VARIABLE = "KPC_CONFIG"
LOG_VARIABLE = "KPC_LOG"
DEFAULT_FILE = "kpc.toml"
_LONGEST_FILE = 1_000_000  # bytes; a settings file has a few thousand
_PREFIX_LIKE_OURS = re.compile(r"([A-Z]{2,4})_+")  # KCP__, KPS__
_ADDED_BY_KUBERNETES = re.compile(r"_SERVICE_(HOST|PORT)|_PORT(_\d+_(TCP|UDP).*)?$")  # for a service called kpc-...
_NEAR = 0.6  # of difflib: similar enough to be suggested
_VERY_NEAR = 0.85  # similar enough to be taken for a mistyped setting although the prefix is not ours
_LONG_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

Sections = Mapping[str, frozenset[str]]  # the fields of each section; "" has the fields outside of sections


def environment_values(sections: Sections) -> dict[str, Any]:
    """The settings of the environment, by section and field.

    Raises `ConfigError` for a variable that is no setting although its name says that it should be, for one that is set
    twice in different case, and for a value that is not UTF-8.
    """
    names = {env_name(section, field): (section, field) for section, fields in sections.items() for field in fields}
    found: dict[str, Any] = {}
    seen: dict[str, str] = {}
    for given in sorted(os.environ):
        name = given.upper()
        if name not in names:
            _refuse_mistyped(given, [*names, CONFIG_VARIABLE, LOG_VARIABLE])
            continue
        if not (value := variable(given)):
            continue
        if seen.setdefault(name, value) != value:
            raise ConfigError(
                f"The environment has two values for {name}, in upper and in lower case.", "Remove one of them."
            )
        section, field = names[name]
        (found.setdefault(section, {}) if section else found)[field] = value
    return found


def env_name(*path: str) -> str:
    """The environment variable of a field: KPC__ORACLE__DSN for `oracle` and `dsn`, KPC__LEDGER_URL."""
    return PREFIX + "__".join(part.upper() for part in path if part)


def variable(name: str) -> str:
    """An environment variable without line ends around it; empty if it is not set.

    Its bytes are read as UTF-8 whatever the locale says. Raises `ConfigError`, without the value, if they are not.
    """
    try:
        value = _trimmed(os.fsencode(os.environ.get(name, "")).decode())
    except UnicodeDecodeError:
        raise ConfigError(f"The value of {name} is not UTF-8.", f"Set {name} again, in UTF-8.") from None
    return value if value.strip() else ""


def named_variable(name: str) -> str:
    """The same for a variable that may be written in lower case."""
    spellings = sorted(given for given in os.environ if given.upper() == name)
    return next((value for value in map(variable, spellings) if value), "")


def _refuse_mistyped(given: str, names: list[str]) -> None:
    """Raises `ConfigError` if the name of a variable that is no setting looks like one."""
    name = given.upper()
    if name in (CONFIG_VARIABLE, LOG_VARIABLE) or not (nearest := _nearest_variable(name, names)):
        return
    if not os.environ[given].strip():  # an empty variable counts as not set
        return
    raise ConfigError(
        f"The environment variable {shown_name(given)} is no setting; the nearest is {nearest}.",
        f"Set {nearest}, or remove the variable; kpc/settings.py lists all settings.",
    )


def _nearest_variable(name: str, names: Iterable[str]) -> str | None:
    """The setting that the variable `name` (in upper case) seems to mean; None if it has nothing to do with ours."""
    if _ADDED_BY_KUBERNETES.search(name) and not name.startswith(PREFIX):
        return None
    prefix = _PREFIX_LIKE_OURS.match(name)
    if name.startswith(PREFIX):
        cutoff = 0.0
    elif name.startswith("KPC"):
        cutoff = _NEAR if "__" in name else _VERY_NEAR
    elif prefix and "__" in name and difflib.SequenceMatcher(None, prefix[1], "KPC").ratio() >= _NEAR:
        cutoff = 1.0
    else:
        return None
    by_rest = {_squeezed(known.removeprefix("KPC")): known for known in names}
    rest = _squeezed(name.removeprefix("KPC") if prefix is None or name.startswith("KPC") else name[prefix.end() :])
    near = difflib.get_close_matches(rest, by_rest, n=1, cutoff=cutoff)
    return by_rest[near[0]] if near else None


def _squeezed(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


# The file


def file_values() -> dict[str, Any]:
    """The settings of the file that KPC_CONFIG names, or of `kpc.toml` in the working directory, if there is one.

    Raises `ConfigError` naming the file if it cannot be read as TOML in UTF-8.
    """
    named = named_variable("KPC_CONFIG")
    subject = f"The settings file {shown_name(named)}, named by {CONFIG_VARIABLE}," if named else DEFAULT_FILE
    path = expanded(named or DEFAULT_FILE, subject)
    if not named and not os.path.lexists(path):
        return {}
    remedy = f"Correct the file, or name another with {CONFIG_VARIABLE}."
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its name is no path"
        raise ConfigError(f"{subject} cannot be read: {reason}.", remedy) from None
    try:
        return tomllib.loads(_text_of(content, subject))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(f"{subject} is not TOML: {reason}.", remedy) from None


def _text_of(content: bytes, subject: str) -> str:
    remedy = "Save it as UTF-8."
    if len(content) > _LONGEST_FILE:
        raise ConfigError(f"{subject} is too long for settings.", f"Name another with {CONFIG_VARIABLE}.")
    if content.startswith(_LONG_MARKS):
        raise ConfigError(f"{subject} is in UTF-16 or UTF-32, not in UTF-8.", remedy)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{subject} is not UTF-8: line {line} has the byte 0x{content[error.start]:02x}.", remedy
        ) from None
    if not text.strip():
        raise ConfigError(f"{subject} is empty.", f"Write the settings into it, or remove it and {CONFIG_VARIABLE}.")
    return text.replace("\r\n", "\n")


def expanded(path: str, subject: str = "The path") -> Path:
    """The path, with `~` replaced by the home directory. Raises `ConfigError` if that is not known."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ConfigError(
            f"{subject} begins with a home directory that is not known: HOME is not set, or no user has that name.",
            "Write the path in full.",
        ) from None


# Values and keys of any source


def cleaned(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values without line ends around texts; empty ones are left out, since they count as not set."""
    kept: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            kept[name] = cleaned(value)
        elif not isinstance(value, str):
            kept[name] = value
        elif (text := _trimmed(value)).strip():
            kept[name] = text
    return kept


def _trimmed(value: str) -> str:
    return value.removeprefix("\ufeff").strip("\r\n")


def shown_name(name: str) -> str:
    """A name from the environment or a command line as it may be printed: bytes that are not text are escaped too."""
    return shown(os.fsencode(name).decode("utf-8", "backslashreplace"))


def nearest_key(key: str, sections: Sections) -> str:
    """The setting, such as `oracle.dsn`, whose name is most like that of `key`."""
    known = [".".join(filter(None, (section, field))) for section, fields in sections.items() for field in fields]
    return difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.0)[0]
