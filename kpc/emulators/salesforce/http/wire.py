"""Request and response formats shared by all endpoints."""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from decimal import Decimal

from isal import isal_zlib
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from kpc.emulators.salesforce.doubles import double_text
from kpc.emulators.salesforce.errors import ApiError, bad_json

_MOST_JSON_BYTES = 50_000_000
_PACKING_LEVEL = 1  # of 0 to 3: no slower than 0, and a fifth smaller
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


def base_url(request: Request) -> str:
    """The address under which the client reached the emulator."""
    return f"{request.url.scheme}://{request.headers.get('host', request.url.netloc)}"


def to_json(value: object) -> str:
    """JSON text in which a Decimal keeps all of its digits, and a double is spelled as Salesforce does."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, dict):
        return "{" + ",".join(f"{to_json(str(name))}:{to_json(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(to_json, value)) + "]"
    if isinstance(value, Decimal):
        return plain_number(value)
    if isinstance(value, float):
        return double_text(value) if math.isfinite(value) else "null"
    return json.dumps(value)


def plain_number(value: Decimal) -> str:
    """A decimal without exponent and trailing zeros, but with at least one digit after the point: `12.5`, `3.0`."""
    text = f"{value:f}"
    if "." not in text:
        return text + ".0"
    text = text.rstrip("0")
    return text + "0" if text.endswith(".") else text


class Json(Response):
    media_type = "application/json"

    def render(self, content: object) -> bytes:
        return to_json(content).encode()


def csv_answer(request: Request, pieces: Iterator[bytes], headers: Mapping[str, str] | None = None) -> Response:
    """A stream of CSV, as gzip if the client takes it.

    Packed by isal: the middleware that packs all other answers takes several times as long.
    """
    named = {"content-type": "text/csv; charset=UTF-8", "vary": "Accept-Encoding", **(headers or {})}
    if "gzip" in request.headers.get("accept-encoding", ""):
        pieces, named["content-encoding"] = _packed(pieces), "gzip"
    return StreamingResponse(pieces, media_type="text/csv", headers=named)


def _packed(pieces: Iterator[bytes]) -> Iterator[bytes]:
    packer = isal_zlib.compressobj(_PACKING_LEVEL, wbits=zlib.MAX_WBITS | 16)
    for piece in pieces:
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()


def error_answer(error: ApiError) -> Response:
    return Json(error.body, error.status)


async def body_pieces(request: Request) -> AsyncIterator[bytes]:
    """The request's body, decompressed as its Content-Encoding says. 400 for bytes that do not decompress."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding in ("", "identity"):
        async for piece in request.stream():
            yield piece
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        raise ApiError(415, "UNSUPPORTED_MEDIA_TYPE", f"Content-Encoding {encoding} is not supported")
    inflate = isal_zlib.decompressobj(zlib.MAX_WBITS | 32)  # gzip and zlib headers both
    is_first = encoding == "deflate"
    try:
        async for piece in request.stream():
            rest = piece
            if is_first and rest and rest[0] & 0x0F != zlib.DEFLATED:
                inflate = isal_zlib.decompressobj(-zlib.MAX_WBITS)  # many clients send deflate without zlib's header
            is_first = is_first and not rest
            while rest:
                yield inflate.decompress(rest, 1 << 20)
                rest = inflate.unconsumed_tail
                if inflate.eof and inflate.unused_data:  # a further gzip member
                    rest = inflate.unused_data
                    inflate = isal_zlib.decompressobj(zlib.MAX_WBITS | 32)
    except isal_zlib.error as error:  # type: ignore[misc]  # its stub calls it an instance
        raise ApiError(400, "CLIENTINPUTERROR", f"The {encoding} content cannot be decompressed: {error}") from error
    if not inflate.eof:
        raise ApiError(400, "CLIENTINPUTERROR", f"The {encoding} content is truncated")


async def read_body(request: Request) -> bytes:
    """The whole body of a small request."""
    pieces, size = [], 0
    async for piece in body_pieces(request):
        size += len(piece)
        if size > _MOST_JSON_BYTES:
            raise ApiError(413, "REQUEST_TOO_LARGE", f"A JSON body may have at most {_MOST_JSON_BYTES} bytes")
        pieces.append(piece)
    return b"".join(pieces)


async def read_json(request: Request) -> object:
    """The body as JSON; numbers with a point stay exact decimals."""
    return parse_json(await read_body(request))


def parse_json(body: bytes) -> object:
    try:
        value: object = json.loads(body.decode("utf-8-sig"), parse_float=Decimal, parse_constant=_no_constant)
        if _SURROGATE.search(body):
            to_json(value).encode()  # half a pair is no character: UnicodeEncodeError is a ValueError
    except (ValueError, RecursionError) as error:
        raise bad_json(f"The request body is not JSON: {error}") from error
    return value


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not a JSON number")


async def read_object(request: Request) -> dict[str, object]:
    """The body as a JSON object."""
    value = await read_json(request)
    if not isinstance(value, dict):
        raise bad_json("The request body must be a JSON object")
    return value


def text_of(body: dict[str, object], name: str, default: str | None = None) -> str:
    """A text member of a JSON object. 400 when it is missing or something else."""
    value = body.get(name, default)
    if not isinstance(value, str):
        raise ApiError(400, "INVALIDJOB", f"{name} must be given as text")
    return value


__all__ = ["ClientDisconnect"]
