"""The published library's results, faults included: parity, behind the switch ``published``."""
