# `make demo` and `make test` do everything on a fresh machine with Python >= 3.11, make and git.
PYTHON ?= python3
VENV ?= .venv
WORKERS ?= 2
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: help demo demo-text runs test lint types docs peers test-peers test-matrix test-slow test-older margins mutants check-mutants clean

help:
	@echo "make demo        train on scikit-learn's digits, sample, evaluate, write pictures (about 5 minutes)"
	@echo "make demo-text   train on captioned shapes for 15 minutes, ask for 600 prompts, read what was drawn, write a board"
	@echo "make runs        train the benchmark networks into runs/: digits, and with NOISEPATH_DATA set MNIST and CIFAR-10"
	@echo "make test        the tests, with coverage"
	@echo "make lint types  ruff, mypy --strict"
	@echo "make test-peers  the tests that compare with k-diffusion (make peers installs it)"
	@echo "make test-matrix every guidance and every kind of editing with every solver"
	@echo "make test-slow   what takes minutes: more faults of a run, the laws of every solver"
	@echo "make test-older  the numeric tests and those of trained networks as on a processor without AVX-512"
	@echo "make margins     how far each test of a trained network is from failing, over seeds, instruction sets and threads"
	@echo "make docs        write the catalogue of solvers into docs/solvers.md"
	@echo "make mutants     break the source in one place at a time: a test must turn red each time"
	@echo "make check-mutants  the same for solvers: check_solver must find a broken law each time"
	@echo "make bench-NAME  one of: $(patsubst benchmarks/%.py,bench-%,$(wildcard benchmarks/[a-z]*.py))"

demo: $(VENV)/.installed
	$(BIN)/noisepath demo $(ARGS)

demo-text: $(VENV)/.installed
	test -e runs/shapes/run.toml || $(BIN)/noisepath train --data shapes --out runs/shapes --minutes 15 --no-evaluate
	$(BIN)/python benchmarks/shapes_text.py --run runs/shapes --board runs/shapes/board.png $(ARGS)

# The networks that later comparisons are made on; a run that is there already is gone on with, or left as it is.
runs: $(VENV)/.installed
	$(BIN)/python benchmarks/runs.py $(ARGS)

test: $(VENV)/.developing
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --cov --cov-fail-under=95 $(ARGS)

lint: $(VENV)/.developing
	$(BIN)/ruff check .

types: $(VENV)/.developing
	$(BIN)/mypy

docs: $(VENV)/.developing
	$(BIN)/python tools/solver_table.py

peers: $(VENV)/.peers

test-peers: $(VENV)/.peers
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m peers $(ARGS)

test-matrix: $(VENV)/.developing
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m matrix -n $(WORKERS) $(ARGS)

test-slow: $(VENV)/.developing
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -n $(WORKERS) $(ARGS)

# torch, oneDNN and MKL without AVX-512; the draws are tested without AVX as well, by make test.
OLDER := ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2
NUMERIC := noise solvers solver_forms tableau analysis schedules exact levels spacing discrete tables embedding loop times \
	gaussian_start objective inversion

test-older: $(VENV)/.developing
	$(OLDER) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) $(NUMERIC:%=tests/test_%.py) $(ARGS)
	$(OLDER) OMP_NUM_THREADS=2 $(BIN)/python -m pytest -m trained $(shell grep -l mark.trained tests/test_*.py) $(ARGS)

margins: $(VENV)/.developing
	$(BIN)/python tools/margins.py $(ARGS)

mutants: $(VENV)/.developing
	$(BIN)/python tools/mutants.py $(ARGS)

check-mutants: $(VENV)/.developing
	$(BIN)/python tools/check_mutants.py $(ARGS)

bench-%: $(VENV)/.peers
	$(BIN)/python benchmarks/$(subst -,_,$*).py $(ARGS)

clean:
	rm -rf $(VENV) noisepath-demo .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage

# Each stamp says that an installation was finished; a changed pyproject or constraints file makes it again.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("noisepath needs Python 3.11 or newer; say PYTHON=/path/to/python")'
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(PIP) -e .
	@touch $@

$(VENV)/.developing: $(VENV)/.installed
	PIP_CONSTRAINT=constraints.txt $(PIP) -e ".[test,dev]"
	@touch $@

$(VENV)/.peers: $(VENV)/.developing
	$(PIP) --no-deps k-diffusion torchsde torchdiffeq trampoline azula einops smalldiffusion
	@touch $@
