"""Connections: sockets, TLS, and the limits of what one may take."""
