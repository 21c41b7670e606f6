"""The repository layout: the direction of imports, pairs that must not meet, and who may import a vendor's package."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkout import PROJECT

# A layer may import itself and the layers below it.
LAYERS = (
    ("dags", "kpc.cli", "kpc.demo", "kpc.bench"),
    ("assets",),
    ("expectations",),
    (
        *("kpc.extract", "kpc.staging", "kpc.load", "kpc.reconcile", "kpc.rollback", "kpc.repair", "kpc.campaign"),
        "kpc.airflow_client",
    ),
    ("kpc.stages",),
    ("kpc.ledger", "kpc.storage", "kpc.convert"),
    ("kpc.oracle", "kpc.salesforce", "kpc.emulators"),
    (
        "kpc.settings",
        "kpc.catalog",
        "kpc.partition",
        "kpc.errors",
        "kpc.local_time",
        "kpc.gzip_files",
        "kpc.processes",
        "kpc.setting_sources",
        "kpc.setting_types",
        "kpc.tool_version",
        "kpc.calling_user",
        "kpc.file_errors",
        "kpc.private_files",
        "kpc.http_client",
        "kpc.answer_shapes",
        "kpc.bounded_body",
        "kpc.retry_policy",
        "kpc.strict_json",
        "kpc.untrusted_text",
    ),
    ("kpc",),  # the package's own `__init__`
)

# A package of the outside world, and the only places that may import it.
VENDOR_IMPORTERS = {
    "airflow": ("dags",),
    "great_expectations": ("expectations",),
    "pandas": ("expectations", "kpc.bench.baselines"),
    "oracledb": ("kpc.oracle", "kpc.bench.baselines"),  # a baseline is a program without our code
    "httpx": (
        "kpc.salesforce",
        "kpc.airflow_client",
        "kpc.bounded_body",
        "kpc.http_client",
        "kpc.bench.baselines",
        "kpc.bench.request_record",
    ),
    "duckdb": ("kpc.emulators", "kpc.bench.baselines"),
    "fsspec": ("kpc.storage",),
    "sqlglot": ("kpc.emulators.oracle",),
    "sqlalchemy": ("kpc.ledger",),
    "alembic": ("kpc.ledger",),
    "starlette": ("kpc.emulators.salesforce",),
    "uvicorn": ("kpc.emulators.salesforce",),
    "typer": ("kpc.cli",),
}

# What no client may know: it talks to its vendor's server and leaves what is migrated, and how it is kept, to others.
NOT_FOR_CLIENTS = ("kpc.catalog", "kpc.partition", "kpc.storage", "kpc.ledger", "kpc.convert", "kpc.emulators")

# What else a part of `kpc` must not see, although its layer would allow it.
FORBIDDEN = {
    "kpc.catalog": ("kpc.settings",),
    "kpc.oracle": ("kpc.salesforce", *NOT_FOR_CLIENTS),
    "kpc.salesforce": ("kpc.oracle", *NOT_FOR_CLIENTS),
    "kpc.emulators.oracle": ("kpc.emulators.salesforce",),
    "kpc.emulators.salesforce": ("kpc.emulators.oracle",),
    "kpc.emulators.oracle.wire": ("kpc.emulators.oracle.sql", "kpc.emulators.oracle.engine"),
    "kpc.emulators.oracle.sql": ("kpc.emulators.oracle.wire", "kpc.emulators.oracle.engine"),
    "kpc.bench.baselines": (
        *("kpc.oracle", "kpc.salesforce", "kpc.convert", "kpc.ledger", "kpc.reconcile", "kpc.storage", "kpc.extract"),
        "kpc.load",
    ),
    "kpc.cli": ("dags",),
    # What Oracle says must not share a fault with what was converted.
    "kpc.reconcile.second_opinion": ("kpc.convert",),
}


def modules() -> list[tuple[str, Path]]:
    found = []
    for top in ("kpc", "assets", "expectations", "dags"):
        for path in sorted((PROJECT / top).rglob("*.py")):
            name = ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")
            found.append((name, path))
    return found


def imports(path: Path) -> Iterator[str]:
    """Every absolute name a file imports, at the top or inside a function, `from x import y` as `x.y`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_in(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def layer_of(name: str) -> int | None:
    return next((rank for rank, layer in enumerate(LAYERS) if any(is_in(name, part) for part in layer)), None)


MODULES = modules()


@pytest.mark.parametrize(("name", "path"), MODULES, ids=[name for name, _ in MODULES])
def test_imports_go_one_way(name: str, path: Path) -> None:
    """For example assets see the engines, the engines see the ledger; never the other way round."""
    mine = layer_of(name)
    assert mine is not None
    for imported in imports(path):
        theirs = layer_of(imported)
        assert theirs is None or theirs >= mine, f"{name} may not import {imported}, a higher layer"
        for part, hidden in FORBIDDEN.items():
            if is_in(name, part):
                assert not any(is_in(imported, other) for other in hidden), f"{name} may not see {imported}"


@pytest.mark.parametrize(("name", "path"), MODULES, ids=[name for name, _ in MODULES])
def test_a_vendor_package_is_imported_only_where_allowed(name: str, path: Path) -> None:
    """A vendor's package is imported in one place, so that a change of the vendor's stays there."""
    for imported in imports(path):
        vendor = imported.partition(".")[0]
        doors = VENDOR_IMPORTERS.get(vendor)
        assert doors is None or any(is_in(name, door) for door in doors), f"{name} imports {vendor}; door: {doors}"


@pytest.mark.parametrize(("name", "path"), MODULES, ids=[name for name, _ in MODULES])
def test_nothing_depends_on_the_benches(name: str, path: Path) -> None:
    """Only the command line starts a bench; what is measured does not know that it is."""
    if not is_in(name, "kpc.bench") and not is_in(name, "kpc.cli.bench"):
        assert not [imported for imported in imports(path) if is_in(imported, "kpc.bench")]


@pytest.mark.parametrize(("name", "path"), MODULES, ids=[name for name, _ in MODULES])
def test_the_emulators_see_the_catalog_through_one_module(name: str, path: Path) -> None:
    """They are products of their own: a schema reaches them through one adapter, and nothing else of `kpc` does."""
    if not is_in(name, "kpc.emulators"):
        return
    foreign = [
        imported for imported in imports(path) if is_in(imported, "kpc") and not is_in(imported, "kpc.emulators")
    ]
    allowed = ("kpc.catalog",) if name == "kpc.emulators.catalog_schema" else ()
    assert not [imported for imported in foreign if not any(is_in(imported, each) for each in allowed)]


def test_every_door_is_used() -> None:
    """A rule about a package that nobody imports has outlived its reason."""
    seen = {imported.partition(".")[0] for _, path in MODULES for imported in imports(path)}
    assert set(VENDOR_IMPORTERS) <= seen
