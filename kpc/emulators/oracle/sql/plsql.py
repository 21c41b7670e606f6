"""Anonymous blocks, as far as clients of a data migration send them: NULL, assignments to binds, and a few packages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kpc.emulators.oracle.interface import Bind, BindValue, OraType, Outcome, StatementKind
from kpc.emulators.oracle.sql import returned, values
from kpc.emulators.oracle.sql.grammar import ParsedStatement, parse_statement
from kpc.emulators.oracle.sql.lexer import Kind, Token
from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.query import QueryCompiler
from kpc.emulators.oracle.sql.values import Expr

if TYPE_CHECKING:
    from kpc.emulators.oracle.sql.session import OracleSession

_ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "DBMS_APPLICATION_INFO.SET_MODULE": ("module", "action"),
    "DBMS_APPLICATION_INFO.SET_ACTION": ("action",),
    "DBMS_APPLICATION_INFO.SET_CLIENT_INFO": ("client_info",),
    "DBMS_SESSION.SET_IDENTIFIER": ("client_identifier",),
}
_QUIET = frozenset({"DBMS_OUTPUT.ENABLE", "DBMS_OUTPUT.DISABLE", "DBMS_SESSION.CLEAR_IDENTIFIER"})


def execute(session: OracleSession, statement: ParsedStatement, rows: Sequence[Sequence[Bind]]) -> Outcome:
    """Run the block once per bind row. OUT values are given by the position of the bind's unique name."""
    outcome = Outcome(StatementKind.PLSQL)
    statements = _statements(statement.tokens)
    for row in rows or [()]:
        binds: dict[str, Expr] = {
            name: values.bind(bind.type, bind.size, bind.value)
            for name, bind in zip(statement.bind_names, row, strict=True)
        }
        out: dict[str, BindValue] = {}
        for tokens in statements:
            _run(session, statement, tokens, binds, out)
        for position, (name, bind) in enumerate(zip(statement.bind_names, row, strict=True)):
            if name in out or bind.is_out:
                outcome.out.setdefault(position, []).append(_fitting(out.get(name, bind.value), bind))
    return outcome


def _fitting(value: BindValue, bind: Bind) -> BindValue:
    if isinstance(value, str) and bind.size and len(value.encode()) > bind.size:
        raise ora(6502)
    return value


def _statements(tokens: list[Token]) -> list[list[Token]]:
    """The statements between BEGIN and END; CALL is a block of one."""
    if tokens[0].is_word("CALL"):
        return [[t for t in tokens[1:] if not t.is_sign(";")]]
    if tokens[0].is_word("DECLARE"):
        raise unsupported("DECLARE")
    body = list(tokens)
    while body and (body[-1].is_sign(";") or body[-1].is_sign("/")):
        body.pop()
    if not body or not body[-1].is_word("END"):
        raise _syntax(tokens[-1])
    found: list[list[Token]] = [[]]
    for token in body[1:-1]:
        if token.is_sign(";"):
            found.append([])
        else:
            found[-1].append(token)
    if found[-1]:
        raise _syntax(body[-1])
    return found[:-1]


def _syntax(token: Token) -> Exception:
    return ora(6550, 1, token.start + 1, f'PLS-00103: Encountered the symbol "{token.value}"')


def _run(
    session: OracleSession,
    statement: ParsedStatement,
    tokens: list[Token],
    binds: dict[str, Expr],
    out: dict[str, BindValue],
) -> None:
    if not tokens:
        raise ora(6550, 1, 1, 'PLS-00103: Encountered the symbol ";"')
    words = [t.value for t in tokens]
    if words == ["NULL"]:
        return
    if words == ["COMMIT"]:
        session.commit()
        return
    if words == ["ROLLBACK"]:
        session.rollback()
        return
    if tokens[0].kind is Kind.BIND and len(tokens) > 2 and tokens[1].is_sign(":="):
        value = _evaluate(session, statement.sql[tokens[2].start : tokens[-1].end], binds)
        out[tokens[0].value] = value
        binds[tokens[0].value] = _as_bind(value)
        return
    _call(session, statement, tokens, binds, out)


def _as_bind(value: BindValue) -> Expr:
    kinds: list[tuple[type, OraType]] = [(str, OraType.VARCHAR2), (bytes, OraType.RAW), (float, OraType.BINARY_DOUBLE)]
    kind = next((ora_type for python, ora_type in kinds if isinstance(value, python)), OraType.NUMBER)
    if hasattr(value, "isoformat"):
        kind = OraType.TIMESTAMP
    return values.bind(kind, 0, value)


def _evaluate(session: OracleSession, text: str, binds: dict[str, Expr]) -> BindValue:
    """An expression, as SQL evaluates it."""
    inner = parse_statement(f"SELECT {text} FROM DUAL")
    assert inner.tree is not None
    context = session.context({f"b{i}": _named(name, binds) for i, name in enumerate(inner.bind_names)})
    query = QueryCompiler(context).compile(inner.tree)
    executor = session.executor(context)
    for name, table in context.arrow.items():
        executor.cursor.register(name, table)
    result = executor.run(query.sql)
    return returned.values_of(query.columns[0].type, result.column(0).combine_chunks())[0]


def _named(name: str, binds: dict[str, Expr]) -> Expr:
    if name not in binds:
        raise ora(1008)
    return binds[name]


def _call(
    session: OracleSession,
    statement: ParsedStatement,
    tokens: list[Token],
    binds: dict[str, Expr],
    out: dict[str, BindValue],
) -> None:
    """package.procedure(arguments), positional or named."""
    depth_at = next((i for i, t in enumerate(tokens) if t.is_sign("(")), len(tokens))
    name = "".join(t.value for t in tokens[:depth_at])
    if any(t.kind not in (Kind.WORD, Kind.SIGN, Kind.QUOTED) for t in tokens[:depth_at]):
        raise unsupported("this PL/SQL statement")
    arguments = _arguments(tokens[depth_at + 1 : -1]) if depth_at < len(tokens) else []
    texts = [statement.sql[a[0].start : a[-1].end] for a in arguments]
    if name in _ATTRIBUTES:
        keys = _ATTRIBUTES[name]
        if len(texts) > len(keys):
            raise ora(6550, 1, 7, f"PLS-00306: wrong number or types of arguments in call to '{name.split('.')[-1]}'")
        given = [_evaluate(session, text, binds) for text in texts]
        session.set_attributes(**{key: None if v is None else str(v) for key, v in zip(keys, given, strict=False)})
    elif name == "DBMS_SESSION.SET_NLS" and len(texts) == 2:
        key, value = (str(_evaluate(session, text, binds)) for text in texts)
        quoted = value if value.startswith("'") else f"'{value}'"
        session.execute(session.prepare(f"ALTER SESSION SET {key} = {quoted}"), [])
    elif name == "DBMS_OUTPUT.GET_LINE" and len(arguments) == 2:
        out[arguments[0][0].value], out[arguments[1][0].value] = None, 1
    elif name not in _QUIET and name != "DBMS_OUTPUT.PUT_LINE":
        raise unsupported(f"PL/SQL {name}")


def _arguments(tokens: list[Token]) -> list[list[Token]]:
    found: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        depth += token.is_sign("(") - token.is_sign(")")
        if depth == 0 and token.is_sign(","):
            found.append([])
        elif token.is_sign("=>"):
            found[-1].clear()  # named notation: the packages here take their arguments in order
        else:
            found[-1].append(token)
    return [argument for argument in found if argument]
