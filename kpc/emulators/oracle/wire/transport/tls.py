"""TLS in front of the listener: a throw-away certificate authority, and a proxy that decrypts."""

from __future__ import annotations

import contextlib
import logging
import secrets
import shutil
import socket
import ssl
import tempfile
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

log = logging.getLogger(__name__)

HOST_NAME = "localhost"
_VALID = timedelta(days=30)
_HANDSHAKE_S = 10.0
_PIECE_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Wallet:
    """A folder with what a client needs to trust the server: `ca.pem`, and the same as an Oracle wallet.

    With a `password` the wallet also holds the client's own certificate, whose key is encrypted with it.
    """

    folder: Path
    password: str = ""

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.pem"

    @property
    def certificate_file(self) -> Path:
        return self.folder / "server.pem"

    @property
    def key_file(self) -> Path:
        return self.folder / "server-key.pem"


def make_wallet(folder: Path, password: str = "") -> Wallet:
    """A new authority, whose own key is not kept, a certificate for this machine, and with a password the client's."""
    wallet = Wallet(folder, password)
    ca_key, key, client_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    ca_name = _name("KPC Oracle emulator throw-away CA")
    authority = _certificate(ca_name, ca_name, ca_key, ca_key, is_ca=True)
    certificate = _certificate(_name(HOST_NAME), ca_name, key, ca_key, is_ca=False)
    pem = serialization.Encoding.PEM
    wallet.ca_file.write_bytes(authority.public_bytes(pem))
    own: list[bytes] = []
    if password:
        client = _certificate(_name("KPC migration"), ca_name, client_key, ca_key, is_ca=False)
        encryption = serialization.BestAvailableEncryption(password.encode())
        own = [client.public_bytes(pem), client_key.private_bytes(pem, serialization.PrivateFormat.PKCS8, encryption)]
    (folder / "ewallet.pem").write_bytes(b"".join([*own, authority.public_bytes(pem)]))
    wallet.certificate_file.write_bytes(certificate.public_bytes(pem))
    wallet.key_file.touch(mode=0o600)
    wallet.key_file.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return wallet


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    is_ca: bool,
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=0 if is_ca else None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if not is_ca:
        names = x509.SubjectAlternativeName([x509.DNSName(HOST_NAME)])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(signer, hashes.SHA256())


class TlsProxy:
    """A port that speaks TLS and passes every connection on to the listener's plain port.

    With `demands_certificate` a client must have one of its own (SSL_CLIENT_AUTHENTICATION = TRUE): that in the wallet.
    """

    def __init__(
        self, plain_port: int, *, host: str = "127.0.0.1", port: int = 0, demands_certificate: bool = False
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="oracle-emulator-wallet-"))
        self.wallet = make_wallet(self.folder, secrets.token_urlsafe(18) if demands_certificate else "")
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.wallet.certificate_file, self.wallet.key_file)
        if demands_certificate:
            self._context.verify_mode = ssl.CERT_REQUIRED
            self._context.load_verify_locations(self.wallet.ca_file)
        self._plain = (host, plain_port)
        self._listener = socket.create_server((host, port))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="oracle tls", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _accept(self) -> None:
        while True:
            try:
                sock, peer = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock, str(peer)), name=f"tls {peer}", daemon=True).start()

    def _serve(self, sock: socket.socket, peer: str) -> None:
        sock.settimeout(_HANDSHAKE_S)
        try:
            with (
                self._context.wrap_socket(sock, server_side=True) as outside,
                socket.create_connection(self._plain) as inside,
            ):
                outside.settimeout(None)
                back = threading.Thread(target=_pass_on, args=(inside, outside), daemon=True)
                back.start()
                _pass_on(outside, inside)
                back.join()
        except OSError as error:
            log.warning("%s does not get through TLS: %s", peer, error)
            sock.close()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    """Bytes one way until either side ends; then both ways end."""
    with contextlib.suppress(OSError):
        while data := source.recv(_PIECE_BYTES):
            target.sendall(data)
    for sock in (source, target):
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)
