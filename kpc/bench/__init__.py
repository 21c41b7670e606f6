"""Benchmarks: the cost of the migration on this machine, against the emulators and beside other tools.

Each bench is one module with one function that returns its `Figure`s; `kpc.cli.bench` prints them. Whatever a bench
starts is kept by a `kpc.processes.Keeper` and ends with it.
"""
