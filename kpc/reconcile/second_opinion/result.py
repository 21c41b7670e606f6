"""What a second opinion found, as part of the report of a reconciliation."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

DIFFERING = "records as Oracle spells them"  # listed with the measures that differ
_MONTHLY_BUCKETS = 256


class OpinionDifference(BaseModel):
    """A record that Salesforce should not hold like this, in Oracle's opinion.

    `key` is the external id, or its hexadecimal digest if the record is missing or its row was rejected.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    what: str


class SecondOpinion(BaseModel):
    """The result, without values.

    `buckets`: how many of the 256 were asked for. `opinions`: rows on which Oracle gave an opinion. `compared` records
    of them were read back, `differing` differ or are missing; `excepted` belong to rows that Salesforce refused.
    `corrected` of those compared hold corrected values, for which Oracle's own were put into the digest. `uncovered`:
    columns that Oracle cannot compute.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    buckets: int
    opinions: int
    compared: int
    differing: int
    excepted: int = 0
    corrected: int = 0
    differences: tuple[OpinionDifference, ...] = ()  # the first of them
    uncovered: tuple[str, ...] = ()

    def __str__(self) -> str:
        share = "" if self.buckets == _MONTHLY_BUCKETS else f" of {self.buckets} of {_MONTHLY_BUCKETS} buckets"
        corrected = f" ({self.corrected:,} of them corrected by a person)" if self.corrected else ""
        first = f", the first: {self.differences[0].what}" if self.differences else ""  # no key: it is logged
        missing = f"; without {', '.join(self.uncovered)}" if self.uncovered else ""
        return f"{self.compared:,} records{share} compared{corrected}, {self.differing:,} differ{first}{missing}"
