"""Delivery of queued messages: each by one sender, in order, retried until it arrives or is given up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kpc.errors import KpcError
from kpc.ledger import AlertMessage
from kpc.ledger.states import DeliveryState
from kpc.stages.workspace import Workspace
from kpc.untrusted_text import shown

log = logging.getLogger(__name__)

Sender = Callable[[AlertMessage], None]  # raises whatever its channel raises


@dataclass(frozen=True, slots=True)
class Delivered:
    """How many messages were sent, and why each failed channel failed."""

    sent: int
    failed: dict[str, str]


def deliver(workspace: Workspace, senders: Mapping[str, Sender]) -> Delivered:
    """Send what is due. A channel that fails once is skipped until the next call; the others continue.

    A sender that is killed between sending and recording it sends the message again after `CLAIM`: no crash loses a
    message, and only this one duplicates it.
    """
    sent, failed = 0, dict[str, str]()
    for channel, send in senders.items():
        while channel not in failed and (message := workspace.ledger.alerts.claim(channel, workspace.run_id)):
            reason = reason_of_failure(send, message)
            if reason is None:
                workspace.ledger.alerts.sent(message.id)
                sent += 1
                continue
            give_up_s = workspace.settings.alerts.give_up_s
            state = workspace.ledger.alerts.not_sent(message, reason, give_up_s)
            failed[channel] = reason
            what = "is given up" if state is DeliveryState.GIVEN_UP else "will be tried again"
            log.warning("Message %s by %s %s: %s", message.id, channel, what, reason)
    return Delivered(sent, failed)


def reason_of_failure(send: Sender, message: AlertMessage) -> str | None:
    """None if it was sent. A library's error text may quote an address with its token: only its class is kept."""
    try:
        send(message)
    except KpcError as error:
        return shown(str(error))
    except OSError as error:
        return f"{type(error).__name__}: {shown(error.strerror or '', 80)}".rstrip(": ")
    except Exception as error:  # noqa: BLE001  whatever a channel's library raises
        return type(error).__name__
    return None
