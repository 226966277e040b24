"""Settings: their schema, where they are read from, and what is built from them."""
