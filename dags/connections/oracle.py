"""The connection `kpc_oracle`: fields of the official Oracle connection type, and our own, as `OracleSettings`."""

from __future__ import annotations

import re
from typing import Any

from dags.connections.fields import ConnectionFields
from kpc.settings import OracleSettings

_PORT = 1521
_UNSAFE = re.compile(r"[()=\"'\s\\]")  # what would end a part of a connect descriptor
_ADDRESS = ("service_name", "sid", "dsn")
_SAME = {  # the provider's name: ours
    "thick_mode": "thick_mode",
    "thick_mode_lib_dir": "client_lib_dir",
    "thick_mode_config_dir": "config_dir",
    "expire_time": "expire_time_min",
    "wallet_location": "wallet_location",
    "wallet_password": "wallet_password",
    "ssl_server_dn_match": "ssl_server_dn_match",
    "ssl_server_cert_dn": "ssl_server_cert_dn",
}
# Read by hooks of the provider; they change nothing about how rows are read here.
WITHOUT_EFFECT = (
    *("fetch_decimals", "fetch_lobs", "events", "purity", "cclass", "module", "encoding", "nencoding", "threaded"),
    *("placeholder", "placeholders", "sqlalchemy_scheme", "autocommit"),
)
_REFUSED = {
    "mode": "Remove mode, and name a user who may read the tables: the migration never logs in as SYSDBA or the like.",
    "pool_name": "Remove pool_name: sessions live for hours and take no server of a resident pool (DRCP).",
}


def oracle_settings(fields: ConnectionFields) -> dict[str, Any]:
    """Values for `OracleSettings`. Raises `ConfigError`, without any value, for fields that cannot be used."""
    if fields.given(["mode"]) and (fields.text("mode") or "").lower() != "default":
        raise fields.refused("asks for a special mode of log-in (mode)", _REFUSED["mode"])
    if fields.given(["pool_name"]):
        raise fields.refused("names a resident pool (pool_name)", _REFUSED["pool_name"])
    known = OracleSettings.model_fields
    own = fields.own(known, (*_SAME, *_ADDRESS, *WITHOUT_EFFECT, *_REFUSED))
    own.pop("dsn", None)  # one name for the provider and for us
    official = {
        "user": ("Login", fields.login),
        "password": ("Password", fields.password),
        "dsn": ("Host", _dsn(fields)),
        "owner": ("Schema", _owner(fields)),
        **{ours: (theirs, fields.extra.get(theirs)) for theirs, ours in _SAME.items()},
    }
    return fields.merged(official, own)


def _dsn(fields: ConnectionFields) -> str | None:
    """The address as the provider's hook builds it; None if the connection has none."""
    service, sid, dsn = (fields.text(name) for name in _ADDRESS)
    given = fields.given(_ADDRESS)
    if len(given) > 1:
        raise fields.refused(f"has more than one address: {' and '.join(given)}", "Keep one of these extras.")
    if dsn:
        if fields.host and fields.schema:
            raise fields.refused(
                "has two addresses, Host with Schema and the extra dsn",
                "Keep one: empty Host, or remove dsn.",
            )
        return dsn
    if given and not fields.host:
        raise fields.refused(f"has a {given[0]} but no Host", "Set Host, and Port if it is not 1521.")
    if not fields.host:
        return None
    if sid:
        return _with_sid(fields, sid)
    if service := service or fields.schema:
        return f"{_bracketed(fields.host)}:{fields.port or _PORT}/{service}"
    return fields.host if fields.port is None else f"{_bracketed(fields.host)}:{fields.port}"


def _owner(fields: ConnectionFields) -> str | None:
    """Schema is the service, unless the service is named elsewhere: then it is the schema of the tables."""
    return fields.schema if fields.given(_ADDRESS) else None


def _with_sid(fields: ConnectionFields, sid: str) -> str:
    """Only a connect descriptor can name a SID."""
    protocol, _, host = str(fields.host).rpartition("://")
    for name, value in (("sid", sid), ("Host", host)):
        if _UNSAFE.search(value):
            raise fields.refused(
                f"has a {name} with a bracket, a blank or another mark that no name has", "Correct it."
            )
    address = f"(ADDRESS=(PROTOCOL={protocol or 'TCP'})(HOST={host})(PORT={fields.port or _PORT}))"
    return f"(DESCRIPTION={address}(CONNECT_DATA=(SID={sid})))"


def _bracketed(host: str) -> str:
    """An IPv6 address in brackets, so that its last part is not taken for a port."""
    return f"[{host}]" if host.count(":") > 1 and not host.startswith(("[", "(")) and "://" not in host else host
