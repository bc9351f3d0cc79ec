"""Metrics, the noise floor and uncertainty of everything that is scored."""
