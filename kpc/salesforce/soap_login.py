"""The SOAP log-in with a user's password: what the official Airflow connection means by a security token.

"login()" in Salesforce's SOAP API Developer Guide. Orgs that were made lately do not allow it, and no version of the
API after 64.0 has it; the session that it gives is used like an OAuth access token.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import httpx

from kpc.errors import ConfigError, KpcError
from kpc.salesforce.answers import refused_login
from kpc.settings import SalesforceSettings
from kpc.untrusted_text import shown

LAST_VERSION = 64.0  # of the API that has the call
SOAP_HEADERS = {"Content-Type": "text/xml; charset=UTF-8", "SOAPAction": "login"}
_ENVELOPE = (
    '<?xml version="1.0" encoding="UTF-8"?><e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/" '
    'xmlns:p="urn:partner.soap.sforce.com"><e:Body><p:login><p:username>{username}</p:username>'
    "<p:password>{password}</p:password></p:login></e:Body></e:Envelope>"
)
_OAUTH_INSTEAD = (
    "use a connected app: KPC__SALESFORCE__CLIENT_ID with KPC__SALESFORCE__CLIENT_SECRET or KPC__SALESFORCE__"
    "PRIVATE_KEY_FILE (in Airflow: consumer_key with consumer_secret or private_key)"
)
_REMEDIES = {
    "INVALID_LOGIN": "Correct KPC__SALESFORCE__USERNAME, KPC__SALESFORCE__PASSWORD and KPC__SALESFORCE__SECURITY_TOKEN "
    "(the org mails a new token after each change of the password); for a sandbox log in at its own address.",
    "LOGIN_MUST_USE_SECURITY_TOKEN": "Set KPC__SALESFORCE__SECURITY_TOKEN, or have this machine's address trusted in "
    "Setup, Network Access.",
    "INVALID_OPERATION": f"The org does not allow this log-in; {_OAUTH_INSTEAD}.",
    "API_DISABLED_FOR_ORG": f"The org does not allow this log-in; {_OAUTH_INSTEAD}.",
}


@dataclass(frozen=True, slots=True)
class SoapSession:
    """What the call answers: a session, the address for all further requests, and whose it is."""

    session_id: str = field(repr=False)
    instance_url: str
    org_id: str
    user_id: str


def soap_path(settings: SalesforceSettings) -> str:
    version = settings.api_version if float(settings.api_version) <= LAST_VERSION else str(LAST_VERSION)
    return f"/services/Soap/u/{version}"


def soap_request(settings: SalesforceSettings) -> bytes:
    password = settings.password.get_secret_value() + settings.security_token.get_secret_value()
    return _ENVELOPE.format(username=escape(settings.username), password=escape(password)).encode()


def soap_session(answer: httpx.Response, base_url: str) -> SoapSession | None:
    """The session; None if the answer is no such thing. Raises the error that a refusal means."""
    texts = _texts(answer.content)
    if code := texts.get("exceptionCode") or texts.get("faultcode"):
        raise _refused(code.rpartition(":")[2], texts.get("exceptionMessage") or texts.get("faultstring", ""), base_url)
    if answer.status_code != 200:
        raise refused_login(answer, base_url)
    try:
        server = urlsplit(texts["serverUrl"])
        return SoapSession(
            texts["sessionId"], f"{server.scheme}://{server.netloc}", texts["organizationId"], texts["userId"]
        )
    except (KeyError, ValueError):
        return None


def _refused(code: str, reason: str, base_url: str) -> KpcError:
    what = f"Salesforce refused the log-in at {base_url}: {shown(code, 80)} ({shown(reason)})."
    return ConfigError(what, _REMEDIES.get(code, "Check the user in Setup: Login History has the reason."))


def _texts(content: bytes) -> dict[str, str]:
    """The first text of each element by its local name; empty for what is no XML, or declares entities."""
    if b"<!" in content:
        return {}
    try:
        root = ElementTree.fromstring(content)  # noqa: S314  declarations of entities were refused above
    except ElementTree.ParseError:
        return {}
    found: dict[str, str] = {}
    for element in root.iter():
        found.setdefault(element.tag.rpartition("}")[2], (element.text or "").strip())
    return found
