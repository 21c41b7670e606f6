"""Number format models (`9990.00`, `FM999G999`, `$99.99MI`): writing and reading numbers as text.

Source: Oracle SQL Language Reference, "Number Format Models". Elements not understood here are refused.
"""

from __future__ import annotations

import decimal
import re
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from kpc.emulators.oracle.sql.messages import ora, unsupported
from kpc.emulators.oracle.sql.types import decimals

_PICTURE = re.compile(r"^(?P<fill>FM)?(?P<lead>S)?(?P<body>[$09.,DG]+)(?P<tail>MI|S|PR)?$")


@dataclass(frozen=True, slots=True)
class Picture:
    """`whole` and `fraction` are the digit places and group separators; `sign` is '', 'S<', 'S>', 'MI' or 'PR'."""

    whole: str
    fraction: str
    fill: bool
    sign: str
    dollar: bool
    has_point: bool

    @property
    def whole_digits(self) -> int:
        return sum(c in "09" for c in self.whole)


@lru_cache(maxsize=256)
def parse(mask: str) -> Picture:
    """Raises ORA-01481 for a picture that cannot be one, ORA-03001 for elements that are not done here."""
    upper = mask.upper()
    match = _PICTURE.match(upper)
    if not match:
        if re.fullmatch(r"[FMS$09.,DGLCUVBEXTIPRN]+", upper):
            raise unsupported(f"number format {mask}")
        raise ora(1481)
    body = match["body"].replace("D", ".").replace("G", ",")
    if body.count(".") > 1 or body.count("$") > 1 or (match["lead"] and match["tail"]):
        raise ora(1481)
    dollar, body = "$" in body, body.replace("$", "")
    whole, point, fraction = body.partition(".")
    if "," in fraction or whole.startswith(","):
        raise ora(1481)
    sign = "S<" if match["lead"] else {"S": "S>", None: ""}.get(match["tail"], match["tail"] or "")
    return Picture(whole, fraction, not match["fill"], sign, dollar, bool(point))


def write(value: Decimal, mask: str) -> str:
    """TO_CHAR(number, mask)."""
    picture = parse(mask)
    places = len(picture.fraction)
    with decimal.localcontext(decimal.Context(prec=400)):
        rounded = value.quantize(Decimal((0, (1,), -places)), rounding=decimal.ROUND_HALF_UP)
    whole, _, fraction = format(abs(rounded), "f").partition(".")
    whole = "" if whole == "0" else whole
    signed_width = len(picture.whole) + len(picture.fraction) + picture.has_point + picture.dollar
    extra = {"": 1, "S<": 1, "S>": 1, "MI": 1, "PR": 2}[picture.sign]
    if len(whole) > picture.whole_digits:
        return "#" * (signed_width + extra)
    body = _whole(whole, picture)
    if picture.has_point:
        kept = fraction if picture.fill else _trimmed(fraction, picture.fraction)
        body += "." + kept
    if not body.strip(" ."):  # nothing but the point: a zero keeps one digit when there is no place for it
        body = body if picture.has_point or not picture.fill else body[:-1] + "0" if body else body
        body = body or "0"
    return _signed(body, picture, is_negative=rounded < 0)


def _whole(digits: str, picture: Picture) -> str:
    """The whole part, right-aligned in its places; zeros from the first `0` of the picture on."""
    places = [c for c in picture.whole if c != ","]
    first_zero = places.index("0") if "0" in places else len(places)
    padded = digits.rjust(len(places))
    shown = "".join("0" if c == " " and i >= first_zero else c for i, c in enumerate(padded))
    if not shown.strip() and places and not picture.has_point:
        shown = shown[:-1] + "0"
    out, at = "", 0
    for mark in picture.whole:
        if mark == ",":
            out += "," if out.strip() else " "
        else:
            out += shown[at]
            at += 1
    return out if picture.fill else out.lstrip(" ")


def _trimmed(fraction: str, places: str) -> str:
    """FM drops trailing zeros, but not those that a `0` in the picture asks for."""
    keep = places.rfind("0") + 1
    end = len(fraction)
    while end > keep and fraction[end - 1] == "0":
        end -= 1
    return fraction[:end]


def _signed(body: str, picture: Picture, *, is_negative: bool) -> str:
    blanks = body[: len(body) - len(body.lstrip(" "))]
    core = ("$" if picture.dollar else "") + body.lstrip(" ")
    match picture.sign:
        case "S<":
            text = blanks + ("-" if is_negative else "+") + core
        case "S>":
            text = blanks + core + ("-" if is_negative else "+")
        case "MI":
            text = blanks + core + ("-" if is_negative else " " if picture.fill else "")
        case "PR":
            text = blanks + (f"<{core}>" if is_negative else f" {core} ")
        case _:
            text = blanks + ("-" if is_negative else " ") + core
    return text if picture.fill else text.strip(" ")


def read(text: str, mask: str) -> Decimal:
    """TO_NUMBER(text, mask). Raises ORA-01722."""
    picture = parse(mask)
    body = text.strip(" ")
    is_negative = False
    if picture.sign == "PR" and body.startswith("<") and body.endswith(">"):
        is_negative, body = True, body[1:-1]
    elif picture.sign in ("MI", "S>") and body[-1:] in ("-", "+"):
        is_negative, body = body.endswith("-"), body[:-1]
    elif picture.sign in ("", "S<") and body[:1] in ("-", "+"):
        is_negative, body = body.startswith("-"), body[1:]
    if body.startswith("$"):
        if not picture.dollar:
            raise ora(1722)
        body = body[1:]
    whole, point, fraction = body.partition(".")
    if ("," in whole and "," not in picture.whole) or (point and not picture.has_point):
        raise ora(1722)
    digits = whole.replace(",", "")
    if not (digits + fraction).isdigit() or len(digits) > picture.whole_digits or len(fraction) > len(picture.fraction):
        raise ora(1722)
    value = Decimal(f"{digits or 0}.{fraction or 0}")
    return decimals.fit(-value if is_negative else value)
