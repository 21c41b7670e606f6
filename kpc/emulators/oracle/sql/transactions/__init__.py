"""Open transactions, their locks, and the statements that control them."""
