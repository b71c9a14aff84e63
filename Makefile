# The two commands of the README are `make run` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test test-postgresql test-deps bench soak lint format clean

run: .venv/.run
	@$(BIN)/authserver init --print-password
	@exec $(BIN)/authserver serve

test: .venv/.dev lint
	$(BIN)/pytest -n auto --dist loadfile
	$(BIN)/pytest -n auto --dist loadfile --engine postgresql tests/unit

# All that has a store on PostgreSQL too, which takes some minutes more.
test-postgresql: .venv/.dev
	$(BIN)/pytest -n auto --dist loadfile --engine postgresql tests/unit tests/web tests/cli

# Real registries and clients for the end-to-end tests. As root, on Debian.
test-deps:
	tests/deps.sh

# Needs wrk. BENCH=--quick is one short round.
bench: .venv/.dev
	$(BIN)/python -m bench $(BENCH)

# Needs PostgreSQL, nginx and Redis, and eight minutes; writes docs/bad-days.md. SOAK=--quick tries it.
# SOAK=--long takes half an hour and writes docs/long-run.md.
soak: .venv/.dev
	$(BIN)/python -m tests.soak $(SOAK)

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/.pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "authserver needs Python 3.11 or later; set PYTHON=…"; exit 1; }
	@echo "Making .venv …"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

.venv/.run: .venv/.pip pyproject.toml
	@echo "Installing …"
	@$(BIN)/pip install --quiet --editable .
	@touch $@

.venv/.dev: .venv/.run
	@$(BIN)/pip install --quiet --group dev
	@touch $@

clean:
	rm -rf .venv dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis
