"""Oracle's NUMBER arithmetic beyond DuckDB's DECIMAL: 20 base-100 digits, exponents from -130 to 125.

A wide number is Oracle's own internal format, whose bytes compare like the numbers.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache

from kpc.emulators.oracle.sql.messages import ora, unsupported

_ZERO = b"\x80"
CONTEXT = decimal.Context(prec=60, Emin=-999_999, Emax=999_999, rounding=decimal.ROUND_HALF_UP)
_EXACT = decimal.Context(prec=400, Emin=-999_999, Emax=999_999, rounding=decimal.ROUND_HALF_UP)
_TERMINATOR = b"\x66"
_DIGIT_PAIRS = 20
_NOTHING = Decimal(0)
# A first pair of one digit leaves 39 digits, one of two 40: by the parity of the exponent.
_ROUND = tuple(
    decimal.Context(prec=digits, Emin=-999_999, Emax=999_999, rounding=decimal.ROUND_HALF_UP) for digits in (39, 40)
)


def _byte_table(pairs: Callable[[int], int]) -> tuple[bytes, bytes]:
    """Between two decimal digits in a byte (0x42 is 42) and the byte that stands for this pair, both ways."""
    there, back = bytearray(256), bytearray(256)
    for pair in range(100):
        there[int(str(pair), 16)] = pairs(pair)
        back[pairs(pair)] = int(str(pair), 16)
    return bytes(there), bytes(back)


_POSITIVE, _POSITIVE_BACK = _byte_table(lambda pair: pair + 1)
_NEGATIVE, _NEGATIVE_BACK = _byte_table(lambda pair: 101 - pair)


def fit(value: Decimal) -> Decimal:
    """Round to the 20 base-100 digits that a NUMBER keeps (39 or 40 decimal digits). Raises ORA-01426 beyond 1e126."""
    if not value:
        return _NOTHING
    if not value.is_finite():
        raise ora(1426)
    fitted = _ROUND[value.adjusted() % 2].plus(value)
    exponent = fitted.adjusted()
    if exponent > 125:
        raise ora(1426)
    return _NOTHING if exponent < -130 else fitted


def encode(value: Decimal) -> bytes:
    """Oracle's internal format of `value`, rounded by `fit`."""
    value = fit(value)
    if not value:
        return _ZERO
    mantissa, _, exponent = f"{value:E}".partition("E")
    is_negative = mantissa[0] == "-"
    digits = mantissa[is_negative:].replace(".", "")
    power = int(exponent)
    if not power % 2:
        digits = "0" + digits  # a first pair of one digit
    pairs = bytes.fromhex(digits + "0" * (len(digits) % 2)).rstrip(b"\x00")
    head = power // 2 + 193
    if not is_negative:
        return bytes((head,)) + pairs.translate(_POSITIVE)
    end = _TERMINATOR if len(pairs) < _DIGIT_PAIRS else b""
    return bytes((~head & 0xFF,)) + pairs.translate(_NEGATIVE) + end


@lru_cache(maxsize=65_536)
def decode(blob: bytes) -> Decimal:
    """The number that `encode` made these bytes of."""
    if blob == _ZERO:
        return _NOTHING
    if blob[0] & 0x80:
        sign, head, pairs = "", blob[0] - 193, blob[1:].translate(_POSITIVE_BACK)
    else:
        body = blob[1:-1] if blob[-1:] == _TERMINATOR and len(blob) <= _DIGIT_PAIRS + 1 else blob[1:]
        sign, head, pairs = "-", (~blob[0] & 0xFF) - 193, body.translate(_NEGATIVE_BACK)
    return Decimal(f"{sign}{pairs.hex()}E{2 * (head - len(pairs) + 1)}")


def canonical(value: Decimal) -> str:
    """The number without exponent, trailing zeros or a leading `+`, e.g. `-0.5`."""
    if not value:
        return "0"
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def parse_number(text: str) -> Decimal:
    """An implicit or plain TO_NUMBER. Raises ORA-01722."""
    stripped = text.strip(" ")
    if not stripped or not set(stripped) <= set("0123456789+-.eE"):
        raise ora(1722)
    try:
        return fit(Decimal(stripped))
    except (decimal.InvalidOperation, ValueError):
        raise ora(1722) from None


def to_text(value: Decimal) -> str:
    """TO_CHAR of a number without a format: no zero before the point; at most 40 characters."""
    if not value:
        return "0"
    value = fit(value)
    plain = canonical(value)
    sign, plain = ("-", plain[1:]) if plain.startswith("-") else ("", plain)
    plain = plain.removeprefix("0") if plain.startswith("0.") else plain
    if len(plain) <= 40 - len(sign):
        return sign + plain
    room = 40 - len(sign)
    if "." in plain and plain.find(".") < room - 1 and value.adjusted() >= -5:  # drop digits that do not fit
        places = room - plain.find(".") - 1
        return to_text(value.quantize(Decimal((0, (1,), -places)), context=CONTEXT))
    raise unsupported("TO_CHAR without a format of a number with more than 40 digits")


def add(a: Decimal, b: Decimal) -> Decimal:
    """Exact as far as 20 digit pairs reach, whatever the distance of the exponents."""
    return fit(_EXACT.add(a, b))


def multiply(a: Decimal, b: Decimal) -> Decimal:
    return fit(_EXACT.multiply(a, b))


def divide(a: Decimal, b: Decimal) -> Decimal:
    if not b:
        raise ora(1476)
    return fit(CONTEXT.divide(a, b))


def modulo(a: Decimal, b: Decimal) -> Decimal:
    """MOD: the sign of the dividend; MOD(a, 0) is a."""
    if not b:
        return a
    return fit(_EXACT.remainder(a, b))


def remainder(a: Decimal, b: Decimal) -> Decimal:
    """REMAINDER: a - b * (the integer nearest a / b, ties to even)."""
    if not b:
        raise ora(1476)
    with decimal.localcontext(CONTEXT) as context:
        context.prec = 400
        return fit(a - b * (a / b).to_integral_value(decimal.ROUND_HALF_EVEN))


def power(a: Decimal, b: Decimal) -> Decimal:
    if a < 0 and b != b.to_integral_value():
        raise ora(1428, to_text(b))
    if not a:
        if b < 0:
            raise ora(1426)
        return Decimal(1) if not b else a
    with decimal.localcontext(CONTEXT):
        try:
            return fit(a**b)
        except decimal.Overflow:
            raise ora(1426) from None


def square_root(a: Decimal) -> Decimal:
    if a < 0:
        raise ora(1428, to_text(a))
    with decimal.localcontext(CONTEXT):
        return fit(a.sqrt())


def exponential(a: Decimal) -> Decimal:
    with decimal.localcontext(CONTEXT):
        return fit(a.exp())


def natural_log(a: Decimal) -> Decimal:
    if a <= 0:
        raise ora(1428, to_text(a))
    with decimal.localcontext(CONTEXT):
        return fit(a.ln())


def round_to(a: Decimal, places: Decimal) -> Decimal:
    """ROUND: half away from zero; negative places round left of the point."""
    return _cut(a, int(places), decimal.ROUND_HALF_UP)


def truncate_to(a: Decimal, places: Decimal) -> Decimal:
    return _cut(a, int(places), decimal.ROUND_DOWN)


def _cut(a: Decimal, places: int, rounding: str) -> Decimal:
    if int(a.as_tuple().exponent) >= -places or places > 130:
        return a
    return fit(a.quantize(Decimal((0, (1,), -max(places, -130))), rounding, _EXACT))


def ceiling(a: Decimal) -> Decimal:
    return fit(a.to_integral_value(decimal.ROUND_CEILING, _EXACT))


def floor(a: Decimal) -> Decimal:
    return fit(a.to_integral_value(decimal.ROUND_FLOOR, _EXACT))


def round_binary(a: Decimal, bits: Decimal) -> Decimal:
    """FLOAT(bits): the decimal digits that the binary precision grants."""
    digits = -(-int(bits) * 30_103 // 100_000)
    return fit(decimal.Context(prec=max(digits, 1), rounding=decimal.ROUND_HALF_UP, Emax=9999, Emin=-9999).plus(a))
