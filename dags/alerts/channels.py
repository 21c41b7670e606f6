"""The channels of the settings: an e-mail, a Slack webhook, a custom webhook; each through Airflow's own notifier.

A notifier is called by its `notify`, not as a callback: rendering the text as a template would execute what is in it.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from kpc.errors import ConfigError, MissingExtra, Transient

if TYPE_CHECKING:
    from kpc.campaign.alerts import Sender
    from kpc.ledger import AlertMessage
    from kpc.settings import AlertSettings

EMAIL, SLACK, WEBHOOK = "email", "slack", "webhook"
_TIMEOUT_S = 20
_CODE = re.compile(r"`([^`]+)`")
_HTTP_STATUS = re.compile(r"\b[45]\d\d\b")


def senders_of(settings: AlertSettings, context: Mapping[str, Any]) -> dict[str, Sender]:
    """A sender for each channel that has a connection. Raises `ConfigError` for an incomplete channel."""
    found: dict[str, Sender] = {}
    if settings.smtp_conn_id:
        if not settings.smtp_to:
            raise ConfigError(
                "Alerts have a connection for e-mail but no recipient.", "Set KPC__ALERTS__SMTP_TO, or remove "
                "KPC__ALERTS__SMTP_CONN_ID.",
            )  # fmt: skip
        found[EMAIL] = _guarded(lambda message: _email(message, settings, context), settings.smtp_conn_id)
    if settings.slack_conn_id:
        found[SLACK] = _guarded(lambda message: _slack(message, settings, context), settings.slack_conn_id)
    if settings.webhook_conn_id:
        found[WEBHOOK] = _guarded(lambda message: _webhook(message, settings, context), settings.webhook_conn_id)
    return found


def _guarded(send: Sender, conn_id: str) -> Sender:
    """The sender, with the most common errors translated to ours; a library's text may quote a token and is dropped."""

    def guarded(message: AlertMessage) -> None:
        try:
            send(message)
        except ImportError as error:
            raise MissingExtra(
                f"The notifier for the connection {conn_id} is not installed ({error.name}).",
                "Install the extra on the workers: `pip install 'kpc-migration[providers]'`.",
            ) from None
        except AirflowNotFoundException:
            raise ConfigError(
                f"Airflow has no connection {conn_id}.", "Make it, or correct KPC__ALERTS__...; see docs/alerts.md."
            ) from None
        except (ConfigError, OSError):
            raise
        except Exception as error:  # noqa: BLE001  whatever a library of a channel raises
            status = _HTTP_STATUS.search(str(error))
            said = f"HTTP {status[0]}" if status else type(error).__name__
            raise Transient(f"The connection {conn_id} did not take the message ({said}).", "") from None

    return guarded


def _email(message: AlertMessage, settings: AlertSettings, context: Mapping[str, Any]) -> None:
    from airflow.providers.smtp.notifications.smtp import SmtpNotifier  # noqa: PLC0415  slow to import

    notifier = SmtpNotifier(
        to=[address.strip() for address in settings.smtp_to.split(",") if address.strip()],
        from_email=settings.smtp_from or None,
        subject=message.title,
        html_content=as_html(message.body),
        smtp_conn_id=settings.smtp_conn_id,
    )
    if not settings.smtp_from and not Connection.get(settings.smtp_conn_id).extra_dejson.get("from_email"):
        raise ConfigError(
            f"The connection {settings.smtp_conn_id} names no sender.",
            "Set KPC__ALERTS__SMTP_FROM, or from_email in the connection's extra.",
        )
    _notify(notifier, context)


def _slack(message: AlertMessage, settings: AlertSettings, context: Mapping[str, Any]) -> None:
    from airflow.providers.slack.notifications.slack_webhook import SlackWebhookNotifier  # noqa: PLC0415  the same

    text = html.escape(f"*{message.title}*\n{message.body}", quote=False)  # Slack's own rule: & < > only
    notifier = SlackWebhookNotifier(slack_webhook_conn_id=settings.slack_conn_id, text=text, timeout=_TIMEOUT_S)
    _notify(notifier, context)


def _webhook(message: AlertMessage, settings: AlertSettings, context: Mapping[str, Any]) -> None:
    from airflow.providers.http.notifications.http import HttpNotifier  # noqa: PLC0415  the same

    notifier = HttpNotifier(
        http_conn_id=settings.webhook_conn_id,
        json={**message.facts, "title": message.title, "text": message.body, "message": message.id},
        headers={"Content-Type": "application/json"},
        extra_options={"timeout": _TIMEOUT_S},
    )
    _notify(notifier, context)


def _notify(notifier: Any, context: Mapping[str, Any]) -> None:
    notify: Callable[[Any], None] = notifier.notify
    notify(context)


def as_html(body: str) -> str:
    """The lines of a message as an e-mail: commands in a fixed-width type, the address of a page as a link."""
    lines = []
    for line in html.escape(body).split("\n"):
        line = _CODE.sub(r"<code>\1</code>", line)  # noqa: PLW2901  one replacement at a time
        if line.startswith("See http"):
            address = line.removeprefix("See ")
            line = f'See <a href="{address}">{address}</a>'  # noqa: PLW2901  the same
        lines.append(f"<p>{line}</p>")
    return "\n".join(lines)
