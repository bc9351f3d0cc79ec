"""Figures of the report: one file per figure, each a function from tables to a ``Figure``."""
