"""Figures of completion: pure functions from the tidy scores, or from AnnData, to figures."""
