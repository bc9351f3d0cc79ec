"""Kedro's settings of this project; nothing heavy is imported here, every command pays for it."""

import os
import warnings

# Before anything of Kedro or MLflow could send a report. MLflow wants the literal word "true".
for _variable in ("KEDRO_DISABLE_TELEMETRY", "DO_NOT_TRACK", "MLFLOW_DISABLE_TELEMETRY"):
    os.environ.setdefault(_variable, "true")

# Kedro 1.7 registers its resolvers by a name that omegaconf 2.4 has deprecated.
warnings.filterwarnings("ignore", message="register_new_resolver")
# The report stands outside the cohorts' namespaces and reads from within them.
warnings.filterwarnings("ignore", message="One or more dataset names contain '.'")

from spared_benchmark.hooks import RunHooks  # noqa: E402
from spared_benchmark.study_loader import StudyConfigLoader  # noqa: E402
from spared_benchmark.tracking import TrackingHooks  # noqa: E402

HOOKS = (TrackingHooks(), RunHooks())  # last in, first out: a refused run opens no tracking run
DISABLE_HOOKS_FOR_PLUGINS = ("kedro-telemetry",)
CONFIG_LOADER_CLASS = StudyConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {
        "study": ["study*.yml", "cohorts/*.yml", "cohorts*.yml"],
        "mlflow": ["mlflow*.yml"],
    },
    # A study changes single settings: without this, an environment would replace whole sections.
    "merge_strategy": {"parameters": "soft", "study": "soft", "mlflow": "soft"},
}
