"""The process: signals, workers, and the admin listener."""
