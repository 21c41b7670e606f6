"""Alerts about a running campaign, grouped by cause: an outage is one message, and its end another."""

from __future__ import annotations

from kpc.campaign.alerts.delivery import Delivered, Sender, deliver
from kpc.campaign.alerts.look import Looked, known_environment, look
from kpc.campaign.alerts.reporting import report_failure

__all__ = ["Delivered", "Looked", "Sender", "deliver", "known_environment", "look", "report_failure"]
