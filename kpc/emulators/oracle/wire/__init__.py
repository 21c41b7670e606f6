"""The wire side: bytes on a socket become calls on `interface.DatabaseSession`, and its answers bytes.

It knows no SQL; it never imports `kpc.emulators.oracle.sql`.
"""
