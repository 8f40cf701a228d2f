.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV ?= .venv
BIN := $(VENV)/bin
# The first Python that runs and is new enough; `make PYTHON=...` names another.
PYTHON ?= $(shell for candidate in python3 python3.13 python3.12 python3.11; do \
	$$candidate -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$candidate && break; done)
ARGS ?=
# A program that starts a real Kafka for tests; see tests/README.md. Without one, tests that need a Kafka are skipped.
export KAFKA_START ?= $(abspath $(wildcard ../shared/kafka/start))
ON_KAFKA := tests/integration/on_kafka.sh
GENERATE := $(BIN)/python -m grpc_tools.protoc -Iprotos
PROTOS := $(wildcard protos/springtide/v1/*.proto)

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(VENV)/.installed: pyproject.toml constraints.txt
	@bash deploy/install.sh '$(PYTHON)' '$(VENV)'
	@touch $@

.PHONY: install
install: $(VENV)/.installed ## Create the virtual environment and install Springtide into it
	@$(BIN)/python deploy/build_kernels.py

.PHONY: demo
demo: install ## Run the whole system on a year of real purchases (ARGS=--keep leaves the server up, ARGS=--console ends on the console)
	@$(BIN)/springtide demo $(ARGS)

.PHONY: screenshots
screenshots: install ## Take the README's screenshots of `make demo ARGS=--console` that runs (ARGS="URL FOLDER")
	@$(BIN)/python deploy/screenshots.py $(ARGS)

.PHONY: test
test: install ## Run all tests (ARGS=... goes to pytest)
	@bash tests/install_tools.sh
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

.PHONY: test-long
test-long: install ## Run the longer proofs: kills, overload, disks that are full, trainings that fail, damage (ARGS=... goes to pytest)
	$(BIN)/python -m pytest -n auto --dist load -m long $(ARGS)

.PHONY: test-kafka
test-kafka: install ## Run the integration tests on a real Kafka: a new one, or KAFKA_BOOTSTRAP_SERVERS
	@$(ON_KAFKA) 1 $(BIN)/python -m pytest tests/integration -m "not journey and not guides" $(ARGS)

.PHONY: soak
soak: install ## Kill server, trainer, publisher and broker hundreds of times; fill a server to many times its bounds
	@$(BIN)/python tests/soak/soak.py --kills 100 $(ARGS)
	@$(BIN)/python tests/soak/keeping.py
	@$(BIN)/python tests/soak/memory.py

.PHONY: soak-threads
soak-threads: install ## Read, rank, swap models and write checkpoints in threads while events come, for minutes (ARGS=--help)
	@$(BIN)/python tests/soak/concurrency.py $(ARGS)

.PHONY: soak-kafka
soak-kafka: install ## Kill brokers and server for a minute, then compare with a quiet read (ARGS=--help: options)
	@$(ON_KAFKA) 3 $(BIN)/python tests/soak/soak.py $(ARGS)

.PHONY: soak-roles
soak-roles: install ## Kill and suspend two servers on one URL a hundred times, in a folder and on S3 (ARGS=--help: options)
	@$(BIN)/python tests/soak/roles.py $(ARGS)

.PHONY: damage
damage: install ## Damage each file of checkpoints and models in each way, and print what was lost (ARGS=--help: options)
	@$(BIN)/python tests/damage/matrix.py $(ARGS)

.PHONY: faults
faults: install ## Break everything that may break, and print what was lost and how long it took (ARGS=--help: options)
	@$(BIN)/python tests/tables.py faults $(ARGS)

.PHONY: doors
doors: install ## Knock at each door of real servers, and print who got what
	@$(BIN)/python tests/tables.py doors $(ARGS)

.PHONY: fuzz
fuzz: install ## Give any bytes to all that reads some, a million inputs (ARGS="events --share .1": less; --help)
	@$(BIN)/python tests/fuzz/fuzz.py $(ARGS)

.PHONY: prove-replay
prove-replay: install ## Read a year of purchases in twenty interleavings with restarts: one state (ARGS=--help: options)
	@$(BIN)/python tests/replay/prove.py $(ARGS)

.PHONY: prove-experiments
prove-experiments: install ## Replay experiments whose truth is known: false winners, and when a better one is found
	@$(BIN)/python tests/replay/trials.py $(ARGS)

.PHONY: sessions
sessions: install ## Let simulated users ask again and again: repeats, diversity and NDCG by rotation, exploration, diversity
	@$(BIN)/python tests/performance/sessions.py

.PHONY: bench
bench: install ## Measure speed, each figure beside its limit (ARGS="recommend latency" runs only those)
	@$(BIN)/python tests/performance/bench.py $(ARGS)

.PHONY: faithfulness
faithfulness: install ## Take away what explanations name, and print how much lower the score is (ARGS=--help: options)
	@$(BIN)/python tests/performance/faithfulness.py $(ARGS)

.PHONY: lint
lint: install ## Check style and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

.PHONY: layers
layers: install ## Print the imports between rooms, and which of them go up (ARGS=--ref=REVISION for another day's)
	@$(BIN)/python tests/layers.py $(ARGS)

.PHONY: format
format: install ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: types
types: install ## Check types
	$(BIN)/mypy

.PHONY: protos
protos: install ## Generate the code from the protos
	$(GENERATE) --python_out=core --pyi_out=core --grpc_python_out=core $(PROTOS)

.PHONY: protos-check
protos-check: install ## Lint the protos, and check that the generated code is current
	$(BIN)/buf lint protos
	@fresh=$$(mktemp -d) && trap "rm -rf $$fresh" EXIT \
	&& $(GENERATE) --python_out=$$fresh --pyi_out=$$fresh --grpc_python_out=$$fresh $(PROTOS) \
	&& diff --recursive --exclude=__pycache__ --exclude=__init__.py $$fresh/springtide/v1 core/springtide/v1 \
	|| { echo 'core/springtide/v1 is not current: run `make protos`' >&2; exit 1; }

.PHONY: docs
docs: install ## Write the reference of the settings, and build the documentation site into build/site
	$(BIN)/python -m springtide.settings.reference core/springtide/settings/README.md
	$(BIN)/python -m springtide_services.metrics.reference services/springtide_services/metrics/README.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -W ignore::DeprecationWarning -m mkdocs build --strict -f deploy/mkdocs.yml

.PHONY: journey
journey: install ## Steer and explain through a real server, on a year of real purchases (ARGS=-s prints the commands)
	$(BIN)/python -m pytest -m journey tests/integration/test_journey.py $(ARGS)

.PHONY: guides
guides: install ## Do all that the tutorial, the how-tos and the notebook say, as written (ARGS=-s prints the commands)
	$(BIN)/python -m pytest -m guides tests/integration/test_guides.py tests/integration/test_notebook.py $(ARGS)

.PHONY: notebooks
notebooks: install ## Run the notebooks of the documentation, and write into them what they print and draw
	$(BIN)/python deploy/docs_notebook.py deploy/docs/notebooks/*.ipynb

.PHONY: wheel-check
wheel-check: install ## Build the wheel, install it into an empty environment, and use it
	$(BIN)/python -m pytest -m wheel tests/test_wheel.py

.PHONY: bench-check
bench-check: install ## Run each bench for a moment: its figures mean nothing, but it works
	$(BIN)/python -m pytest -m bench -n auto tests/performance

.PHONY: sbom
sbom: install ## Write what is installed, with versions and licences, to build/sbom.cdx.json (CycloneDX)
	@bash deploy/supply_chain.sh sbom $(BIN)/python build/sbom.cdx.json

.PHONY: audit
audit: install ## Look all pinned packages up among known vulnerabilities; fails if no service can be reached
	@bash deploy/supply_chain.sh audit $(BIN)/python

.PHONY: check
check: lint types protos-check test test-long guides bench-check wheel-check ## Everything that CI runs, except test-kafka

.PHONY: clean
clean: ## Remove the virtual environment and all build results
	find core plugins services -name '*.so' -delete
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
