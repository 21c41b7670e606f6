"""A certificate as a self-contained page, to read or to print. The JSON file is the evidence."""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from kpc.campaign.certificates.content import Certificate
from kpc.catalog.types import BUCKETS

_LISTED = 200  # exceptions, corrections and files on the page; the JSON file has all
_WORDS = {
    "reconciled": "Reconciled: every record was compared, and none differs.",
    "reconciled_with_exceptions": "Reconciled with exceptions: every difference is a listed row.",
    "sampled": "Sampled: what was compared agrees, but not every record was compared. This is not a proof.",
    "mismatch": "Mismatch: Oracle and Salesforce differ.",
}
_TONES = {"reconciled": "good", "reconciled_with_exceptions": "warn", "sampled": "warn", "mismatch": "bad"}


def certificate_page(certificate: Certificate) -> str:
    """The page of one certificate."""
    return _template().render(
        c=certificate,
        verdict=_WORDS[certificate.state],
        tone=_TONES[certificate.state],
        listed=_LISTED,
        all_buckets=BUCKETS,
        equal_buckets=sum(one.source == one.target for one in certificate.buckets),
        differing=[one for one in certificate.buckets if one.source != one.target],
    )


def _figure(value: int | Decimal | None) -> str:
    if value is None:
        return ""
    return f"{value:,f}" if isinstance(value, Decimal) else f"{value:,}"  # not 0E-10


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["n"] = _figure
    environment.filters["utc"] = lambda value: f"{value:%Y-%m-%d %H:%M:%S} UTC" if value else "not ended"
    return environment.get_template("certificate.html.j2")
