"""Read records from files, one at a time: JSON, CSV, TSV, Markdown, text and Parquet."""
