# Every target works in one virtual environment and ends with a line that is its verdict.
VENV ?= .venv
PYTHON ?= python3
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
EXTRAS := cpu,tensorrt-rtx,openvino,train,report,dev
export ETBAC_STARTED := $(shell date +%s)
PYTEST := OMP_NUM_THREADS=1 ETBAC_THREADS=1 $(PY) -m pytest

.DELETE_ON_ERROR:
.PHONY: demo demo-full bench bench-backends bench-growth bench-load bench-plan soak trace docs results seed zoo doctor-check test test-long test-mutants lint types clean

$(READY): constraints.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@

# verdict(name, command): run, then say PASSED or FAILED on the last line and keep the exit status
define verdict
	@$(2) && echo "PASSED $(1)" || { status=$$?; echo "FAILED $(1)"; exit $$status; }
endef

bench demo results soak trace zoo: $(READY)
	@$(PY) -m benchmarks.$@

bench-backends bench-growth bench-load bench-plan: bench-%: $(READY)
	@$(PY) -m benchmarks.$*

demo-full: $(READY)
	@$(PY) -m benchmarks.demo --full

docs: $(READY)
	@PYTHONPATH=tests:. $(PY) -m support.pass_pages > docs/passes.md && echo "PASSED make docs"

seed: $(READY)
	@PYTHONPATH=tests:. $(PY) -m support.seed

# Every optional package removed in turn, from an environment of its own.
doctor-check: $(READY)
	@PYTHONPATH=tests:. $(PY) -m support.doctor_check

test: $(READY)
	$(call verdict,make test; missed: 0 of 0 measures,$(PYTEST) -n 2)

# A test that passed is not run again until a source file changes. QUICK=1: the first case of each test.
LONG := $(PYTEST) -n 2 -m long --ignore tests/passes/test_mutants.py --finished=results/test-long.json
QUICKLY := $(filter-out 0,$(QUICK))

test-long: $(READY)
	$(call verdict,$(if $(QUICKLY),QUICK )make test-long; missed: 0 of 0 measures,$(LONG) $(if $(QUICKLY),--first-cases))

test-mutants: $(READY)
	$(call verdict,make test-mutants; missed: 0 of 0 measures,$(PYTEST) -rP -m "long or not long" tests/passes/test_mutants.py)

lint: $(READY)
	$(call verdict,make lint,$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/lint-imports)

types: $(READY)
	$(call verdict,make types,$(VENV)/bin/mypy)

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@echo "PASSED make clean"
