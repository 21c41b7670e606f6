"""Benchmarks: the cost of the migration on this machine, against the emulators and beside other tools.

Each benchmark is one module with one function that returns its `Figure`s; `kpc.cli.bench` prints them. A
`kpc.processes.Keeper` owns all servers that a benchmark starts and ends them.
"""
