"""Tools for agents, over HTTP and standard input."""
