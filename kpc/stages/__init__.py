"""What all stages share: lease, ledger entry, audit entry, result, and the quota governor."""
