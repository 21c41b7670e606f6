"""Ids of records, as they are in an org that has lived on several pods: with gaps, and not in the order of creation.

The two characters after the prefix name the pod on which a record was created; an id created later may be smaller.
Records are numbered; 200 at a time come from one pod, and their ids are spread over the last two of its digits.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import lru_cache

import polars as pl

from kpc.emulators.salesforce.org.ids import CHECK, base62, check_characters

_TOGETHER = 200  # records that one transaction creates
_PODS = ("5g", "J1", "hd", "0K")
_SPACING = 62 * 62 // _TOGETHER
_HEADS = 2  # numbers before the last two digits, of which one is used
_UPPER_PAIR_BITS = 3, 4  # of the last check character: what the last two digits add to it


@dataclass(frozen=True, slots=True)
class _Endings:
    """The last two digits of 200 ids, and for each state of the three before them their last check characters."""

    digits: pl.Series
    checks: pl.Series


def record_ids(prefix: str, first: int, count: int, seed: int) -> pl.Series:
    """The ids of the records number `first` and the `count` - 1 after it, of one object, as one text series.

    No two numbers have the same id. The same seed gives the same ids.
    """
    blocks = range(first // _TOGETHER, (first + max(count, 1) - 1) // _TOGETHER + 1)
    heads = [_head(prefix, block, seed) for block in blocks]
    checks = [check_characters(head + "00") for head in heads]
    endings = _endings(seed)
    number = pl.int_range(first, first + count, eager=True)
    block, place = number // _TOGETHER - blocks.start, number % _TOGETHER
    known = pl.Series([CHECK.index(each[2]) * _TOGETHER for each in checks], dtype=pl.Int64)
    frame = pl.DataFrame(
        [
            pl.Series(heads).gather(block).alias("head"),
            endings.digits.gather(place).alias("digits"),
            pl.Series([each[:2] for each in checks]).gather(block).alias("early"),
            endings.checks.gather(known.gather(block) + place).alias("late"),
        ]
    )
    return frame.select(pl.concat_str("head", "digits", "early", "late")).to_series()


def _head(prefix: str, block: int, seed: int) -> str:
    drawn = zlib.crc32(f"{seed}/{prefix}/{block}".encode())
    return f"{prefix}{_PODS[drawn % len(_PODS)]}0{base62(block * _HEADS + drawn // 16 % _HEADS, 7)}"


@lru_cache(maxsize=4)
def _endings(seed: int) -> _Endings:
    places = range(_TOGETHER)
    digits = [base62(n * _SPACING + zlib.crc32(f"{seed}/{n}".encode()) % _SPACING, 2) for n in places]
    bits = [sum(pair[n].isupper() << bit for n, bit in enumerate(_UPPER_PAIR_BITS)) for pair in digits]
    return _Endings(pl.Series(digits), pl.Series([CHECK[known | each] for known in range(8) for each in bits]))
