# make demo · make test · make lint · make bench — each sets itself up in .venv first.
# Another interpreter: make demo PYTHON=/path/to/python3.12

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install -q -c constraints.txt
READY := $(VENV)/.ready
SUPPORTED := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))
PYTHON ?= $(firstword $(foreach p,python3 python3.12 python3.11,$(shell $(p) -c '$(SUPPORTED)' 2>/dev/null && echo $(p))))

# Threads that spin while they wait stall a CPU that others use too.
export OMP_WAIT_POLICY ?= PASSIVE

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-matrix test-gpu lint bench bench-gpu growth soak docs

help:
	@echo "make demo       train on generated data: picture, video, report (minutes on 2 cores)"
	@echo "make test       the default test suite        make test-slow  full-size models, whole runs"
	@echo "make lint       ruff, import rules, types     make bench      speed ratios"
	@echo "make test-gpu   the tests that need a GPU     make bench-gpu  speed and memory on it"
	@echo "make growth     how cost grows: docs/growth.md"
	@echo "make soak       kills, damaged inputs, long runs: docs/soak.md (sized for 25 minutes; FULL=1: hours)"
	@echo "make docs       the pages of docs/ as a site: site/index.html"
	@echo "make test-matrix  the tests with other Pythons, Detectron2s and dependencies, if at hand"

install: $(READY)

$(READY): setup.py constraints.txt tools/install_detectron2.py
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or 3.12 was found; install one or pass PYTHON=/path/to/it."; exit 1; }
	@echo "Installing into $(VENV) with $$($(PYTHON) --version) (torch is large: a few minutes the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) setuptools wheel torch torchvision
	@$(PIP) --no-build-isolation -e ".[train,events,convert,export,sahi,supervision,sweep,dev]"
	@$(PY) tools/install_detectron2.py
	@touch $@

demo: $(READY)
	@$(PY) tools/demo.py

# Files in their order: sorted by their number of tests, those of a few long ones would come last.
test: $(READY)
	OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations=15 $(ARGS)

test-slow: $(READY)
	$(PY) -m pytest -m slow --durations=15 $(ARGS)

test-gpu: $(READY)
	$(PY) -m pytest -m gpu $(ARGS)

lint: $(READY)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pytest -q tests/test_house.py
	$(PY) -m pyright

bench: $(READY)
	$(PY) -m benchmarks.bench $(PARTS)

bench-gpu: $(READY)
	$(PY) -m benchmarks.bench --device cuda $(PARTS)

growth: $(READY)
	$(PY) -m benchmarks.bench_growth --write docs

soak: $(READY)
	$(PY) -m benchmarks.bench_soak $(PARTS) $(if $(FULL),--full) --write docs

# The theme speaks of its successor at each build; that is no concern of who reads the pages.
docs: $(READY)
	$(PIP) --no-build-isolation -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict
	@echo "site/index.html; with its search: $(PY) -m http.server -d site"

test-matrix: $(READY)
	$(PY) tests/environments.py $(if $(DETECTRON2),--detectron2 $(DETECTRON2)) -- $(ARGS)
