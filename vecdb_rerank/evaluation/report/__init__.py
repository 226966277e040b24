"""Show the result of an evaluation as tables, charts and an HTML page."""
