# Two commands that need nothing but Python 3.11–3.13, make and a network: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP_OPTIONS ?= -q --disable-pip-version-check

.PHONY: demo test check format docs clean

demo: $(VENV)/build.stamp
	$(BIN)/edgekit build --target rpi4
	$(BIN)/edgekit run --camera demo --bundle build/rpi4 --max-frames 200

test: $(VENV)/dev.stamp
	$(BIN)/python -m pytest

# Style, types, and the wall between the build side and the device side.
check: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/dev.stamp
	$(BIN)/python -m tests.docs.commands docs/commands.md
	$(BIN)/python -m tests.emulate.table docs/proven.md README.md

clean:
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else "edgekit needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is %d.%d: try make PYTHON=python3.12" % v)'
	$(PYTHON) -m venv $(VENV)

# torch first and by its exact version: any looser request may fetch gigabytes of GPU packages.
$(VENV)/build.stamp: pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install $(PIP_OPTIONS) torch==2.13.0
	$(BIN)/pip install $(PIP_OPTIONS) -e '.[build]'
	@touch $@

$(VENV)/dev.stamp: $(VENV)/build.stamp
	$(BIN)/pip install $(PIP_OPTIONS) -e '.[build,dev,mqtt,otel]'
	@touch $@
