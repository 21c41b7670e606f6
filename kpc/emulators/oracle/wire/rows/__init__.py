"""Arrow batches as wire bytes: an encoder per type, whole columns at a time."""
