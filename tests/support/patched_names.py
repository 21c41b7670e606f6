"""Which calls of a test replace an attribute of this project's own modules and objects.

A plain assignment to an attribute is not found: tests may set settings and clocks that are made to be set.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator

_REPLACES = {"setattr", "delattr", "setitem", "delitem", "__setattr__"}


def patches_of_our_own_code(tree: ast.Module, packages: Collection[str]) -> Iterator[int]:
    """The line of every replacement whose target is ours, or cannot be told from the file."""
    finder = _Finder(packages)
    finder.visit(tree)
    yield from sorted(finder.lines)


class _Finder(ast.NodeVisitor):
    """Walks one file with the imports seen so far and the annotations of the functions around the present place."""

    def __init__(self, packages: Collection[str]) -> None:
        self.lines: set[int] = set()
        self._packages = packages
        self._imported: dict[str, str] = {}  # a name of this file -> the package it comes from
        self._annotated: list[dict[str, str]] = []  # a parameter -> the name of its type

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            self._imported[(alias.asname or alias.name).partition(".")[0]] = alias.name.partition(".")[0]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        package = (node.module or "").partition(".")[0]
        if node.module == "unittest.mock":
            self.lines.add(node.lineno)
        self._imported.update({alias.asname or alias.name: package for alias in node.names})

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        every = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        self._annotated.append({each.arg: _root(each.annotation) for each in every if each.annotation})
        self.generic_visit(node)
        self._annotated.pop()

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func.attr if isinstance(node.func, ast.Attribute) else _root(node.func)
        if called in _REPLACES and node.args and self._is_ours(node.args[0]):
            self.lines.add(node.lineno)
        self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if node.attr == "__dict__" and self._is_ours(node.value):
            self.lines.add(node.lineno)
        self.generic_visit(node)

    def _is_ours(self, target: ast.expr) -> bool:
        if isinstance(target, ast.Constant):
            return str(target.value).partition(".")[0] in self._packages
        name = _root(target)
        if name in self._imported:
            return self._imported[name] in self._packages
        if not isinstance(target, ast.Name):
            return True  # what hangs on a fixture may be anything
        kind = next((known[name] for known in reversed(self._annotated) if name in known), "")
        return kind not in self._imported or self._imported[kind] in self._packages


def _root(node: ast.expr) -> str:
    """The first name of a dotted expression, with its calls and subscripts; empty if it starts with something else."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""
