"""What a query costs: which index serves it, how many seconds it takes at full size, and what was asked so far."""
