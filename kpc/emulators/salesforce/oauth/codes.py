"""Codes that are exchanged for a token: of the web server flow, with or without PKCE, and of the device flow."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
from dataclasses import dataclass

from kpc.emulators.salesforce.org.org import Org

_LIFETIME_S = 900  # Salesforce: a code of the web server flow expires after 15 minutes; assumed for devices too
_MOST_CODES = 10_000  # our own limit


@dataclass(frozen=True, slots=True)
class Code:
    """`challenge` is PKCE's, empty when the client did not send one; `expires` is org time in seconds."""

    user_id: str
    redirect_uri: str
    challenge: str
    expires: float

    def verifies(self, verifier: str) -> bool:
        """The verifier is the one that the challenge was made of (RFC 7636; Salesforce knows S256 only)."""
        if not self.challenge:
            return True
        digest = hashlib.sha256(verifier.encode()).digest()
        made = base64.urlsafe_b64encode(digest).rstrip(b"=")
        return hmac.compare_digest(made, self.challenge.encode().rstrip(b"="))


class Codes:
    """Each is good once, for a quarter of an hour."""

    def __init__(self, org: Org) -> None:
        self._org = org
        self._lock = threading.Lock()
        self._codes: dict[str, Code] = {}

    def issue(self, user_id: str, redirect_uri: str = "", challenge: str = "") -> str:
        text = f"aPrx{secrets.token_urlsafe(42)}"
        with self._lock:
            while len(self._codes) >= _MOST_CODES:
                del self._codes[next(iter(self._codes))]
            self._codes[text] = Code(user_id, redirect_uri, challenge, self._now() + _LIFETIME_S)
        return text

    def take(self, text: str) -> Code | None:
        """Return the code and make it unusable; None if it is unknown, used or expired."""
        with self._lock:
            code = self._codes.pop(text, None)
        return code if code and code.expires > self._now() else None

    def _now(self) -> float:
        return self._org.clock.now().timestamp()
