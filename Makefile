# Everything a person or a build server runs has one word here.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-all check format bench chaos fuzz sbom clean

help: ## list the words
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(STAMP): pyproject.toml constraints.txt
	@echo "setting up .venv with $$($(PYTHON) --version) (some 400 MB of wheels, two to seven minutes)"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --progress-bar off -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP) ## the main job: 100,000 accounts on real option prices, and its report
	$(BIN)/margincube demo

test: $(STAMP) ## the fast tests
	$(BIN)/python -m pytest -n 3 --dist worksteal -q

test-slow: $(STAMP) ## the slow tests alone: real kills, servers, clusters
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -q -m slow --durations=15

test-all: $(STAMP) ## every test, the slow ones too
	$(BIN)/python -m pytest -q -m "slow or not slow"

check: $(STAMP) ## formatting, lint and strict types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP) ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## ratios against named peers, side by side, into build/bench.json (BENCH=--quick)
	$(BIN)/python -m infra.bench $(BENCH)

sbom: $(STAMP) ## bill of materials into build/sbom.json, pins and licences, known vulnerabilities
	$(BIN)/python -m infra.supply sbom build/sbom.json
	$(BIN)/python -m infra.supply check
	$(BIN)/python -m infra.supply audit

fuzz: $(STAMP) ## look for files that break a reader (FUZZ="--seconds 600 methodology")
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[fuzz]'
	$(BIN)/python -m infra.fuzz $(FUZZ)

chaos: $(STAMP) ## 200 seeds of faults into build/chaos.json (CHAOS='--seeds 10 --minutes 1')
	$(BIN)/python -m infra.chaos $(CHAOS)

clean: ## remove what the build made
	rm -rf build .venv .mypy_cache .ruff_cache .pytest_cache *.egg-info
