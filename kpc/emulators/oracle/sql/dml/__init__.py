"""INSERT, UPDATE, DELETE and MERGE: the effect is computed, checked against the constraints, and applied."""
