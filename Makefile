# make demo   set everything up, then show the whole way on this machine: plan, real servers, agents, requests, report
# make test   set everything up, then run every check and test
# make check  the checks alone: format, lint, types, import contracts, spelling
# make servers  install MLServer and KServe's Python server for the tests, each in an environment of its own
# make nginx  install nginx for the tests by apt-get, which takes root
# make bench  measure, beside peers in the same run; writes JSON under .cache/bench
# make soak   the long runs
# make clean  remove the virtual environment and everything built

# The first Python that runs, has venv and is 3.11 to 3.13 (Triton's wheel brings python stubs up to 3.13).
# `make PYTHON=/path/to/python3.12 test` chooses another.
SUPPORTED := import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
  $$python -c '$(SUPPORTED)' 2>/dev/null && echo $$python && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SERVERS := .cache/servers
APT := DEBIAN_FRONTEND=noninteractive apt-get -y -qq --no-install-recommends
PYTEST := $(BIN)/python -m pytest -p no:cacheprovider

.PHONY: demo test check unit tools servers nginx bench soak schemas constraints clean
.DELETE_ON_ERROR:

# Everything is installed at the versions of constraints.txt, from the package index that pip is set up for.
# Triton's wheel is taken without its dependencies: only the server inside it is used.
$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" \
	  || { echo "Shardpack needs Python 3.11, 3.12 or 3.13 with its venv module (apt-get install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade --constraint constraints.txt pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[all]' --group demo --group test
	$(BIN)/pip install --quiet --no-deps --constraint constraints.txt nvidia-pytriton
	@touch $@

demo: $(READY)
	$(BIN)/shardpack demo --out demo-report.html

test: $(READY)
	@$(MAKE) --no-print-directory -j3 check tools
	@$(MAKE) --no-print-directory unit

unit: $(READY) tools
	$(PYTEST) -n 2 -m 'not soak and not bench'

tools:
	-@$(MAKE) --no-print-directory servers nginx

# The proxy and the gateway are nginx. Where it is not there and cannot be installed, their tests are skipped.
nginx:
	@if PATH="$$PATH:/usr/sbin" command -v nginx >/dev/null; then exit 0; fi; \
	  if [ "$$(id -u)" != 0 ]; then echo "nginx is not installed, and only root may: its tests are skipped"; exit 0; fi; \
	  $(APT) install nginx-light || { $(APT) update && $(APT) install nginx-light; }

# Their dependencies clash with each other's and with ours. Where they cannot be installed their tests are skipped.
servers: $(SERVERS)/mlserver/.ready $(SERVERS)/kserve/.ready

$(SERVERS)/mlserver/.ready: PACKAGES := mlserver mlserver-sklearn
$(SERVERS)/kserve/.ready: PACKAGES := kserve
$(SERVERS)/%/.ready: tests/support/constraints-%.txt
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --constraint $< $(PACKAGES)
	@touch $@

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry .
	$(BIN)/codespell planner agent tests scenarios docs *.md
	if test -x $(BIN)/hadolint; then $(BIN)/hadolint *.Dockerfile; fi
	$(BIN)/nbstripout --verify notebooks/*.ipynb

bench: $(READY)
	@mkdir -p .cache/bench
	SHARDPACK_BENCH_OUT=.cache/bench $(PYTEST) -m bench --timeout 3600

soak: $(READY)
	$(PYTEST) -m soak --timeout 3600

schemas: $(READY)
	$(BIN)/python -m planner.scenario.schema

# Pins every dependency for every supported Python; no registry's address gets into the file. Triton's wheel
# is appended by hand because it is installed without its dependencies, which would hold others back.
constraints: $(READY)
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --group demo --group test \
	  --no-header --no-annotate --no-emit-index-url --no-emit-find-links --upgrade pyproject.toml > constraints.new
	printf 'nvidia-pytriton==0.7.0\npip==%s\n' "$$($(BIN)/pip --version | cut -d' ' -f2)" >> constraints.new
	LC_ALL=C sort -o constraints.txt constraints.new && rm constraints.new

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache dist
