"""Where the access token may be sent: the configured host, Salesforce's own domains, and the hosts of a setting."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from kpc.errors import ConfigError, UnusableAnswer
from kpc.http_client import is_loopback
from kpc.settings import SalesforceSettings
from kpc.untrusted_text import shown

# "My Domain URL Formats" in Salesforce Help; .mil is Government Cloud, .cn Salesforce on Alibaba Cloud.
SALESFORCE_DOMAINS = (
    *("salesforce.com", "force.com", "cloudforce.com", "salesforce.mil"),
    *("sfcrmproducts.cn", "sfcrmapps.cn"),
)
_ORIGIN = re.compile(r"(https?)://([a-zA-Z0-9.-]+|\[[0-9a-fA-F:]+\])(?::(\d{1,5}))?/?", re.ASCII)
_DATA_PATH = r"/services/data/v\d{2,3}\.\d"
_PAGE_OF_LIST = r"[/?][A-Za-z0-9_.=&%-]{1,2000}"
_PORTS = {"https": 443, "http": 80}


def check_instance(named: str, settings: SalesforceSettings, base_url: str) -> str:
    """The address that a log-in named for all further requests. Raises `ConfigError` unless it may have the token.

    The configured address itself may; so may hosts of Salesforce and of the setting `token_hosts`, by https on its own
    port. An emulator on this machine may name only itself.
    """
    match = _ORIGIN.fullmatch(named)
    if match and _origin(named) == _origin(base_url):
        return named.rstrip("/")
    if match and match[1] == "https" and match[3] in (None, "443") and not is_loopback(base_url):
        host = match[2].lower()
        if host in _more_hosts(settings) or any(host.endswith(f".{domain}") for domain in SALESFORCE_DOMAINS):
            return named.rstrip("/")
    raise ConfigError(
        f"The log-in at {base_url} named '{shown(named, 120)}' for all further requests; the access token is not sent "
        "to it, because it is neither that host nor one of Salesforce's over https.",
        "Check KPC__SALESFORCE__BASE_URL; if the host is yours, add it to KPC__SALESFORCE__TOKEN_HOSTS.",
    )


def _more_hosts(settings: SalesforceSettings) -> frozenset[str]:
    return frozenset(host.strip().lower() for host in settings.token_hosts.split(",") if host.strip())


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port: what must be equal for two addresses to be one server."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    return parts.scheme.lower(), parts.hostname, port or _PORTS.get(parts.scheme.lower())


def path_within(url: str, prefix: str) -> str:
    """The path of a list's next page, as an answer names it: no host is ever taken from an answer.

    Raises `UnusableAnswer` unless it is a page below `/services/data/vXX.X` and `prefix`.
    """
    if not re.fullmatch(_DATA_PATH + re.escape(prefix) + _PAGE_OF_LIST, url, re.ASCII):
        raise UnusableAnswer(
            f"Salesforce named '{shown(url, 120)}' as the next page of {prefix}; it is not followed, because it is no "
            "page of the same list on the same server.",
            "A proxy may have sent it: check KPC__SALESFORCE__BASE_URL and the proxy, then repeat.",
        )
    return url
