"""Packets and streams: framing on the socket, messages inside DATA packets, TLS in front of the listener."""
