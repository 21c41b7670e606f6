"""The HTTP side: sockets, TLS, routing, and what every request passes before an endpoint sees it."""
