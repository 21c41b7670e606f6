"""The state of a whole campaign as one document: for the Migration page in Airflow and `kpc status --watch`."""

from __future__ import annotations

from kpc.campaign.overview.cells import ActiveRun, ShownState
from kpc.campaign.overview.document import campaign_overview, only_tables
from kpc.campaign.overview.stopped import stopped_between

__all__ = ["ActiveRun", "ShownState", "campaign_overview", "only_tables", "stopped_between"]
