"""The audit: whether ledger, files and results still agree with the audit log, and the log with its anchors.

check_audit(ledger, places, anchors)    all findings, with count, time span and head of the log
export_log(ledger, key)                 the log as JSON lines; the last line is an anchor, and signed
check_export(path, public_key)          whether an exported log is as it was written
"""

from __future__ import annotations

from kpc.campaign.audit.anchors import Anchor, anchors_beside, read_anchors
from kpc.campaign.audit.check import AuditCheck, check_audit
from kpc.campaign.audit.export import check_export, export_log
from kpc.campaign.audit.places import Places, places_of

__all__ = [
    "Anchor",
    "AuditCheck",
    "Places",
    "anchors_beside",
    "check_audit",
    "check_export",
    "export_log",
    "places_of",
    "read_anchors",
]
