"""Measure search quality and latency on judged queries."""
