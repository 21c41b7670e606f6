"""The DuckDB functions that compute with wide numbers. They see Arrow arrays and raise errors as `ORA-nnnnn: text`."""

from __future__ import annotations

import decimal
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa

from kpc.emulators.oracle.sql.messages import ora
from kpc.emulators.oracle.sql.types import decimals

# DuckDB hands whole Arrow arrays over, NULLs included.
AS_ARROW: dict[str, Any] = {"type": "arrow", "null_handling": "special"}


def _from_double(a: float) -> Decimal:
    try:
        return decimals.fit(Decimal(repr(a)))
    except decimal.InvalidOperation:
        raise ora(1426) from None


_UNARY: dict[str, Callable[[Decimal], Decimal]] = {
    "ora_sqrt": decimals.square_root,
    "ora_exp": decimals.exponential,
    "ora_ln": decimals.natural_log,
    "ora_ceil": decimals.ceiling,
    "ora_floor": decimals.floor,
    "ora_neg": lambda a: -a,
    "ora_abs": abs,
}


_BINARY: dict[str, Callable[[Decimal, Decimal], Decimal]] = {
    "ora_add": decimals.add,
    "ora_mul": decimals.multiply,
    "ora_div": decimals.divide,
    "ora_mod": decimals.modulo,
    "ora_remainder": decimals.remainder,
    "ora_power": decimals.power,
    "ora_round": decimals.round_to,
    "ora_trunc": decimals.truncate_to,
    "ora_float": decimals.round_binary,
}


def _map(values: pa.Array | pa.ChunkedArray, step: Callable[..., object], out: pa.DataType) -> pa.Array:
    return pa.array([None if v is None else step(v) for v in values.to_pylist()], out)


def _unary(step: Callable[[Decimal], Decimal]) -> Callable[..., pa.Array]:
    return lambda values: _map(values, lambda v: decimals.encode(step(decimals.decode(v))), pa.binary())


def _binary(step: Callable[[Decimal, Decimal], Decimal]) -> Callable[..., pa.Array]:
    def run(left: pa.Array, right: pa.Array) -> pa.Array:
        pairs = zip(left.to_pylist(), right.to_pylist(), strict=True)
        return pa.array(
            [
                None if a is None or b is None else decimals.encode(step(decimals.decode(a), decimals.decode(b)))
                for a, b in pairs
            ],
            pa.binary(),
        )

    return run


def _quotient(left: pa.Array, right: pa.Array) -> pa.Array:
    """Of two numbers as texts."""
    pairs = zip(left.to_pylist(), right.to_pylist(), strict=True)
    return pa.array(
        [
            None if a is None or b is None else decimals.encode(decimals.divide(Decimal(a), Decimal(b)))
            for a, b in pairs
        ],
        pa.binary(),
    )


def _sum(lists: pa.Array) -> pa.Array:
    def total(blobs: list[bytes | None]) -> bytes | None:
        present = [decimals.decode(blob) for blob in blobs if blob is not None]
        if not present:
            return None
        with decimal.localcontext(decimals.CONTEXT) as context:
            context.prec = 400
            return decimals.encode(sum(present, Decimal(0)))

    return _map(lists, total, pa.binary())


def register(connection: duckdb.DuckDBPyConnection) -> None:
    """Make the functions known to every connection of this database."""

    def add_function(name: str, run: Callable[..., pa.Array], inputs: list[Any], output: str) -> None:
        connection.create_function(name, run, inputs, output, **AS_ARROW)

    for name, unary in _UNARY.items():
        add_function(name, _unary(unary), ["BLOB"], "BLOB")
    for name, binary in _BINARY.items():
        add_function(name, _binary(binary), ["BLOB", "BLOB"], "BLOB")
    add_function("ora_quotient", _quotient, ["VARCHAR", "VARCHAR"], "BLOB")
    add_function("ora_sum", _sum, ["BLOB[]"], "BLOB")
    add_function("ora_wide", lambda a: _map(a, lambda v: decimals.encode(Decimal(v)), pa.binary()), ["VARCHAR"], "BLOB")
    add_function(
        "ora_parse",
        lambda a: _map(a, lambda v: decimals.encode(decimals.parse_number(v)), pa.binary()),
        ["VARCHAR"],
        "BLOB",
    )
    add_function(
        "ora_plain",
        lambda a: _map(a, lambda v: decimals.canonical(decimals.decode(v)), pa.string()),
        ["BLOB"],
        "VARCHAR",
    )
    add_function(
        "ora_text", lambda a: _map(a, lambda v: decimals.to_text(decimals.decode(v)), pa.string()), ["BLOB"], "VARCHAR"
    )
    add_function("ora_double", lambda a: _map(a, lambda v: float(decimals.decode(v)), pa.float64()), ["BLOB"], "DOUBLE")
    add_function(
        "ora_from_double",
        lambda a: _map(a, lambda v: decimals.encode(_from_double(v)), pa.binary()),
        ["DOUBLE"],
        "BLOB",
    )
