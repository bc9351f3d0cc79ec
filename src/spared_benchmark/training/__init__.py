"""Gradient training: one loop, one sweep over learning rates, resumed from what is on disk."""
