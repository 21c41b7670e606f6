"""Reading sqlglot's nodes: names as the dictionary has them, and clauses that nobody reads."""

from __future__ import annotations

from sqlglot import exp

from kpc.emulators.oracle.sql.messages import unsupported


def identifier(node: exp.Expr | str | None) -> str:
    """A name as the dictionary has it: upper case unless quoted."""
    if isinstance(node, exp.Identifier):
        text = str(node.this)
        return text if node.args.get("quoted") else text.upper()
    return str(node).upper()


def only(node: exp.Expr, *handled: str) -> None:
    """Refuse a node that carries a clause nobody here reads."""
    for key, value in node.args.items():
        if key not in handled and value:
            raise unsupported(f"{key.strip('_')} in {type(node).__name__}")
