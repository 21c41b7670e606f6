"""Reading sqlglot's nodes: names as the dictionary has them, and refusing unsupported clauses."""

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
    """Refuse a node with any clause that is not in `handled`."""
    for key, value in node.args.items():
        if key not in handled and value:
            raise unsupported(f"{key.strip('_')} in {type(node).__name__}")
