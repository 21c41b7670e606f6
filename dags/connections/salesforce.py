"""The connection `kpc_salesforce`: fields of the official Salesforce connection type, and our own.

Login and Password are a user's in the official form, and a client id with its secret in ours. The official form is
meant as soon as the extra has one of its fields that say how or where to log in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from dags.connections.fields import ConnectionFields
from kpc.settings import SalesforceSettings

LOG_IN_HOST = "https://login.salesforce.com"  # of the provider, if a connection names no address
_ADDRESS = ("instance_url", "instance", "domain")
_FORM = (
    *("security_token", "consumer_key", "consumer_secret", "private_key_file_path", "session_id", "organization_id"),
    *_ADDRESS,
)
_BOTH = ("version", "proxies", "private_key")
_PEM = re.compile(r"\s*(-----BEGIN [A-Z ]+-----)(.*?)(-----END [A-Z ]+-----)\s*", re.DOTALL)
_LINE = 64  # characters of a line of PEM (RFC 7468)


def salesforce_settings(fields: ConnectionFields) -> dict[str, Any]:
    """Values for `SalesforceSettings`. Raises `ConfigError`, without any value, for fields that cannot be used."""
    own = fields.own(SalesforceSettings.model_fields, (*_FORM, *_BOTH))
    is_official = is_official_form(fields)
    address = _address(fields) if is_official else _url(fields.host, fields)
    official = {
        "base_url": ("an address", address),
        "api_version": ("version", _version(fields)),
        "private_key": ("private_key", _key(fields)),
        **(_official(fields) if is_official else _ours(fields)),
    }
    own.pop("private_key", None)
    if is_official and "consumer_key" in fields.extra:
        own.pop("client_id", None)  # there, the name of the calling program
    settings = fields.merged(official, own)
    if proxy := _proxy(fields, str(settings.get("base_url") or LOG_IN_HOST)):
        settings.setdefault("proxy", proxy)
    return settings


def is_official_form(fields: ConnectionFields) -> bool:
    """Whether Login and Password are a user's."""
    return bool(fields.given(_FORM)) or (bool(fields.given(["private_key"])) and "client_id" not in fields.extra)


def _ours(fields: ConnectionFields) -> dict[str, tuple[str, Any]]:
    return {"client_id": ("Login", fields.login), "client_secret": ("Password", fields.password)}


def _official(fields: ConnectionFields) -> dict[str, tuple[str, Any]]:
    """Raises `ConfigError` unless the fields of one way to log in are complete."""
    fields_of = {
        "access_token": ("session_id", fields.text("session_id")),
        "client_id": ("consumer_key", fields.text("consumer_key")),
        "client_secret": ("consumer_secret", fields.text("consumer_secret")),
        "private_key_file": ("private_key_file_path", fields.text("private_key_file_path")),
        "username": ("Login", fields.login),
        "password": ("Password", fields.password),
        "security_token": ("security_token", fields.text("security_token")),
        "org_id": ("organization_id", fields.text("organization_id")),
    }
    has = {name for name, (_, value) in fields_of.items() if value} | {"private_key"} & fields.extra.keys()
    _check_complete(fields, has | {name for name in ("client_id", "client_secret") if name in fields.extra})
    return fields_of


def _check_complete(fields: ConnectionFields, has: set[str]) -> None:
    has_key = bool(has & {"private_key", "private_key_file"})
    if "access_token" in has:
        if not (fields.given(_ADDRESS) or fields.host):
            raise fields.refused(
                "has a session_id but does not say of which org it is",
                "Set instance_url to https://NAME.my.salesforce.com.",
            )
    elif has_key and "client_id" not in has:
        raise fields.refused("has a private key but no consumer_key", "Set consumer_key to the connected app's.")
    elif has_key and "username" not in has:
        raise fields.refused("has a private key but no Login", "Set Login to the user on whose behalf the app acts.")
    elif "client_id" in has and not has_key and "client_secret" not in has:
        raise fields.refused(
            "has a consumer_key but neither consumer_secret nor private_key",
            "Set one of them, as the connected app's flow demands.",
        )
    elif "client_id" not in has and not {"username", "password"} <= has:
        raise fields.refused(
            "has no complete way to log in",
            "Set consumer_key with consumer_secret, or with private_key and Login; or Login, Password and "
            "security_token; or session_id with instance_url.",
        )


def _address(fields: ConnectionFields) -> str | None:
    """Where to log in: the org itself if it is named, else the domain; None if the connection names neither."""
    if fields.host and fields.given(_ADDRESS):
        raise fields.refused(
            f"has two addresses, Host and {fields.given(_ADDRESS)[0]}", "Keep one: empty Host, or remove the extra."
        )
    if url := _url(fields.text("instance_url") or fields.text("instance") or fields.host, fields):
        return url
    domain = fields.text("domain")
    if not domain:
        return None
    host = domain.rpartition("://")[2].rstrip("/").removesuffix(".salesforce.com")
    return f"https://{host}.salesforce.com"


def _url(text: str | None, fields: ConnectionFields) -> str | None:
    if not text:
        return None
    url = text if "://" in text else f"https://{text}"
    return f"{url}:{fields.port}" if fields.port and text == fields.host and ":" not in urlsplit(url).netloc else url


def _version(fields: ConnectionFields) -> str | None:
    """`62`, `62.0` and `v62.0` are one version."""
    text = (fields.text("version") or "").removeprefix("v")
    return (text if "." in text else f"{text}.0") if text else None


def _key(fields: ConnectionFields) -> str | None:
    r"""PEM text with its line ends: a form's single line has none, a variable has the two characters \n instead."""
    text = fields.text("private_key")
    if not text:
        return None
    found = _PEM.fullmatch(text.replace("\\n", "\n"))
    if found is None:
        raise fields.refused(
            "has a private_key that is no key in PEM form", "Paste the whole file, from -----BEGIN to -----END."
        )
    begin, body, end = found.groups()
    if ":" in body:  # headers of an encrypted key
        return text.replace("\\n", "\n")
    whole = "".join(body.split())
    return "\n".join([begin, *(whole[at : at + _LINE] for at in range(0, len(whole), _LINE)), end, ""])


def _proxy(fields: ConnectionFields, base_url: str) -> str | None:
    """The entry of `proxies` for this address, chosen as the library of the provider does: the most specific one."""
    proxies = _decoded(fields.extra.get("proxies"))
    if isinstance(proxies, str) or proxies is None:
        return proxies
    if not isinstance(proxies, Mapping) or not all(isinstance(url, str) for url in proxies.values()):
        raise fields.refused(
            "has proxies that are no object", 'Write them as {"https": "http://HOST:PORT"}, or one address as a text.'
        )
    parts = urlsplit(base_url)
    wanted = (f"{parts.scheme}://{parts.hostname}", parts.scheme, f"all://{parts.hostname}", "all")
    return next((str(proxies[name]) for name in wanted if proxies.get(name)), None)


def _decoded(value: object) -> object:
    """The provider's form has a field of text for what must be an object."""
    if not isinstance(value, str) or not value.lstrip().startswith("{"):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return [value]  # refused as no object
