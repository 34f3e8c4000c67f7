# `make report` and `make test` do all they need by themselves, and may be repeated.

PYTHON ?= python3

VENV := .venv
LOWEST := .venv-lowest
NEWEST := .venv-newest
RELEASE := .venv-release
PYTHONS ?= $(PYTHON)
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
.PHONY: help report test test-lowest test-newest test-foreign test-pages soak fuzz sanitize test-cluster docs bench
.PHONY: wheels try-wheels clean
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

# Says whether upper bounds may be raised; PRE=--pre tries what is not yet released.
test-newest: | $(NEWEST)/made-$(VERSION)  ## Run all tests with the newest dependencies, beyond upper bounds [PRE=--pre]
	@echo "==> Installing fastlin and the newest version of each dependency (takes minutes)"
	@$(NEWEST)/bin/python -m pip install -qq --disable-pip-version-check packaging
	@$(NEWEST)/bin/python tests/newest.py > $(NEWEST)/newest.txt
	@$(NEWEST)/bin/python -m pip install -qq --disable-pip-version-check --upgrade \
	    --upgrade-strategy eager $(PRE) -r $(NEWEST)/newest.txt
	@$(NEWEST)/bin/python -m pip install -qq --disable-pip-version-check --no-build-isolation --no-deps \
	    --editable .
	@echo "==> Running the tests (pytest) with the newest versions, $(NEWEST)/newest.txt"
	@$(NEWEST)/bin/pytest $(TWO_FILES_AT_A_TIME)

wheels: | $(RELEASE)/made-$(VERSION)  ## Build the source distribution and all wheels in dist/, and inspect them
	@echo "==> Installing what builds wheels in $(RELEASE)"
	@$(RELEASE)/bin/python release/requirements.py | xargs -d '\n' \
	    $(RELEASE)/bin/python -m pip install -qq --disable-pip-version-check
	@echo "==> Building the source distribution and the wheels in dist/ (takes minutes)"
	@$(RELEASE)/bin/python release/wheels.py dist

# PYTHONS='python3.11 python3.12': each Python on which the wheels are tried.
try-wheels: wheels  ## Install the wheel of this machine in empty environments, and use it [PYTHONS=...]
	@echo "==> Trying the wheels on $(PYTHONS)"
	@$(RELEASE)/bin/python release/try_wheels.py dist $(PYTHONS)

# The emulator: apt install qemu-user-static.
test-foreign: $(STAMP)-test | $(RELEASE)/made-$(VERSION)  ## Run the C kernels for 64-bit Arm in an emulator, under UBSan
	@$(RELEASE)/bin/python -m pip install -qq --disable-pip-version-check ziglang
	@echo "==> Recording calls of the kernels and the reference's answers"
	@mkdir -p build/foreign && FASTLIN_TEST_THOROUGH=1 $(BIN)/python tests/foreign/record.py build/foreign/calls.bin
	@echo "==> Compiling the kernels for aarch64, and running them in qemu-aarch64-static"
	@$(RELEASE)/bin/python -m ziglang cc -target aarch64-linux-musl -O1 -g0 -std=gnu11 \
	    -fsanitize=undefined -fsanitize-trap=undefined -ffp-contract=fast -fno-math-errno -Icsrc \
	    csrc/dispatch.c csrc/isa_*.c tests/foreign/replay.c -lm -o build/foreign/replay
	@qemu-aarch64-static build/foreign/replay build/foreign/calls.bin
	@rm build/foreign/calls.bin

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

# Debian: apt install chromium chromium-driver. BUILT=1 looks at the pages that are there.
test-pages: $(STAMP)-test  ## Build the documentation and a report, and look at them in Chromium
	@test -n "$(BUILT)" || { echo "$(SAYS_DOCS)"; $(BUILDS_DOCS); }
	@echo "==> Writing the report to build/report"
	@$(BIN)/fastlin report --out build/report --quiet
	@echo "==> Looking at the pages in Chromium"
	@FASTLIN_TEST_PAGES=1 FASTLIN_TEST_REPORT=build/report $(BIN)/pytest tests/pages

docs: $(or $(wildcard $(STAMP)-test),$(STAMP)-docs)  ## Build the documentation, docs/_build/html
	@echo "$(SAYS_DOCS)"
	@$(BUILDS_DOCS)

bench: $(STAMP)-bench  ## Time the backends and their peers
	@echo "==> Running the benchmarks (pytest bench/)"
	@$(BIN)/pytest bench/

clean:  ## Remove all that was made here, but for report/
	@echo "==> Removing $(VENV), $(LOWEST), $(NEWEST), $(RELEASE), build results and caches"
	@rm -rf $(VENV) $(LOWEST) $(NEWEST) $(RELEASE) build dist fastlin.egg-info fastlin/_native*.so $(RECORD)
	@rm -rf docs/_build docs/generated .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(foreach folder,$(VENV) $(LOWEST) $(NEWEST) $(RELEASE),$(folder)/made-$(VERSION)):
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
