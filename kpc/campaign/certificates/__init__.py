"""Certificates: what a reconciliation proved about one partition, in a file that can be checked without this program's
database.

    certify(context, compared, ...)              written when a verdict is published, one per verdict
    check_certificate(path, public_key)          every contradiction in a certificate, and in its files if present
"""

from __future__ import annotations

from kpc.campaign.certificates.check import CertificateCheck, check_certificate
from kpc.campaign.certificates.content import Certificate
from kpc.campaign.certificates.issue import certify, standing_certificate
from kpc.campaign.certificates.listing import (
    CurrentCertificate,
    certificate_files,
    current_certificates,
    current_hashes,
)
from kpc.campaign.certificates.signing import public_key_pem, read_public_key

__all__ = [
    "Certificate",
    "CertificateCheck",
    "CurrentCertificate",
    "certificate_files",
    "certify",
    "check_certificate",
    "current_certificates",
    "current_hashes",
    "public_key_pem",
    "read_public_key",
    "standing_certificate",
]
