"""Kedro datasets: whole or absent, and of known origin. Reached through the catalog's YAML."""
