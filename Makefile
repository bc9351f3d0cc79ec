# Each command sets up what it needs: a virtual environment with the pinned packages.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready

.PHONY: run test viz mlflow clean
.DEFAULT_GOAL := run

run: $(READY)
	$(BIN)/kedro run

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadscope

viz: $(READY)
	$(BIN)/kedro viz run

mlflow: $(READY)
	MLFLOW_DISABLE_TELEMETRY=true $(BIN)/mlflow ui

# Everything that runs have made, trained models too. Raw data that you put there and .venv stay.
clean:
	rm -rf data/01_raw/SIM_* mlflow.db mlruns .viz build
	find data -mindepth 2 -not -path 'data/01_raw/*' -not -name README.md -delete

$(READY): pyproject.toml constraints.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(READY)
