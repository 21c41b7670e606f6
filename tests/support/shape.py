"""The figures of the code base's shape, each beside its goal: `make shape`, or this file with `--json`.

How they are counted:

- A function's length runs from its `def` line to its last line, with docstring and nested functions, without
  decorators. A nested function counts for itself as well.
- A class name has two meanings when two classes bear it, wherever they stand, private and nested ones included.
- An import cycle is a group of modules that all reach each other. Every import counts: at the top, inside a function,
  and those for type checking only.
- Calls of `monkeypatch.setattr` are counted per test function as written (a parametrized one is one).
- Our own code is patched by any call or assignment that replaces an attribute of this project's modules and objects,
  and of whatever the file does not tell (a local variable, say). A third party's module and a test's own double do not
  count, nor do `setenv` and `chdir`.
"""

from __future__ import annotations

import argparse
import ast
import json
import statistics
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from patched_names import patches_of_our_own_code

PACKAGES = ("kpc", "assets", "dags", "expectations")
REVISIONS = "kpc/ledger/migrations/versions/"  # Alembic's: a table is one call, however long

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure. `places` says where the goal is missed, for those figures that can tell."""

    name: str
    value: str
    goal: str
    is_met: bool
    places: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file. `path` is relative to the project, `module` the name it is imported by."""

    path: str
    text: str
    tree: ast.Module

    @property
    def lines(self) -> int:
        return len(self.text.splitlines())

    @property
    def module(self) -> str:
        return self.path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")

    def functions(self) -> Iterator[Function]:
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))

    def classes(self) -> Iterator[ast.ClassDef]:
        return (node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef))


def figures_of(project: Path) -> list[Figure]:
    """All figures of the checkout in `project`."""
    product = list(_sources(project, PACKAGES))
    tests = list(_sources(project, ("tests", "conftest.py")))
    return [
        *_asset_graph([source for source in product if source.path.startswith("assets/")]),
        *_function_lengths(product),
        _long_files(product),
        _class_names(product),
        _partition_and_workspace(product),
        _import_cycles(product),
        *_patches(tests),
    ]


def _sources(project: Path, names: Iterable[str]) -> Iterator[Source]:
    for name in names:
        top = project / name
        for path in sorted(top.rglob("*.py")) if top.is_dir() else [top]:
            text = path.read_text(encoding="utf-8")
            yield Source(path.relative_to(project).as_posix(), text, ast.parse(text))


def _asset_graph(assets: Collection[Source]) -> Iterator[Figure]:
    yield _at_most("lines in assets/", sum(source.lines for source in assets), 700)
    yield _at_most("files in assets/", len(assets), 7)


def _function_lengths(product: Iterable[Source]) -> Iterator[Figure]:
    sizes = []
    long = []
    for source in product:
        for function in source.functions():
            size = (function.end_lineno or function.lineno) - function.lineno + 1
            sizes.append(size)
            if size > 50 and not source.path.startswith(REVISIONS):
                long.append(f"{source.path}:{function.lineno} {function.name}, {size} lines")
    yield _at_most("function length, median", statistics.median(sizes), 6)
    yield _at_most("function length, 90th percentile", sorted(sizes)[len(sizes) * 9 // 10], 19)
    yield _none("functions over 50 lines, without Alembic revisions", long)


def _long_files(product: Iterable[Source]) -> Figure:
    long = [source for source in product if source.lines > 300]
    return _at_most("files over 300 lines", len(long), 8, [f"{source.path}, {source.lines} lines" for source in long])


def _class_names(product: Iterable[Source]) -> Figure:
    places = defaultdict(list)
    for source in product:
        for found in source.classes():
            places[found.name].append(f"{source.path}:{found.lineno}")
    shared = [f"{name}: {', '.join(where)}" for name, where in sorted(places.items()) if len(where) > 1]
    return _none("class names with more than one meaning", shared)


def _partition_and_workspace(product: Iterable[Source]) -> Figure:
    """`dags/` does not count: it is where a context is made from both."""
    both = [
        f"{source.path}:{function.lineno} {function.name}"
        for source in product
        if source.path.startswith(("assets/", "kpc/"))
        for function in source.functions()
        if {"partition", "workspace"} <= {argument.arg for argument in _arguments(function)}
    ]
    return _none("functions that take partition and workspace", both)


def _arguments(function: Function) -> list[ast.arg]:
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


def _import_cycles(product: Iterable[Source]) -> Figure:
    by_module = {source.module: source for source in product}
    imported = {name: set(_imported(source, by_module)) - {name} for name, source in by_module.items()}
    reached = {name: _reached(name, imported) for name in imported}
    cycles = {
        tuple(sorted(other for other in reached[name] if name in reached[other]))
        for name in reached
        if name in reached[name]
    }
    return _none("import cycles", [", ".join(cycle) for cycle in sorted(cycles)])


def _imported(source: Source, modules: Collection[str]) -> Iterator[str]:
    """Our modules that a file imports: of `from x import y` the module `x.y` if there is one, otherwise `x`."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            found = {name if name in modules else node.module for name in names}
            yield from (name for name in found if name in modules)


def _reached(start: str, edges: Mapping[str, Collection[str]]) -> set[str]:
    """What can be reached from `start` in one step or more; `start` itself only by a cycle."""
    reached: set[str] = set()
    ahead = [start]
    while ahead:
        new = set(edges[ahead.pop()]) - reached
        reached |= new
        ahead += new
    return reached


def _patches(tests: Collection[Source]) -> Iterator[Figure]:
    functions = sum(function.name.startswith("test_") for source in tests for function in source.functions())
    calls = sum(_is_monkeypatch_setattr(node) for source in tests for node in ast.walk(source.tree))
    share = round(calls / max(functions, 1), 3)
    value = f"{share:.3f} ({calls} in {functions})"
    yield Figure("monkeypatch.setattr per test function", value, "<= 0.015", is_met=share <= 0.015)
    ours = [f"{each.path}:{line}" for each in tests for line in patches_of_our_own_code(each.tree, PACKAGES)]
    yield _none("patches of our own code in tests", ours)


def _is_monkeypatch_setattr(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and ast.unparse(node) == "monkeypatch.setattr"


def _at_most(name: str, value: float, goal: int, places: Iterable[str] = ()) -> Figure:
    return Figure(name, f"{value:g}", f"<= {goal}", value <= goal, tuple(places))


def _none(name: str, places: Collection[str]) -> Figure:
    return Figure(name, str(len(places)), "0", not places, tuple(places))


def _print_table(figures: Iterable[Figure]) -> None:
    for figure in figures:
        print(f"{figure.name:<52} {figure.value:>18}   goal {figure.goal:<9} {'met' if figure.is_met else 'NOT MET'}")
        for place in figure.places:
            print(f"    {place}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="Print one JSON list instead of the table.")
    parser.add_argument("project", nargs="?", type=Path, default=Path(__file__).resolve().parent.parent.parent)
    given = parser.parse_args()
    figures = figures_of(given.project)
    if given.json:
        print(json.dumps([asdict(figure) for figure in figures], indent=1))
    else:
        _print_table(figures)


if __name__ == "__main__":
    main()
