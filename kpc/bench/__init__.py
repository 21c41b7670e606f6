"""What the migration costs, measured on this machine against the emulators and beside what others would do.

Each bench is one module with one function that returns its `Figure`s; `kpc.cli.bench` prints them. Whatever a bench
starts is kept by a `kpc.processes.Keeper` and ends with it.
"""
