"""What every stage run shares: lease, booking, audit entry, result, and the quota governor."""
