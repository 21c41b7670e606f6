"""The house's two rules: arrows go one way, and every vendor has one door."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

# A layer may import itself and what stands after it.
LAYERS = ("dags", "kpc.cli", "kpc.bench", "assets", "expectations", "kpc")

# A package of the outside world, and the only places that may import it.
DOORS = {
    "airflow": ("dags",),
    "great_expectations": ("expectations",),
    "pandas": ("expectations", "kpc.bench.baselines"),
    "oracledb": ("kpc.oracle", "kpc.bench.baselines"),  # a baseline is a program without our code
    "httpx": ("kpc.salesforce", "kpc.airflow_api", "kpc.bench.baselines"),
    "duckdb": ("kpc.emulators", "kpc.bench.baselines"),
    "fsspec": ("kpc.object_store",),
    "sqlglot": ("kpc.emulators.oracle",),
    "sqlalchemy": ("kpc.ledger",),
    "alembic": ("kpc.ledger",),
    "starlette": ("kpc.emulators.salesforce",),
    "uvicorn": ("kpc.emulators.salesforce",),
    "typer": ("kpc.cli",),
}

# What else a part of `kpc` must not see, although it is of the same layer.
FORBIDDEN = {
    "kpc.emulators.oracle": ("kpc.emulators.salesforce",),
    "kpc.emulators.salesforce": ("kpc.emulators.oracle",),
    "kpc.emulators.oracle.wire": ("kpc.emulators.oracle.sql", "kpc.emulators.oracle.engine"),
    "kpc.emulators.oracle.sql": ("kpc.emulators.oracle.wire", "kpc.emulators.oracle.engine"),
    "kpc.catalog": ("kpc.store", "kpc.ledger", "kpc.oracle", "kpc.salesforce", "kpc.convert", "kpc.settings"),
    "kpc.oracle": ("kpc.salesforce", "kpc.ledger"),
    "kpc.salesforce": ("kpc.oracle",),
    "kpc.bench.baselines": ("kpc.oracle", "kpc.salesforce", "kpc.convert", "kpc.ledger", "kpc.reconcile", "kpc.store"),
    "kpc.cli": ("dags",),
}


def modules() -> list[tuple[str, Path]]:
    found = []
    for top in ("kpc", "assets", "expectations", "dags"):
        for path in sorted((ROOT / top).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
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
    return next((rank for rank, layer in enumerate(LAYERS) if is_in(name, layer)), None)


MODULES = modules()


@pytest.mark.parametrize(("name", "path"), MODULES, ids=[name for name, _ in MODULES])
def test_imports_go_one_way(name: str, path: Path) -> None:
    """kpc.cli and dags see assets, assets see expectations, all see kpc; never the other way round."""
    mine = layer_of(name)
    assert mine is not None
    for imported in imports(path):
        theirs = layer_of(imported)
        assert theirs is None or theirs >= mine, f"{name} ({LAYERS[mine]}) imports {imported} ({LAYERS[theirs]})"
        for part, hidden in FORBIDDEN.items():
            if is_in(name, part):
                assert not any(is_in(imported, other) for other in hidden), f"{name} may not see {imported}"


@pytest.mark.parametrize(("name", "path"), MODULES, ids=[name for name, _ in MODULES])
def test_every_vendor_has_one_door(name: str, path: Path) -> None:
    """A vendor's package is imported in one place, so that a change of the vendor's stays there."""
    for imported in imports(path):
        vendor = imported.partition(".")[0]
        doors = DOORS.get(vendor)
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
    assert set(DOORS) <= seen
