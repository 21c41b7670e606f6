"""The wire side: bytes on a socket become calls on `interface.Session`, and its answers become bytes.

It knows no SQL; it never imports `kpc.emulators.oracle.sql`.
"""
