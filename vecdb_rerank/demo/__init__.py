"""The demo: a search over the docstrings of the Python standard library."""
