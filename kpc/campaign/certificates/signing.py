"""Ed25519 signatures of certificates and exports. The key is a secret setting, the public one a file for auditors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from kpc.errors import ConfigError

if TYPE_CHECKING:
    from kpc.settings import Settings

_HEX_KEY = re.compile(r"[0-9a-fA-F]{64}")


def private_key(settings: Settings) -> Ed25519PrivateKey | None:
    """The key to sign with; None if none is set. Raises `ConfigError`, without the value, if it is not a key."""
    text = settings.certificate_key.get_secret_value().strip()
    if not text:
        return None
    if not _HEX_KEY.fullmatch(text):
        raise ConfigError(
            "KPC__CERTIFICATE_KEY is not an Ed25519 key: it must be 64 hexadecimal digits.",
            "Make one with `openssl rand -hex 32` and keep it as a secret.",
        )
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text))


def sign(key: Ed25519PrivateKey, text: str) -> tuple[str, str]:
    """The public key and the signature of a text, both in hexadecimal."""
    return _hex(key.public_key()), key.sign(text.encode()).hex()


def is_signed(public_key: str, value: str, text: str) -> bool:
    """Whether `value` is the signature of the text by this key, both in hexadecimal."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(bytes.fromhex(value), text.encode())
    except (InvalidSignature, ValueError):
        return False
    return True


def public_key_pem(settings: Settings) -> str:
    """The public key in PEM, for whoever checks certificates. Raises `ConfigError` if no key is set."""
    key = private_key(settings)
    if key is None:
        raise ConfigError(
            "No key for signing certificates is set.",
            "Set KPC__CERTIFICATE_KEY to 64 hexadecimal digits (`openssl rand -hex 32`).",
        )
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def read_public_key(path: Path) -> str:
    """A public key file (PEM) in hexadecimal. Raises `ConfigError`."""
    remedy = "Name the file that `kpc certificate public-key` printed."
    try:
        key = load_pem_public_key(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"The public key {path} cannot be read: {error.strerror}.", remedy) from None
    except ValueError:
        raise ConfigError(f"{path} is not a public key in PEM.", remedy) from None
    if not isinstance(key, Ed25519PublicKey):
        raise ConfigError(f"The key in {path} is not an Ed25519 key.", remedy)
    return _hex(key)


def _hex(key: Ed25519PublicKey) -> str:
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
