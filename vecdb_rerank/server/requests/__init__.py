"""One request: from its head to its answer, its trace and its log line."""
