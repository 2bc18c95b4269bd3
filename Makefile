# make run    the dashboard on http://localhost:8501        make test   everything the tests need, then the tests
# make check  format, lint, types, fast tests (< 2 minutes)  make help   all targets
#
# PYTHON=python3.12 picks the interpreter, JOBS=4 the number of test processes. For a CPU-only torch set
# PIP_EXTRA_INDEX_URL to the address of PyTorch's CPU wheels (pytorch.org, "Get started") before the first call.

PYTHON ?= python3
JOBS ?= 2
PORT ?= 8501
BIN := .venv/bin
NOT_FAST := slow or browser or faults or soak

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run test check format docs bench faults fuzz soak demo-train clean

help: ## show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

setup: .venv/installed .venv/installed-asc ## everything that the dashboard and the asc command need, into .venv

setup-dev: setup .venv/installed-dev .venv/oldest/installed ## also what the tests and checks need

run: setup ## the dashboard, with the embedded demo
	$(BIN)/asc dashboard --port $(PORT)

test: setup-dev ## all tests but the fault and soak runs
	$(BIN)/pytest -n $(JOBS)

check: setup-dev ## format, lint, types, fast tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -n $(JOBS) -m "not ($(NOT_FAST))"

format: setup-dev ## rewrite the code as `make check` wants it
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup-dev ## the generated parts of docs/ and the README's figures, from the registries, the tests and the results
	$(BIN)/python -m asc_core.scores.describe docs/scores.md
	$(BIN)/python -m asc_core.recipes.describe docs/recipes.md
	$(BIN)/python -m tests.accepted.describe docs/accepted.md
	$(BIN)/python -m benchmarks.report

bench: setup ## every benchmark, one after the other; each prints ratios measured side by side
	@for file in benchmarks/[a-z]*.py; do echo "== $$file"; PYTHONPATH=. $(BIN)/python "$$file" || exit 1; done

faults: setup-dev ## full disks, kills and broken files, where the machine lets us make them; FLIPS bits of each kind
	$(BIN)/pytest -m faults
	FLIPS=$${FLIPS:-1000} $(BIN)/pytest -q -n $(JOBS) tests/test_seals.py tests/test_doctor.py

fuzz: setup-dev ## 20,000 broken files for every parser (FUZZ=number for others); what raises is kept in tests/fuzz/corpus
	FUZZ=$${FUZZ:-20000} $(BIN)/pytest -q -n $(JOBS) tests/fuzz

soak: setup-dev ## hours of use in minutes: memory and files must not grow
	$(BIN)/pytest -m soak

demo-train: setup ## train the demo's adapters anew, as they were trained (half an hour on 2 quiet cores)
	@set -e; for run in "qa 2 1e-3" "nli 3 1e-3" "paraphrase 3 1e-3" "intent 4 1e-3" "sentiment 2 5e-4"; do \
		set -- $$run; \
		$(BIN)/asc finetune demo:encoder --task "demo:$$1" --lora-rank 16 --epochs $$2 --lr $$3 -o "build/demo/$$1"; \
		rm -rf "asc_core/demo/adapters/$$1"; \
		cp -r "build/demo/$$1" "asc_core/demo/adapters/$$1"; \
	done
	$(BIN)/python -m asc_core.demo.report

clean: ## remove the environment and the caches
	rm -rf .venv build .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info

# Stamps: a second call does nothing unless what they depend on has changed.
.venv/created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "ASC Studio needs Python 3.11 or newer; say which with: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "$(PYTHON) cannot make virtual environments. On Debian and Ubuntu: sudo apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/installed: requirements.txt requirements-demo.txt | .venv/created
	@echo "Installing into .venv: a few minutes and more than 2 GB, once"
	$(BIN)/pip install --quiet -r requirements.txt
	$(BIN)/pip install --quiet --no-deps -r requirements-demo.txt
	@touch $@

.venv/installed-asc: pyproject.toml .venv/installed
	$(BIN)/pip install --quiet --no-deps -e .
	@touch $@

.venv/installed-dev: requirements-dev.txt .venv/installed
	$(BIN)/pip install --quiet -r requirements-dev.txt
	@touch $@

# Beside .venv's own, not in it: the oldest transformers that exports are said to load with. Only tests look there.
.venv/oldest/installed: requirements-oldest.txt .venv/installed
	rm -rf .venv/oldest
	$(BIN)/pip install --quiet --no-deps --target .venv/oldest -r requirements-oldest.txt
	@touch $@
