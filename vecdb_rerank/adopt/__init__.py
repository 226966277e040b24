"""Find out how to search a collection that others made: from its description to a configuration."""
