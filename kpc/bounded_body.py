"""The body of a server's answer, read within limits: bytes as sent, bytes as decompressed, and seconds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import cast

import httpx
from isal import isal_zlib

_OF_THE_BODY = (b"content-encoding", b"content-length", b"transfer-encoding")  # headers that end with reading it
_BLOCK_BYTES = 1 << 20
_READ_BYTES = 1 << 16
_DAMAGED = cast("type[Exception]", isal_zlib.error)
_GZIP = 31  # zlib's window bits for a gzip stream
_FREE_RATIO_BYTES = 4 << 20  # an answer up to this size may have any ratio
_MOST_RATIO = 200  # of a JSON answer: repetitive ones reach some 50, a decompression bomb 1,000


class BodyRefused(Exception):
    """The body is too large, too slow or not compressed as announced; the text completes "the answer ..."."""


def unpacked(blocks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """The body's bytes, decompressed in pieces of at most 1 MB. `encoding`: the answer's Content-Encoding.

    Raises `BodyRefused` if it is damaged, ends early, or is encoded in a way that no request of ours accepts.
    """
    kind = encoding.strip().lower()
    if kind in ("", "identity"):
        yield from blocks
    elif kind == "gzip":
        yield from _gunzipped(blocks)
    else:
        raise BodyRefused("is encoded in a way that was not asked for")


def limited(pieces: Iterable[bytes], most_bytes: int, *, longest_s: float | None = None) -> Iterator[bytes]:
    """The pieces, until they are more than `most_bytes` or take longer than `longest_s`: then `BodyRefused`."""
    size, until = 0, None if longest_s is None else time.monotonic() + longest_s
    for piece in pieces:
        size += len(piece)
        if size > most_bytes:
            raise BodyRefused(f"has more than the {most_bytes:,} bytes that it may have")
        if until is not None and time.monotonic() > until:
            raise BodyRefused(f"was not complete after {longest_s:,.0f} s")
        yield piece


def with_body(response: httpx.Response, *, most_bytes: int, longest_s: float) -> httpx.Response:
    """An unread response with its whole body, decompressed. Raises `BodyRefused`; the response is closed."""
    if response.is_stream_consumed:
        return response  # by a transport that made the answer itself
    try:
        encoding = response.headers.get("content-encoding", "")
        blocks = response.iter_raw(_READ_BYTES)
        content = read_body(blocks, encoding, most_bytes=most_bytes, longest_s=longest_s)
    finally:
        response.close()
    headers = [(name, text) for name, text in response.headers.raw if name.lower() not in _OF_THE_BODY]
    return httpx.Response(response.status_code, headers=headers, content=content, request=response.request)


def read_body(blocks: Iterable[bytes], encoding: str, *, most_bytes: int, longest_s: float) -> bytes:
    """A whole body of at most `most_bytes`, packed and unpacked. Raises `BodyRefused`."""
    packed = 0

    def counted() -> Iterator[bytes]:
        nonlocal packed
        for block in limited(blocks, most_bytes, longest_s=longest_s):
            packed += len(block)
            yield block

    body = bytearray()
    for piece in limited(unpacked(counted(), encoding), most_bytes):
        body += piece
        if len(body) > max(_FREE_RATIO_BYTES, packed * _MOST_RATIO):
            raise BodyRefused(f"grows more than {_MOST_RATIO} times when it is decompressed")
    return bytes(body)


def _gunzipped(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Every member of a gzip stream. Raises `BodyRefused` if the last one is incomplete or followed by other bytes."""
    member, is_open = isal_zlib.decompressobj(_GZIP), False
    try:
        for block in blocks:
            waiting = block
            while waiting:
                is_open = True
                yield member.decompress(waiting, _BLOCK_BYTES)
                waiting = member.unconsumed_tail or member.unused_data
                if member.eof:
                    member, is_open = isal_zlib.decompressobj(_GZIP), bool(waiting)
        if is_open:
            yield member.flush()
    except _DAMAGED:
        raise BodyRefused("is damaged: its compressed content cannot be read") from None
    if is_open and not member.eof:
        raise BodyRefused("is incomplete: its compressed content ends early")
