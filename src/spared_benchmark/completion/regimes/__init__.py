"""Ways of hiding entries, one per file."""
