"""A short text that changes when a campaign's next step may have something to do; cheap, from the ledger only."""

from __future__ import annotations

from kpc.campaign.lifecycle import situation_of
from kpc.campaign.situation import PartitionState
from kpc.ledger import CampaignRow, Ledger


def pulse_of(ledger: Ledger, campaign: CampaignRow) -> str:
    """While partitions wait to be started: whatever makes room or opens a phase; after that: failures and the end."""
    situation = situation_of(ledger, campaign)
    failed = len(situation.of_state(PartitionState.FAILED))
    if not situation.of_state(PartitionState.WAITING):
        return f"failed {failed}, over {situation.is_over}"
    running = situation.of_state(PartitionState.RUNNING)
    extracting = sum(one.is_extracting for one in running)
    decisions = len(ledger.sign_offs.all(campaign.environment))
    return f"failed {failed}, running {len(running)}, extracting {extracting}, decisions {decisions}"


def has_moved(ledger: Ledger, campaign: int, round_: int, pulse: str) -> bool:
    """Whether a step is due: the pulse has changed, or the campaign was stopped or continued by another run."""
    now = ledger.campaigns.find(campaign)
    if now is None or now.ended_utc is not None or now.round != round_:
        return True
    return pulse_of(ledger, now) != pulse
