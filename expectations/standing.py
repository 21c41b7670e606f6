"""What happened later to a partition's newest result: whether it is of the current load, and who signed for it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from expectations.campaign_facts import CampaignFacts, SignOffFacts
from expectations.overview import Line
from kpc.stages.names import MIGRATION


@dataclass(frozen=True, slots=True)
class Standing:
    """Shown on the page of a partition's newest run; `sign_offs` are those of its phase and of the migration."""

    is_known: bool = False
    is_outdated: bool = False
    step: str = ""
    certificate: str = ""
    certificate_file: str = ""
    weaker_check: str = ""
    sign_offs: tuple[SignOffFacts, ...] = ()

    @property
    def digest(self) -> str:
        """A digest of the standing; if it changes, the page must be rendered again."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


def standing_of(line: Line, campaign: CampaignFacts | None) -> Standing:
    """The standing of a partition with a result."""
    if campaign is None or line.newest is None:
        return Standing()
    subjects = (line.newest.phase, MIGRATION)
    signed = tuple(one for one in campaign.sign_offs if one.subject in subjects)
    facts = line.facts
    later = (facts.certificate, facts.certificate_file, facts.weaker_check) if facts else ("", "", "")
    return Standing(True, line.is_outdated, line.step, *later, signed)
