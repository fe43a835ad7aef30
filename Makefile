# maskfleet: `make demo` shows it, `make test` tests it.
.DEFAULT_GOAL := help
VENV := .venv
PYTHON := $(VENV)/bin/python
AGAIN := --reruns 1 --max-suite-reruns 3 # docs/adr/0025

.PHONY: help setup demo demo-loop test test-trainer test-arm64 trainer-environments check fix bench lock docs

help: ## list the words
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 24

setup: ## install what is missing: Python packages into .venv, mosquitto from the distribution
	@./deploy/setup.sh demo

demo: setup ## broker, cloud and doors on this machine; DEMO_SECONDS=60 ends it by itself
	@exec $(PYTHON) -m rehearsal demo

demo-loop: trainer-environments ## one turn of the learning loop: crops, labels, training, gate, rollout; ORACLE=1 labels by itself
	@exec $(PYTHON) -m rehearsal turn

test: ## all tests that need no torch and no TensorFlow (also installs PostgreSQL and Chromium)
	@./deploy/setup.sh test
	@$(MAKE) --no-print-directory check
	$(PYTHON) -m pytest tests/story tests/browser tests -m "not trainer and not arm64" -n auto --maxprocesses 4 --dist loadfile $(AGAIN)

test-trainer: trainer-environments ## real training and conversion on a tiny set, in environments outside the checkout
	$(PYTHON) -m pytest -m trainer $(AGAIN)

test-arm64: ## the agent on an emulated Raspberry Pi 4 with Debian 13 (Linux, as root; downloads a system once)
	@./deploy/setup.sh arm64
	$(PYTHON) -m pytest -m arm64 tests/arm64

trainer-environments: setup ## install the training and conversion environments (once, minutes)
	@$(PYTHON) -m trainer environments

check: ## formatting, lint, types
	@$(VENV)/bin/ruff format --check --quiet . || { echo 'not formatted: run `make fix`'; exit 1; }
	@$(VENV)/bin/ruff check --quiet .
	@$(VENV)/bin/mypy

fix: ## format, and mend what lint can mend
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

bench: setup ## the loop against the bare interpreter and ultralytics, a whole door, its memory; side by side
	@$(PYTHON) -m bench

lock: ## pin what is installed in .venv now
	@{ echo "# Every package of the development environment, exactly; 'make lock' writes it. Installed with --no-deps."; \
	$(PYTHON) -m pip freeze --exclude-editable | grep -v '^#' \
	| sed -E "s/^((tflite-runtime|backports.strenum)==.*)$$/\1 ; python_version < '3.12'/"; } >constraints.txt

docs: ## write the generated documents anew: JSON Schema, AsyncAPI, settings, the pages' texts
	@$(PYTHON) docs/generate.py
	@$(PYTHON) docs/texts.py
