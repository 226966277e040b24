"""Calling rerankers in order, in time and within budget: the only place with that state."""
