# The two commands of the README are `make run` and `make test`.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test test-postgresql test-deps record-deps bench soak screenshots lint format lock audit sbom build/runtime clean

run: .venv/.run
	@$(BIN)/authserver init --print-password
	@exec $(BIN)/authserver serve

# In the order of the files: by default those with few tests come last, and they take longest (e2e).
test: .venv/.dev lint
	$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder
	$(BIN)/pytest -n auto --dist loadfile --engine postgresql tests/unit tests/web/test_api_schema.py

# All that has a store on PostgreSQL too, which takes some minutes more.
test-postgresql: .venv/.dev
	$(BIN)/pytest -n auto --dist loadfile --engine postgresql tests/unit tests/web tests/cli

# Real registries and clients for the end-to-end tests. As root, on Debian.
test-deps:
	tests/deps.sh

# The new clients that `python -m tests.e2e.record` runs beside those of test-deps. Needs Go.
record-deps:
	tests/e2e/clients.sh

# Needs wrk. BENCH=--quick is one short round.
bench: .venv/.dev
	$(BIN)/python -m bench $(BENCH)

# Needs what `make test-deps` brings. First the end-to-end tests without each program in turn, then
# eight minutes that write docs/bad-days.md. SOAK=--quick tries it. SOAK=--long has half an hour
# instead of the eight minutes and writes docs/long-run.md.
soak: .venv/.dev
	$(BIN)/pytest -n auto --hypothesis-profile soak tests/web/test_api_schema.py
	$(BIN)/pytest -n auto --hypothesis-profile soak --engine postgresql tests/web/test_api_schema.py
	$(BIN)/python -m tests.soak.programs $(SOAK)
	$(BIN)/python -m tests.soak $(SOAK)

screenshots: .venv/.dev
	$(BIN)/python -m tests.browser.screenshots

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What a server runs on: the virtual environment of an installation, or one as it is made today.
INSTALLATION ?= build/runtime
# Unless an installation is named: what `make run` serves from, too.
AUDITED = $(if $(filter build/runtime,$(INSTALLATION)),.venv) $(INSTALLATION)

# A package that cannot be looked up is an error, not a pass.
audit: build/supply-chain/.done .venv/.run $(INSTALLATION)
	@failed=; for place in $(AUDITED); do \
		echo "$$place:"; \
		$(BIN)/pip --python "$$place/bin/python" freeze --all --exclude authserver >build/audited.txt \
		&& build/supply-chain/bin/pip-audit --strict --disable-pip --no-deps --progress-spinner off \
			-r build/audited.txt || failed=1; \
	done; test -z "$$failed"

sbom: build/supply-chain/.done $(INSTALLATION)
	@version=$$($(INSTALLATION)/bin/python -c \
		'import importlib.metadata as m; print(m.version("authserver"))') \
		&& sed "s/^dynamic = .*/version = \"$$version\"/" pyproject.toml >build/pyproject.toml
	@build/supply-chain/bin/cyclonedx-py environment --pyproject build/pyproject.toml \
		--output-reproducible -o build/sbom.json $(INSTALLATION)/bin/python

.venv/.pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "authserver needs Python 3.11 or later; set PYTHON=…"; exit 1; }
	@echo "Making .venv …"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@# Python 3.11 puts its own there, which is old and which nothing uses.
	@$(BIN)/pip uninstall -qq --yes setuptools
	@touch $@

.venv/.run: .venv/.pip pyproject.toml requirements.txt
	@echo "Installing …"
	@$(BIN)/pip install --quiet --require-hashes -r requirements.txt
	@$(BIN)/pip install --quiet --no-deps --editable .
	@touch $@

.venv/.dev: .venv/.run
	@$(BIN)/pip install --quiet --group dev
	@touch $@

# Only what the server and its extras need, in the locked versions: what the image has.
build/runtime: .venv/.pip
	@$(PYTHON) -m venv --clear --without-pip $@
	@$(BIN)/pip --python $@/bin/python install --quiet --require-hashes -r requirements-extras.txt
	@$(BIN)/pip --python $@/bin/python install --quiet --no-deps .

# The newest versions that pyproject.toml allows, for every platform and Python from 3.11 on.
lock: build/lock/.done
	@$(LOCK) --upgrade --all-extras --output-file requirements-extras.txt
	@$(LOCK) --constraint requirements-extras.txt --output-file requirements.txt

LOCK = build/lock/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-annotate --custom-compile-command 'make lock' pyproject.toml

build/lock/.done: .venv/.pip pyproject.toml
	@$(PYTHON) -m venv --clear --without-pip build/lock
	@$(BIN)/pip --python build/lock/bin/python install --quiet --group lock
	@touch $@

build/supply-chain/.done: .venv/.pip pyproject.toml
	@$(PYTHON) -m venv --clear --without-pip build/supply-chain
	@$(BIN)/pip --python build/supply-chain/bin/python install --quiet --group supply-chain
	@touch $@

clean:
	rm -rf .venv dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis
