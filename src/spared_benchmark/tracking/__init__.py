"""What MLflow sees of a run; it shows everything and decides nothing.

Only the pipeline's hooks come here. Importing this package does not import MLflow.
"""

from spared_benchmark.tracking.hooks import TrackingHooks

__all__ = ["TrackingHooks"]
