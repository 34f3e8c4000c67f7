# `make report` and `make test` do all they need by themselves, and may be repeated.

PYTHON ?= python3

VENV := .venv
LOWEST := .venv-lowest
BIN := $(VENV)/bin
SOURCES := pyproject.toml setup.py $(wildcard csrc/* csrc/*/*)
RECORD := fastlin/_native_build.json
# Parts of each stamp's name, so that all is made again for another Python, and fastlin is installed
# again when the C build is asked for anew.
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2] + sys.abiflags)' 2> /dev/null)
MODE := $(if $(filter-out 0,$(FASTLIN_SKIP_C)),skip-c)$(if $(filter-out 0,$(FASTLIN_REQUIRE_C)),require-c)
STAMP := $(VENV)/installed-$(VERSION)-$(or $(MODE),try-c)
LOWEST_STAMP := $(LOWEST)/installed-$(VERSION)-$(or $(MODE),try-c)

# Most tests use one core; more files at once would crowd the threads of those that use several. In
# the files' order: with most tests first, long files of few tests would come last, one core idle.
TWO_FILES_AT_A_TIME := --numprocesses=2 --dist=loadfile --no-loadscope-reorder

BUILDS_DOCS = $(BIN)/sphinx-build -EqnW --keep-going -b html docs docs/_build/html
SAYS_DOCS = ==> Building the documentation in docs/_build/html (runs the gallery)

# Of `make soak`.
HOURS ?= 1
SEED ?= 0
PROBLEMS ?= 2000

# Of `make fuzz`, for each reader.
RUNS ?= 100000

.DEFAULT_GOAL := help
.PHONY: help report test test-lowest soak fuzz sanitize test-cluster docs bench clean
.NOTPARALLEL:

help:  ## Show the targets
	@echo "make TARGET [PYTHON=python3]"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The test extra holds all that the report and the documentation need.
report: $(or $(wildcard $(STAMP)-test),$(STAMP)-report)  ## Train on MNIST and write the report to report/
	@echo "==> Writing the report to report/ (fetches MNIST on the first run)"
	@$(BIN)/fastlin report --out report

test: $(STAMP)-test  ## Check style, formatting and types, run all tests, build the documentation
	@echo "==> Checking style (ruff check)"
	@$(BIN)/ruff check .
	@echo "==> Checking formatting (ruff format, clang-format)"
	@$(BIN)/ruff format --check .
	@$(BIN)/clang-format --dry-run --Werror csrc/*.[ch] csrc/*/*.h
	@echo "==> Checking types (mypy)"
	@$(BIN)/mypy
	@echo "==> Running the tests (pytest)"
	@$(BIN)/pytest $(TWO_FILES_AT_A_TIME)
	@echo "==> Running each benchmark once, untimed (pytest bench/), beside what follows"
	@status=0; $(BIN)/pytest bench/ -q --benchmark-disable --numprocesses=2 & bench=$$!; \
	    echo "$(SAYS_DOCS)"; $(BUILDS_DOCS) || status=1; wait $$bench || status=1; exit $$status

test-lowest: $(LOWEST_STAMP)  ## Run all tests with the lowest version of each dependency
	@echo "==> Running the tests (pytest) with the lowest versions, $(LOWEST)/lowest.txt"
	@$(LOWEST)/bin/pytest $(TWO_FILES_AT_A_TIME)

# Alone: HOURS=0 for the problems, PROBLEMS=0 for the hunt.
soak: $(STAMP)-test  ## Judge PROBLEMS=2000 random fits, then hunt in shared caches, HOURS=1; SEED=0
	@echo "==> Holding $(PROBLEMS) random fits against their optimum (goes on after a fault)"
	@status=0; $(BIN)/python tests/random_fits.py $(SEED) $(PROBLEMS) || status=1; \
	    echo "==> Hunting for wrong models for $(HOURS) h (stops at the first fault, keeps its cache)"; \
	    $(BIN)/python tests/hunt.py $(SEED) --hours $(HOURS) || status=1; exit $$status

# Goes on with the next reader after a fault.
fuzz: $(STAMP)-test  ## Search each reader of files for faults, RUNS=100000 or SECONDS=60; SEED=0
	@echo "==> Searching the readers of files for faults (keeps what it finds in build/fuzz)"
	@$(BIN)/python tests/fuzz/search.py $(if $(SECONDS),--seconds $(SECONDS),--runs $(RUNS)) --seed $(SEED)

# The installed library stays as it is. LONG=1 runs random cases, for FASTLIN_TEST_SECONDS seconds on
# each instruction set, of FASTLIN_TEST_SEED.
sanitize: $(STAMP)-test  ## Run the C kernels under AddressSanitizer and UBSan [LONG=1]
	@echo "==> Compiling the C kernels with sanitizers in build/sanitize (takes minutes)"
	@FASTLIN_SANITIZE=1 FASTLIN_REQUIRE_C=1 FASTLIN_SKIP_C= $(BIN)/python setup.py -q build_ext \
	    --build-lib build/sanitize --build-temp build/sanitize/objects
	@echo "==> Running them at the edge of accessible memory"
	@FASTLIN_TEST_LIBRARY=build/sanitize/fastlin/_native.abi3.so FASTLIN_TEST_LONG=$(LONG) \
	    FASTLIN_TEST_THOROUGH=1 \
	    $(BIN)/pytest tests/kernels/test_memory.py -k test_c

# In network namespaces where root can make them.
test-cluster: $(STAMP)-test  ## Kill machines of a Dask cluster, and train two hosts on 2 GB (minutes)
	@echo "==> Killing machines of a Dask cluster, cutting their links, training on Parquet"
	@FASTLIN_TEST_CLUSTER=1 $(BIN)/pytest tests/cluster

docs: $(or $(wildcard $(STAMP)-test),$(STAMP)-docs)  ## Build the documentation, docs/_build/html
	@echo "$(SAYS_DOCS)"
	@$(BUILDS_DOCS)

bench: $(STAMP)-bench  ## Time the backends and their peers
	@echo "==> Running the benchmarks (pytest bench/)"
	@$(BIN)/pytest bench/

clean:  ## Remove all that was made here, but for report/
	@echo "==> Removing $(VENV), $(LOWEST), build results and caches"
	@rm -rf $(VENV) $(LOWEST) build dist fastlin.egg-info fastlin/_native*.so $(RECORD)
	@rm -rf docs/_build docs/generated .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/made-$(VERSION) $(LOWEST)/made-$(VERSION):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "fastlin needs Python 3.11 or newer; name it with: make PYTHON=python3.12 TARGET"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null || { \
	    version=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	    echo "Python's venv module is missing; install it with: apt install python$$version-venv"; exit 1; }
	@echo "==> Making a virtual environment in $(@D)"
	@$(PYTHON) -m venv --clear $(@D)
	@touch $@

$(STAMP)-%: $(SOURCES) | $(VENV)/made-$(VERSION)
	@echo "==> Installing fastlin and what '$*' needs, compiling the C backend (takes minutes)"
	@rm -f $(filter-out $(STAMP)-%,$(wildcard $(VENV)/installed-*))
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --editable '.[$*]'
	@test ! -f $(RECORD) || $(BIN)/python -c 'import json; record = json.load(open("$(RECORD)")); \
	    print("    No C backend: %(reason)s; %(remedy)s" % record)'
	@touch $@

# The build needs setuptools and cffi, whose lowest versions are wanted too: hence no isolation.
$(LOWEST_STAMP): tests/lowest.py $(SOURCES) | $(LOWEST)/made-$(VERSION)
	@echo "==> Installing fastlin and the lowest version of each dependency (takes minutes)"
	@rm -f $(filter-out $@,$(wildcard $(LOWEST)/installed-*))
	@$(LOWEST)/bin/python -m pip install -qq --disable-pip-version-check packaging
	@$(LOWEST)/bin/python tests/lowest.py > $(LOWEST)/lowest.txt
	@$(LOWEST)/bin/python -m pip install -qq --disable-pip-version-check -r $(LOWEST)/lowest.txt
	@$(LOWEST)/bin/python -m pip install -qq --disable-pip-version-check --no-build-isolation --no-deps \
	    --editable .
	@$(LOWEST)/bin/python -m pip check
	@touch $@
