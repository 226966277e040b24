"""Reports of an evaluation: tables, charts, HTML."""
