"""See `pipeline.py` for the graph and `nodes.py` for what its nodes call."""
