"""The route that searches."""
