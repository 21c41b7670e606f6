"""The HTTP side: sockets, TLS, faults of the network, and the forms of requests and answers."""
