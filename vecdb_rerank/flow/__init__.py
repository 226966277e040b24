"""I/O as yielded steps: a generator yields what it needs, a driver performs it."""
