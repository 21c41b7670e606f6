"""Servers that speak the real protocols on real sockets: everything runs and is tested without Oracle or Salesforce.

They import the catalog, never the clients. What they print says "emulator": nothing they prove is a claim about Oracle
or Salesforce themselves.
"""
