"""Oracle's own opinion of what Salesforce must hold, from an implementation of docs/values.md of its own.

Nothing here imports `kpc.convert`: the point is that a fault there, or here, shows as a difference.
"""
