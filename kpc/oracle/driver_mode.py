"""Thin or thick: whether the driver speaks the protocol itself or through Oracle's client libraries.

The driver has one mode per process, fixed by the first use. Thick mode is for servers that thin mode cannot log in to:
native network encryption (DPY-3001), releases before 12.1 (DPY-3010), 10G password verifiers (DPY-3015).
"""

from __future__ import annotations

import oracledb

from kpc.errors import ConfigError
from kpc.settings import OracleSettings
from kpc.untrusted_text import shown

_THIN_BEFORE = "DPY-2019"
_SEVERAL_LIBRARIES = "DPY-2017"
_MOST_CHARACTERS = 300


def enable(settings: OracleSettings) -> None:
    """Fix the mode that the settings name; repeating does nothing. Raises `ConfigError` if it cannot be had."""
    if not settings.thick_mode:
        _enable_thin(settings)
        return
    if settings.ca_file is not None:
        raise ConfigError(
            "KPC__ORACLE__CA_FILE is set, but in thick mode Oracle's client libraries read a wallet instead.",
            "Put the authority's certificate into a wallet (orapki wallet add -trusted_cert), name its folder in "
            "KPC__ORACLE__WALLET_LOCATION and remove KPC__ORACLE__CA_FILE.",
        )
    try:
        oracledb.init_oracle_client(
            lib_dir=str(settings.client_lib_dir) if settings.client_lib_dir else None,
            config_dir=str(settings.config_dir) if settings.config_dir else None,
        )
    except oracledb.Error as error:
        raise _unavailable(error, settings) from None


def mode(settings: OracleSettings) -> str:
    """The mode as people may read it, with the versions of the driver and of the client libraries."""
    enable(settings)
    if not settings.thick_mode:
        return f"thin mode of python-oracledb {oracledb.__version__}"
    client = ".".join(map(str, oracledb.clientversion()))
    return f"thick mode of python-oracledb {oracledb.__version__} with Oracle's client libraries {client}"


def _enable_thin(settings: OracleSettings) -> None:
    if settings.client_lib_dir is not None:
        raise ConfigError(
            "KPC__ORACLE__CLIENT_LIB_DIR is set, but thick mode is off, so that nothing would use these libraries.",
            "Set KPC__ORACLE__THICK_MODE=true, or remove KPC__ORACLE__CLIENT_LIB_DIR.",
        )
    try:
        oracledb.enable_thin_mode()  # type: ignore[no-untyped-call]  # the driver types only part of its interface
    except oracledb.Error:
        raise ConfigError(
            "This process already uses Oracle's client libraries, and a process cannot leave thick mode.",
            "Set KPC__ORACLE__THICK_MODE to the same value for all of it, or start another process.",
        ) from None


def _unavailable(error: oracledb.Error, settings: OracleSettings) -> ConfigError:
    text = shown(" ".join(str(error).split("See http")[0].split("Help:")[0].split()).rstrip("."), _MOST_CHARACTERS)
    if _THIN_BEFORE in text:
        return ConfigError(
            "This process has already connected in thin mode, and a process cannot change to thick mode.",
            "Set KPC__ORACLE__THICK_MODE=true before the first connection, or start another process.",
        )
    if _SEVERAL_LIBRARIES in text:
        return ConfigError(
            "This process has already loaded Oracle's client libraries from another folder or configuration.",
            "Keep KPC__ORACLE__CLIENT_LIB_DIR and KPC__ORACLE__CONFIG_DIR the same within one process.",
        )
    place = f"in {settings.client_lib_dir}" if settings.client_lib_dir else "on the system's library search path"
    return ConfigError(
        f"Thick mode needs Oracle's client libraries, which cannot be loaded {place}: {text}.",
        "Install Oracle Instant Client (Basic) with libaio on this machine and name its folder in "
        "KPC__ORACLE__CLIENT_LIB_DIR (on Linux also in LD_LIBRARY_PATH or ldconfig), or set "
        "KPC__ORACLE__THICK_MODE=false.",
    )
