# make demo   trains a CNN on handwritten digits        make lint      ruff and mypy
# make test   runs every test                           make mutants   removes each barrier and bounds check in turn
# make bench  measures this machine's CPU               make clean     removes .venv and everything built
# make gpu    tests and measures everything on a GPU
#
# Each target sets up .venv by itself: again when pyproject.toml changes or when an NVIDIA driver appears.

PYTHON ?= $(firstword $(foreach p,python3 python3.14 python3.13 python3.12 python3.11,$(shell \
            $(p) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $(p))))
CUDA   := $(shell $(PYTHON) -I gpudl/_info.py --extra 2>/dev/null)
PY     := .venv/bin/python
MARK   := .venv/.ready-$(if $(CUDA),$(CUDA),cpu)

.PHONY: demo test lint bench gpu mutants clean
demo: $(MARK)-examples
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(PY) examples/digits.py  # its products are small: threads wait longer than they work

test: $(MARK)-test
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(PY) -m pytest -n auto --durations=20 --ignore=tests/against_torch tests

lint: $(MARK)-test
	$(PY) -m ruff check .
	$(PY) -m mypy

bench: $(MARK)-bench
	$(PY) -m bench cpu

# Everything an hour on a GPU should bring, into one folder: make gpu RESULTS=folder BUDGET=540 (seconds). Needs no network and no virtual
# environment where python3 has the packages. Started again with the same RESULTS it goes on where it stopped.
gpu:
	@if $(PYTHON) -c 'import numpy, cupy, ml_dtypes, safetensors' 2>/dev/null; then exec $(PYTHON) -m bench gpu; \
	else $(MAKE) $(MARK)-test $(MARK)-bench && exec $(PY) -m bench gpu; fi

mutants: $(MARK)-test
	$(PY) -m gpudl.emulator.mutants

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# .venv/.ready-<cpu|cuda12|cuda13>-<extra>
$(MARK)-%: pyproject.toml
	@test -n "$(PYTHON)" || { echo 'gpudl needs Python >= 3.11; none was found. Install one, or: make PYTHON=/path/to/python3.11'; exit 1; }
	@echo 'Setting up .venv ($(if $(CUDA),$(CUDA),no NVIDIA driver: CPU and emulator)); this happens once.'
	@test -x $(PY) || $(PYTHON) -m venv .venv || { rm -rf .venv; \
	  echo 'No virtual environment could be made; on Debian and Ubuntu: apt install python3-venv'; exit 1; }
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[$*$(if $(CUDA),$(comma)$(CUDA))]'
	@touch $@
comma := ,
