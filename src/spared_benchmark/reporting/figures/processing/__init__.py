"""Figures of processing, one file per stage; `stages.py` draws them all."""
