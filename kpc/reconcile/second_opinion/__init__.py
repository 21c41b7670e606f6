"""Oracle's own opinion on what Salesforce must hold, from an independent implementation of docs/values.md.

Nothing here imports `kpc.convert`: the purpose is that a fault there, or here, shows as a difference.
"""
