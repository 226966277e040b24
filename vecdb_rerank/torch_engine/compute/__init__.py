"""Forward passes without padding."""
