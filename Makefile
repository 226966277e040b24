# make env    install the package and its command into .venv
# make demo   run the demo              make test   run all tests
# make test-clients   run other projects' clients against the server
# make check  run linters and mypy      make docs   build the documentation site in site/
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt

# FROM: how the tests' databases are started: auto, env, compose, testcontainers, embedded
FROM ?= auto
# PROCESSES: how many run the tests: a number, or auto (one per core)
PROCESSES ?= 2

# SOAK: options of the soak, such as --seconds 30
SOAK ?=

# Compiled once, not at each start of the many short processes.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: env demo test test-clients lowest check format docs soak bench bench-rerankers opensearch opensearch-stop clean

env: $(VENV)/.env

demo: $(VENV)/.demo
	@$(BIN)/vecdb-rerank demo

test: $(VENV)/.dev
	$(BIN)/pytest --servers=$(FROM) -n $(PROCESSES) --dist worksteal

# Runs clients that others wrote, in Python, TypeScript, Go and Java, against `vecdb-rerank serve`.
# Needs Node.js 20, npm, Go 1.22 and a JDK 17.
test-clients: $(VENV)/.dev
	$(BIN)/python -m tests.clients

# Tests the integrations with the lowest supported LangChain, LlamaIndex and Haystack.
lowest: $(VENV)/.dev
	.ci/lowest -q

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

# Clients of the server, failing rerankers, a reload and a replacement behind HAProxy.
soak: $(VENV)/.dev
	@command -v haproxy > /dev/null || { echo "haproxy is missing: apt-get install haproxy" >&2; exit 1; }
	$(BIN)/python -m benchmarks.serve_soak $(SOAK)

bench: env
	$(BIN)/python benchmarks/overhead.py

# Compares local rerankers with other libraries; BENCH_JSON=FILE writes the numbers.
bench-rerankers: $(VENV)/.dev
	$(INSTALL) --editable '.[bench]'
	$(BIN)/python -m benchmarks.rerankers $(if $(BENCH_JSON),--json $(BENCH_JSON))

# A real OpenSearch node on 127.0.0.1:9200 (needs a JDK 17 and Maven).
opensearch:
	docker/opensearch_node/start.sh start

opensearch-stop:
	docker/opensearch_node/start.sh stop

clean:
	rm -rf $(VENV) .env-clients dist site .mypy_cache .ruff_cache .pytest_cache

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12")'
	@echo "Making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv

$(VENV)/.demo: $(BIN)/uv pyproject.toml constraints.txt
	@echo "Installing the packages of the demo into $(VENV) ..."
	$(INSTALL) --editable '.[demo]'
	@touch $@

$(VENV)/.env: $(BIN)/uv pyproject.toml constraints.txt
	$(INSTALL) --editable '.[all]'
	@touch $@

$(VENV)/.dev: $(VENV)/.env
	$(INSTALL) --editable '.[dev]'
	@touch $@
