"""What people must be told of while a campaign runs, grouped: one outage is one message, and its end another."""

from __future__ import annotations

from kpc.campaign.alerts.delivery import Delivered, Sender, deliver
from kpc.campaign.alerts.look import Looked, known_environment, look
from kpc.campaign.alerts.reporting import report_failure

__all__ = ["Delivered", "Looked", "Sender", "deliver", "known_environment", "look", "report_failure"]
