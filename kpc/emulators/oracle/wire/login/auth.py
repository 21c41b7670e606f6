"""Login: O5LOGON with the 12c verifier. The password itself never travels, and neither side can be impersonated.

Both sides derive the password's key, exchange random halves encrypted with it, and build a session key from the halves;
the client proves itself with the password under the session key, the server with a fixed text.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from kpc.emulators.oracle.interface import OraError
from kpc.emulators.oracle.wire.transport.packets import ProtocolError
from kpc.emulators.oracle.wire.transport.streams import RequestStream
from kpc.emulators.oracle.wire.values.codec import dalc, ub

PHASE_ONE = 118
PHASE_TWO = 115
VERIFIER_12C = 0x4815
VERIFIER_10G = 0x939
MODE_PRIVILEGED = 0x20 | 0x40 | 0x00400000 | 0x0F000000  # SYSDBA, SYSOPER and similar
_SPEEDY = b"AUTH_PBKDF2_SPEEDY_KEY"
_GENERATE_ROUNDS = 4096
_SESSION_ROUNDS = 3
_MAX_PAIRS = 256


@dataclass(frozen=True, slots=True)
class AuthRequest:
    user: str
    mode: int
    pairs: dict[str, str] = field(default_factory=dict)


def read_auth(stream: RequestStream) -> AuthRequest:
    """The body of an authentication request, after the function header."""
    has_user = stream.u8()
    stream.ub()
    mode = stream.ub()
    stream.u8()
    count = stream.ub()
    stream.raw(2)
    if count > _MAX_PAIRS:
        raise ProtocolError(f"{count} authentication pairs")
    user = (stream.clr() or b"").decode(errors="replace") if has_user else ""
    pairs = {}
    for _ in range(count):
        key, value = stream.dalc(), stream.dalc()
        stream.ub()
        pairs[key.decode(errors="replace").rstrip("\0")] = value.decode(errors="replace")
    return AuthRequest(user, mode, pairs)


def pairs_message(pairs: list[tuple[str, str, int]]) -> bytes:
    """A parameter message (8) of (key, value, flags)."""
    body = [b"\x08", ub(len(pairs))]
    for key, value, flags in pairs:
        body += [dalc(key.encode()), dalc(value.encode()), ub(flags)]
    return b"".join(body)


def user_name(given: str) -> str:
    """As Oracle reads it: upper case unless quoted."""
    return given[1:-1] if len(given) > 1 and given.startswith('"') and given.endswith('"') else given.upper()


class Verifier:
    """One login's exchange. For an unknown user it runs against a random password, so the answers look the same."""

    def __init__(self, password: str | None) -> None:
        self._password = (password if password is not None else secrets.token_urlsafe(24)).encode()
        self._is_known = password is not None
        self._salt = secrets.token_bytes(16)
        self._session_salt = secrets.token_bytes(16)
        self._server_half = secrets.token_bytes(32)
        key = hashlib.pbkdf2_hmac("sha512", self._password, self._salt + _SPEEDY, _GENERATE_ROUNDS, 64)
        self._key = hashlib.sha512(key + self._salt).digest()[:32]
        self._session_key = b""

    def challenge(self) -> list[tuple[str, str, int]]:
        return [
            ("AUTH_SESSKEY", _encrypt(self._key, self._server_half).hex().upper(), 0),
            ("AUTH_VFR_DATA", self._salt.hex().upper(), VERIFIER_12C),
            ("AUTH_PBKDF2_CSK_SALT", self._session_salt.hex().upper(), 0),
            ("AUTH_PBKDF2_VGEN_COUNT", str(_GENERATE_ROUNDS), 0),
            ("AUTH_PBKDF2_SDER_COUNT", str(_SESSION_ROUNDS), 0),
        ]

    def challenge_10g(self) -> list[tuple[str, str, int]]:
        """As for an account that has a 10G verifier only: no salt, and a session key of 16 bytes by DES."""
        return [("AUTH_SESSKEY", secrets.token_hex(16).upper(), 0), ("AUTH_VFR_DATA", "", VERIFIER_10G)]

    def check(self, request: AuthRequest) -> str:
        """The server's own proof (AUTH_SVR_RESPONSE); raises ORA-01017 for a wrong password."""
        try:
            client_half = _decrypt(self._key, bytes.fromhex(request.pairs["AUTH_SESSKEY"]))[:32]
            self._session_key = hashlib.pbkdf2_hmac(
                "sha512",
                (client_half + self._server_half).hex().upper().encode(),
                self._session_salt,
                _SESSION_ROUNDS,
                32,
            )
            given = _unpadded(_decrypt(self._session_key, bytes.fromhex(request.pairs["AUTH_PASSWORD"])))[16:]
        except (KeyError, ValueError) as error:
            raise _refused() from error
        if not hmac.compare_digest(given, self._password) or not self._is_known:
            raise _refused()
        return _encrypt(self._session_key, secrets.token_bytes(16) + b"SERVER_TO_CLIENT").hex().upper()


def _refused() -> OraError:
    return OraError(1017, "invalid username/password; logon denied")


def _cipher(key: bytes) -> Cipher[modes.CBC]:
    # The all-zero vector is the protocol's choice; each plaintext begins with, or is, random bytes.
    return Cipher(algorithms.AES(key), modes.CBC(bytes(16)))


def _encrypt(key: bytes, data: bytes) -> bytes:
    encryptor = _cipher(key).encryptor()
    return encryptor.update(data) + encryptor.finalize()


def _decrypt(key: bytes, data: bytes) -> bytes:
    decryptor = _cipher(key).decryptor()
    return decryptor.update(data) + decryptor.finalize()


def _unpadded(data: bytes) -> bytes:
    """Without its PKCS7 padding; a wrong key gives invalid padding."""
    size = data[-1] if data else 0
    if not 1 <= size <= 16 or data[-size:] != bytes((size,)) * size:
        raise ValueError("padding")
    return data[:-size]


def version_number(version: tuple[int, ...], field_version: int) -> int:
    """AUTH_VERSION_NO; its packing changed with field version 11."""
    a, b, c, d, e = (*version, 0, 0, 0, 0, 0)[:5]
    if field_version >= 11:
        return a << 24 | b << 16 | c << 12 | d << 4 | e
    return a << 24 | b << 20 | c << 12 | d << 8 | e
