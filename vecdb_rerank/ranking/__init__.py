"""Scores in, order out: pure functions."""
