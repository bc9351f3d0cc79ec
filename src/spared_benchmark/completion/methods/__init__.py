"""Completers, one per file; each is found by its file name."""
