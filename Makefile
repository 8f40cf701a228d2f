.DEFAULT_GOAL := help
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin

.PHONY: help
help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[broker,dev]'
	touch $@

.PHONY: install
install: $(VENV)/.installed ## Make the virtual environment and install Springtide into it

.PHONY: test
test: install ## Run all tests
	$(BIN)/python -m pytest

.PHONY: lint
lint: install ## Check style and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/buf lint protos

.PHONY: types
types: install ## Check types
	$(BIN)/mypy

.PHONY: protos
protos: install ## Generate code from the protos
	$(BIN)/python -m grpc_tools.protoc -Iprotos --python_out=core --pyi_out=core --grpc_python_out=core protos/springtide/v1/*.proto

.PHONY: check
check: lint types test ## Everything that CI runs
